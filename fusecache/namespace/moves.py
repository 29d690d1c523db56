"""How the identity of a name moves from one object to another, and what that sets free.

Every such step stamps the name with a new epoch, so that listings begun before it do not count.
All within a transaction of the caller's.
"""

from __future__ import annotations

from fusecache.namespace.keys import component_of
from fusecache.namespace.links import is_sent
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Dentry, Directory, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import ROOT_INO, ETag, InodeNo, LowerId, Seq


def lower_prefix(tables: Tables, ino: InodeNo) -> str:
    """Where the store has what it has of a directory: where it is read; opaque, below where those above are."""
    names: list[str] = []
    while ino != ROOT_INO:
        directory = tables.directories.get(ino)
        task = tables.tasks.of_inode(ino, TaskKind.RELOCATE)
        base = directory.prefix if task is None or directory.prefix is not None else task.source
        if base is not None:
            return base + "".join(reversed(names))
        names.append(component_of(directory.name) + "/")
        ino = directory.parent
    return "".join(reversed(names))


def is_settled(tables: Tables, ino: InodeNo, source: str) -> bool:
    """Whether a directory whose tree is at `source` is at home there, and stays when those above it move.

    Not while one above it is under way; nor if that reads elsewhere, and so would leave this tree behind.
    """
    directory = tables.directories.get(ino)
    if tables.directories.home_prefix(ino) != source:
        return False
    if f"{lower_prefix(tables, directory.parent)}{component_of(directory.name)}/" != source:
        return False
    above = (tables.tasks.of_inode(each, TaskKind.RELOCATE) for each in tables.directories.ancestors(ino))
    return all(task is None or task.key in (None, task.source) for task in above)


def is_home(tables: Tables, task: Task) -> bool:
    """Whether the tree of a relocation is where its directory is: it only waits for those above it."""
    if task.kind != TaskKind.RELOCATE or tables.directories.find(task.inode_no) is None:
        return False
    return tables.directories.home_prefix(task.inode_no) == task.source


def is_waiting_at_home(tables: Tables, task: Task) -> bool:
    """The same, and it has not begun to make room there for others."""
    return task.key is None and is_home(tables, task)


def is_moving(tables: Tables, ino: InodeNo) -> bool:
    """Whether a directory, or one above it, has a relocation."""
    if not tables.tasks.has_relocations() or tables.directories.find(ino) is None:
        return False
    chain = (ino, *tables.directories.ancestors(ino))
    return any(tables.tasks.of_inode(each, TaskKind.RELOCATE) is not None for each in chain)


class Moves:
    """The steps that `Drain` and `Relocations` are made of."""

    def __init__(self, tables: Tables, policies: Policies, *, delay_ns: int) -> None:
        self._t = tables
        self._policies = policies
        self._delay_ns = delay_ns

    def orphaned(self, task: Task, key: str, *, etag: ETag | None = None, now_ns: int) -> None:
        """An object was made for a name that is gone: its unlink wanted it deleted, maybe before it existed.

        `etag` None: or maybe was not made.
        """
        t = self._t
        t.tasks.want_deleted(
            task.store,
            key,
            etag=etag,
            seq=t.database.next_seq(),
            due_ns=now_ns,
            now_ns=now_ns,
            shield=task.target,
            since_seq=task.since_seq,
        )

    def overwritten(self, dentry: Dentry, lower: LowerId) -> None:
        """What was at the key is replaced: a delete of it, wanted earlier, would hit the new object."""
        t = self._t
        if t.directories.home_key(dentry.place) != lower.key:
            for task in t.tasks.deletes_of(lower.store, lower.key):
                t.tasks.means(task, lower.etag)  # the name moved on meanwhile: this object is what has to go
            return
        for task in t.tasks.deletes_of(lower.store, lower.key):
            t.tasks.drop(task.task)
            if task.shield != dentry.place:
                self.settle(task.shield, t.database.next_seq(), now_ns=0)

    def unmark(self, ino: InodeNo, *, now_ns: int, since_seq: Seq | None = None) -> None:
        """The marker of a known directory is not copied along: whether it needs one is looked into again."""
        if self._t.directories.get(ino).marker:
            self._t.directories.marked(ino, 0)
            self.want_marker(ino, now_ns=now_ns, since_seq=since_seq)

    def want_marker(self, ino: InodeNo, *, now_ns: int, since_seq: Seq | None = None) -> None:
        t = self._t
        store, seq = t.directories.get(ino).store, t.database.next_seq()
        t.tasks.want(TaskKind.MARKER, ino, store, seq=seq, due_ns=now_ns, now_ns=now_ns, since_seq=since_seq)

    def identify(
        self, dentry: Dentry, lower: LowerId, *, generation: int, now_ns: int, since_seq: Seq | None = None
    ) -> None:
        """This name's object is `lower`. If that is not where the name is by now, it has to follow."""
        t = self._t
        assert dentry.ino is not None
        seq = t.database.next_seq()
        t.dentries.identify(dentry, lower, generation=generation, epoch=seq)
        t.tasks.reads(dentry.ino, lower.key)
        if t.directories.home_key(dentry.place) == lower.key:
            self.use_above(dentry.parent, now_ns=now_ns)
        if dentry.key is not None and dentry.key != lower.key:
            self._leave_key(dentry, seq=seq, now_ns=now_ns, since_seq=since_seq)
        self._follow(dentry, lower, seq=seq, now_ns=now_ns, since_seq=since_seq)

    def follow(self, dentry: Dentry, *, now_ns: int, since_seq: Seq) -> None:
        """If the object of this name is not where the name is, and nothing will move it, it is copied."""
        assert dentry.ino is not None
        assert dentry.lower is not None
        if self._t.tasks.of_inode(dentry.ino, TaskKind.COPY) is None and not is_sent(self._t, dentry):
            seq = self._t.database.next_seq()
            self._follow(dentry, dentry.lower, seq=seq, now_ns=now_ns, since_seq=since_seq)

    def _follow(self, dentry: Dentry, lower: LowerId, *, seq: Seq, now_ns: int, since_seq: Seq | None) -> None:
        t = self._t
        assert dentry.ino is not None
        if t.directories.home_key(dentry.place) == lower.key or self._moves_with_its_directory(dentry, lower.key):
            return
        t.tasks.want(
            TaskKind.COPY,
            dentry.ino,
            lower.store,
            seq=seq,
            due_ns=now_ns,
            now_ns=now_ns,
            source=lower.key,
            since_seq=since_seq,
        )

    def relabel(
        self,
        dentry: Dentry,
        lower: LowerId,
        *,
        generation: int | None = None,
        now_ns: int,
        since_seq: Seq | None = None,
    ) -> None:
        """The same bytes, of that generation if the name had none yet, are now read from `lower`."""
        t = self._t
        generation = dentry.generation if generation is None else generation
        assert generation is not None
        inode = t.inodes.get(dentry.inode_no)
        if inode.base is not None and inode.base == dentry.lower:
            t.inodes.update(inode, base_store=lower.store, base_key=lower.key, base_etag=lower.etag)
        self.identify(dentry, lower, generation=generation, now_ns=now_ns, since_seq=since_seq)

    def _leave_key(self, dentry: Dentry, *, seq: Seq, now_ns: int, since_seq: Seq | None) -> None:
        """A name no longer reads its old key: the delete that waited for it may go ahead."""
        t = self._t
        assert dentry.store is not None
        assert dentry.key is not None
        deletes = t.tasks.deletes_of(dentry.store, dentry.key)
        for task in deletes:  # wanted when the key held what was there then
            t.tasks.means(task, dentry.etag)
        if not deletes:
            shield = self._relocation_shield(dentry)
            t.tasks.want_deleted(
                dentry.store,
                dentry.key,
                etag=dentry.etag,
                seq=seq,
                due_ns=now_ns,
                now_ns=now_ns,
                shield=shield,
                since_seq=since_seq,
            )
        t.tasks.release(dentry.store, dentry.key, now_ns)

    def _relocation_shield(self, dentry: Dentry) -> Place | None:
        task = self._relocation_of(dentry, dentry.key or "")
        return None if task is None else task.shield

    def _moves_with_its_directory(self, dentry: Dentry, key: str) -> bool:
        """Whether a relocation above takes `key` to where this name is; the file had another name there, maybe."""
        if self._relocation_of(dentry, key) is None:
            return False
        return f"{lower_prefix(self._t, dentry.parent)}{component_of(dentry.name)}" == key

    def _relocation_of(self, dentry: Dentry, key: str) -> Task | None:
        """The relocation of a directory above `dentry` that will move `key` along."""
        t = self._t
        for ino in (dentry.parent, *t.directories.ancestors(dentry.parent)):
            task = t.tasks.of_inode(ino, TaskKind.RELOCATE)
            if task is not None and task.source is not None and key.startswith(task.source):
                return task
        return None

    def child_persisted(self, ino: InodeNo, *, now_ns: int, since_seq: Seq) -> None:
        """The directories above a child in the store need no marker. The barrier that covers the child covers that."""
        for each in (ino, *self._t.directories.ancestors(ino)):
            self._end_marker(self._t.directories.get(each), now_ns=now_ns, since_seq=since_seq)

    def _end_marker(self, directory: Directory, *, now_ns: int, since_seq: Seq) -> None:
        t, ino = self._t, directory.ino
        if not directory.marker or self._policies.keeps_marker(ino):
            return
        prefix, shield = lower_prefix(t, ino), Place(directory.parent, directory.name)
        moving = t.tasks.of_inode(ino, TaskKind.RELOCATE)
        if moving is not None and moving.source == prefix and moving.shield is not None:
            shield = moving.shield
        t.directories.marked(ino, 0)
        seq, due_ns = t.database.next_seq(), now_ns + self._delay_ns
        t.tasks.want_deleted(
            directory.store,
            prefix,
            etag=None,
            seq=seq,
            due_ns=due_ns,
            now_ns=now_ns,
            shield=shield,
            since_seq=since_seq,
        )

    def use(self, ino: InodeNo, *, now_ns: int) -> None:
        """Something below this directory may come to exist in the store: it stops being opaque, once it may."""
        t = self._t
        directory = t.directories.get(ino)
        if directory.prefix is None and not directory.used:
            t.directories.use(ino)
            self._open(ino, now_ns=now_ns)

    def use_above(self, ino: InodeNo, *, now_ns: int) -> None:
        """The same for this directory and all above it."""
        for each in (ino, *self._t.directories.ancestors(ino)):
            self.use(each, now_ns=now_ns)

    def _open(self, ino: InodeNo, *, now_ns: int) -> None:
        """Read the lower of an opaque directory, unless something there still has to stay hidden."""
        t = self._t
        directory = t.directories.get(ino)
        if directory.prefix is not None or not directory.used or not directory.parent:
            return
        if t.directories.get(directory.parent).prefix is None:
            return  # what that hides, this does
        place = Place(directory.parent, directory.name)
        if not t.tasks.shielded_by(place) and not is_moving(t, ino):
            t.directories.open(ino, t.directories.home_prefix(ino), now_ns=now_ns)
            for child in t.directories.waiting_in(ino):
                self._open(child, now_ns=now_ns)

    def settle(self, shield: Place | None, seq: Seq, *, now_ns: int) -> None:
        """If this name shields nothing any more, the lower counts again."""
        t = self._t
        row = t.dentries.get(*shield) if shield is not None and not t.tasks.shielded_by(shield) else None
        if shield is None or row is None:
            return
        # An opaque directory hides what is copied there by itself, and may move away before the end.
        if t.directories.get(shield.parent).prefix is not None and is_moving(t, shield.parent):
            return
        if row.ino is None:
            t.dentries.settle(shield, seq)
        elif t.directories.find(row.ino) is not None:
            self._open(row.ino, now_ns=now_ns)

    def settle_below(self, ino: InodeNo, seq: Seq, *, now_ns: int) -> None:
        """A relocation of this directory ended, which kept the whiteouts and what is opaque below it."""
        for row in self._t.dentries.below(ino):
            if not row.settled:
                self.settle(row.place, seq, now_ns=now_ns)
