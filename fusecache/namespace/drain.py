"""What the persister records: before a request, what it may bring about; after it, what it did.

Each method is one transaction. Identity moves here, and nowhere else, from one object to another;
every such step stamps the name with a new epoch, so that listings begun before it do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusecache.namespace.keys import ancestors
from fusecache.namespace.records import Dentry, Inode, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import ETag, InodeNo, LowerId, ObjectKey, Seq, StoreNo


@dataclass(frozen=True, slots=True)
class Started:
    """A task whose target is recorded: what its worker needs to know."""

    task: Task
    key: ObjectKey
    seq: Seq
    """Of the start: what is acknowledged later is not covered."""


@dataclass(frozen=True, slots=True)
class Relocated:
    """One source key of a relocation, and what became of it."""

    source: ObjectKey
    etag: ETag
    place: Place | None
    """The known name whose object it is; None: no row knows it."""
    target: LowerId | None
    """The copy; None: it is only to be deleted."""
    stray: Place | None = None
    """The name was removed while its object was copied: what hides the copy, which has to go."""


class Drain:
    """The persister's side of the namespace."""

    def __init__(self, tables: Tables, *, delay_ns: int) -> None:
        self._t = tables
        self._delay_ns = delay_ns

    def start(self, task: Task, place: Place, key: ObjectKey, *, now_ns: int) -> Started:
        """Record that a request to `key`, which belongs to `place`, is about to be sent."""
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            if task.key is not None and task.key != key:
                t.tasks.want_deleted(
                    task.store, task.key, etag=None, seq=seq, due_ns=now_ns, now_ns=now_ns, shield=None
                )
            if task.key != key or task.target != place:
                task = t.tasks.record_target(task, key, place)
            if task.kind == TaskKind.UPLOAD and task.ino is not None:
                pending = t.tasks.of_inode(task.ino, TaskKind.COPY)
                if pending is not None:  # the upload sends the attributes, to the right place
                    t.tasks.drop(pending.task)
                    t.tasks.goes_back_to(task.task, pending.since_seq)
            for ino in (place.parent, *t.directories.ancestors(place.parent)):
                self._use(ino, now_ns=now_ns)
        return Started(task, key, seq)

    def uploaded(self, started: Started, lower: LowerId, inode: Inode, *, now_ns: int) -> bool:
        """The bytes of `inode`, as of its generation then, are the object `lower`.

        Returns whether its local copy is clean: False if it changed meanwhile, or is gone.
        """
        t = self._t
        with t.database.transaction():
            finished = t.tasks.done(started.task, started_seq=started.seq, now_ns=now_ns)
            dentry = self._dentry(started)
            if dentry is None:
                self._orphaned(started, lower.key, now_ns=now_ns)
                return False
            self._overwritten(dentry, lower)
            current = t.inodes.get(inode.ino)
            clean = finished and current.generation == inode.generation
            t.inodes.rebased(current, lower, clean=clean)
            since_seq = started.task.since_seq
            self._identify(dentry, lower, generation=inode.generation, now_ns=now_ns, since_seq=since_seq)
            self._child_persisted(dentry.parent, now_ns=now_ns)
            return clean

    def copied(self, started: Started, lower: LowerId, *, now_ns: int) -> None:
        """The object of the task's inode was copied to `lower`: it is read from there now."""
        t = self._t
        with t.database.transaction():
            t.tasks.done(started.task, started_seq=started.seq, now_ns=now_ns)
            dentry = self._dentry(started)
            if dentry is None or dentry.generation is None:
                self._orphaned(started, lower.key, now_ns=now_ns)
                return
            self._overwritten(dentry, lower)
            self._relabel(dentry, lower, now_ns=now_ns, since_seq=started.task.since_seq)
            self._child_persisted(dentry.parent, now_ns=now_ns)

    def upload_instead(self, task: Task, *, now_ns: int) -> None:
        """What a copy was to read is gone, and every byte of it is local: send those."""
        t = self._t
        assert task.ino is not None
        with t.database.transaction():
            t.tasks.drop(task.task)
            t.inodes.dirtied(t.inodes.get(task.ino), blocks=None, base_size=None)
            t.tasks.want(
                TaskKind.UPLOAD,
                task.ino,
                task.store,
                seq=t.database.next_seq(),
                due_ns=now_ns,
                now_ns=now_ns,
                since_seq=task.since_seq,
            )
            if task.key is not None and task.target is not None:
                upload = t.tasks.of_inode(task.ino, TaskKind.UPLOAD)
                assert upload is not None
                t.tasks.record_target(upload, task.key, task.target)

    def relocated(self, task: Task, page: Sequence[Relocated], position: str, *, now_ns: int) -> None:
        """These keys of a relocation were copied; their sources go once nothing reads the old prefix."""
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            for moved in page:
                row = t.dentries.get(*moved.place) if moved.place is not None else None
                if row is not None and row.key == moved.source and moved.target is not None:
                    self._relabel(row, moved.target, now_ns=now_ns)
                if moved.stray is not None and moved.target is not None:
                    t.tasks.want_deleted(
                        task.store,
                        moved.target.key,
                        etag=None,
                        seq=seq,
                        due_ns=now_ns,
                        now_ns=now_ns,
                        shield=moved.stray,
                    )
                t.tasks.want_deleted(
                    task.store,
                    moved.source,
                    etag=moved.etag,
                    seq=seq,
                    due_ns=None,
                    now_ns=now_ns,
                    shield=task.shield,
                )
            t.tasks.move(task.task, position)

    def flipped(self, task: Task, *, now_ns: int) -> None:
        """All keys of a relocation are copied: the directory reads the recorded target from now on.

        The task stays, to look for strays; it shields the place that the target belonged to.
        """
        t = self._t
        assert task.ino is not None
        assert task.source is not None
        assert task.key is not None
        with t.database.transaction():
            t.tasks.settle_at(task)
            directory = t.directories.get(task.ino)
            if directory.prefix is None:
                t.directories.open(task.ino, task.key, now_ns=now_ns)
            else:
                t.directories.redirect(task.ino, task.source, task.key)
            self._unmark(task.ino, now_ns=now_ns)
            for row in t.dentries.below(task.ino):
                self._flip_row(row, task, now_ns=now_ns)
            t.tasks.release_below(task.store, task.source, now_ns)
            self._child_persisted(directory.parent, now_ns=now_ns)
            self._settle(task.shield, t.database.next_seq(), now_ns=now_ns)

    def swept(self, task: Task, strays: Sequence[tuple[ObjectKey, Place | None]], *, now_ns: int) -> None:
        """Keys that a relocation copied and that no name stands for: they have to go; the place hides each."""
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            for key, place in strays:
                t.tasks.want_deleted(task.store, key, etag=None, seq=seq, due_ns=now_ns, now_ns=now_ns, shield=place)

    def relocated_all(self, task: Task, *, now_ns: int) -> None:
        """No strays are left. If the directory has another name by now, its tree follows."""
        t = self._t
        assert task.ino is not None
        assert task.source is not None
        with t.database.transaction():
            t.tasks.drop(task.task)
            if t.directories.find(task.ino) is None:
                return
            seq = t.database.next_seq()
            if t.directories.home_prefix(task.ino) != task.source:
                t.tasks.want(
                    TaskKind.RELOCATE,
                    task.ino,
                    task.store,
                    seq=seq,
                    due_ns=now_ns,
                    now_ns=now_ns,
                    source=task.source,
                    shield=task.shield,
                    since_seq=task.since_seq,
                )
                return
            self._settle(task.shield, seq, now_ns=now_ns)
            for row in t.dentries.below(task.ino):
                if row.ino is None and not row.settled:
                    self._settle(row.place, seq, now_ns=now_ns)

    def abandoned(self, task: Task, *, now_ns: int) -> None:
        """The task's file or directory is gone, or needs nothing: forget the task."""
        t = self._t
        with t.database.transaction():
            t.tasks.drop(task.task)
            if task.source is not None and task.kind == TaskKind.RELOCATE:
                t.tasks.release_below(task.store, task.source, now_ns)
            self._settle(task.shield, t.database.next_seq(), now_ns=now_ns)

    def deleted(self, tasks: Sequence[Task], *, now_ns: int) -> None:
        """The keys of these delete tasks are gone from the store."""
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            for task in tasks:
                t.tasks.drop(task.task)
            for shield in {task.shield for task in tasks}:
                self._settle(shield, seq, now_ns=now_ns)

    def marker_written(self, started: Started, *, now_ns: int) -> None:
        """The empty directory has its key."""
        t = self._t
        assert started.task.ino is not None
        with t.database.transaction():
            t.tasks.done(started.task, started_seq=started.seq, now_ns=now_ns)
            directory = t.directories.find(started.task.ino)
            if directory is None or t.directories.home_prefix(directory.ino) != started.key:
                self._orphaned(started, started.key, now_ns=now_ns)
                if directory is not None:
                    self._want_marker(directory.ino, now_ns=now_ns)
                return
            for delete in t.tasks.deletes_of(started.task.store, started.key):
                t.tasks.drop(delete.task)  # of an earlier marker here: it would hit this one
                self._settle(delete.shield, t.database.next_seq(), now_ns=now_ns)
            t.directories.marked(directory.ino, 1)
            t.dentries.stamp(Place(directory.parent, directory.name), t.database.next_seq())
            self._child_persisted(directory.parent, now_ns=now_ns)

    def failed(self, task: Task, *, error: str, stuck: bool, due_ns: int) -> None:
        """The store did not take it: tried again at `due_ns`, for ever."""
        with self._t.database.transaction():
            self._t.tasks.failed(task.task, error=error, stuck=stuck, due_ns=due_ns)

    def postponed(self, changes: Sequence[tuple[Task, int | None]]) -> None:
        """These tasks cannot be carried out yet: due at another time, or parked."""
        with self._t.database.transaction():
            for task, due_ns in changes:
                self._t.tasks.postpone(task.task, due_ns)

    def put_off(self, task: Task, *, due_ns: int) -> None:
        """A worker could not finish, for no fault of the store."""
        with self._t.database.transaction():
            self._t.tasks.put_off(task.task, due_ns)

    def hurried(self, tasks: Sequence[Task], *, now_ns: int) -> None:
        """Somebody waits for these tasks."""
        with self._t.database.transaction():
            for task in tasks:
                self._t.tasks.hurry(task.task, now_ns)

    def staged(self, tasks: Sequence[Task]) -> None:
        """These tasks are about names below a staging name: local until renamed out."""
        with self._t.database.transaction():
            for task in tasks:
                self._t.tasks.stage(task.task)

    def adopted(self, task: Task, *, now_ns: int) -> None:
        """A subtree left staging: its parked tasks fall due, acknowledged by that rename."""
        t = self._t
        assert task.ino is not None
        with t.database.transaction():
            for row in t.dentries.below(task.ino):
                for parked in t.tasks.all_of_inode(row.ino) if row.ino is not None else ():
                    if parked.staged:
                        t.tasks.unstage(parked.task, seq=task.seq, due_ns=now_ns)
            t.tasks.drop(task.task)

    # --- within a transaction ---

    def _dentry(self, started: Started) -> Dentry | None:
        """The name of the task's inode, wherever it is by now."""
        assert started.task.ino is not None
        rows = self._t.dentries.of_inode(started.task.ino)
        return rows[0] if rows else None

    def _orphaned(self, started: Started, key: str, *, now_ns: int) -> None:
        """An object was made for a name that is gone: its unlink wanted it deleted, maybe before it existed."""
        t = self._t
        t.tasks.want_deleted(
            started.task.store,
            key,
            etag=None,
            seq=t.database.next_seq(),
            due_ns=now_ns,
            now_ns=now_ns,
            shield=started.task.target,
        )

    def _overwritten(self, dentry: Dentry, lower: LowerId) -> None:
        """What was at the key is replaced: a delete of it, wanted earlier, would hit the new object."""
        t = self._t
        if t.directories.home_key(dentry.place) != lower.key:
            return  # the name moved on meanwhile: then the delete is meant for this object
        for task in t.tasks.deletes_of(lower.store, lower.key):
            t.tasks.drop(task.task)
            if task.shield != dentry.place:
                self._settle(task.shield, t.database.next_seq(), now_ns=0)

    def _flip_row(self, row: Dentry, task: Task, *, now_ns: int) -> None:
        """A name below a directory that reads its target now."""
        t = self._t
        assert task.source is not None
        if row.ino is None:
            return
        directory = t.directories.find(row.ino)
        if directory is not None:
            if directory.prefix is None or directory.prefix.startswith(task.key or ""):
                self._unmark(row.ino, now_ns=now_ns)
            return
        if row.key is None or not row.key.startswith(task.source):
            return
        kinds = {each.kind for each in t.tasks.all_of_inode(row.ino)}
        if not kinds & {TaskKind.UPLOAD, TaskKind.COPY}:  # it became known after its page was copied
            seq = t.database.next_seq()
            t.tasks.want(TaskKind.COPY, row.ino, task.store, seq=seq, due_ns=now_ns, now_ns=now_ns, source=row.key)

    def _unmark(self, ino: InodeNo, *, now_ns: int) -> None:
        """The marker of a known directory is not copied along: whether it needs one is looked into again."""
        if self._t.directories.get(ino).marker:
            self._t.directories.marked(ino, 0)
            self._want_marker(ino, now_ns=now_ns)

    def _want_marker(self, ino: InodeNo, *, now_ns: int) -> None:
        t = self._t
        seq = t.database.next_seq()
        t.tasks.want(TaskKind.MARKER, ino, t.directories.get(ino).store, seq=seq, due_ns=now_ns, now_ns=now_ns)

    def _identify(
        self, dentry: Dentry, lower: LowerId, *, generation: int, now_ns: int, since_seq: Seq | None = None
    ) -> None:
        """This name's object is `lower`. If that is not where the name is by now, it has to follow."""
        t = self._t
        assert dentry.ino is not None
        seq = t.database.next_seq()
        t.dentries.identify(dentry, lower, generation=generation, epoch=seq)
        t.tasks.reads(dentry.ino, lower.key)
        if dentry.key is not None and dentry.key != lower.key:
            self._leave_key(dentry, seq=seq, now_ns=now_ns)
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

    def _relabel(self, dentry: Dentry, lower: LowerId, *, now_ns: int, since_seq: Seq | None = None) -> None:
        """The same bytes are now read from `lower`."""
        t = self._t
        assert dentry.ino is not None
        assert dentry.generation is not None
        inode = t.inodes.get(dentry.ino)
        if inode.base_key is not None:
            t.inodes.update(inode, base_store=lower.store, base_key=lower.key, base_etag=lower.etag)
        self._identify(dentry, lower, generation=dentry.generation, now_ns=now_ns, since_seq=since_seq)

    def _leave_key(self, dentry: Dentry, *, seq: Seq, now_ns: int) -> None:
        """A name no longer reads its old key: the delete that waited for it may go ahead."""
        t = self._t
        assert dentry.store is not None
        assert dentry.key is not None
        if not t.tasks.deletes_of(dentry.store, dentry.key):
            shield = self._relocation_shield(dentry)
            t.tasks.want_deleted(
                dentry.store, dentry.key, etag=dentry.etag, seq=seq, due_ns=now_ns, now_ns=now_ns, shield=shield
            )
        t.tasks.release(dentry.store, dentry.key, now_ns)

    def _relocation_shield(self, dentry: Dentry) -> Place | None:
        task = self._relocation_of(dentry, dentry.key or "")
        return None if task is None else task.shield

    def _moves_with_its_directory(self, dentry: Dentry, key: str) -> bool:
        return self._relocation_of(dentry, key) is not None

    def _relocation_of(self, dentry: Dentry, key: str) -> Task | None:
        """The relocation of a directory above `dentry` that will move `key` along."""
        t = self._t
        for ino in (dentry.parent, *t.directories.ancestors(dentry.parent)):
            task = t.tasks.of_inode(ino, TaskKind.RELOCATE)
            if task is not None and task.source is not None and key.startswith(task.source):
                return task
        return None

    def _child_persisted(self, ino: InodeNo, *, now_ns: int) -> None:
        """A directory with a child in the store needs no marker."""
        t = self._t
        directory = t.directories.find(ino)
        if directory is None or not directory.marker:
            return
        prefix = directory.prefix
        if prefix is None:
            moving = t.tasks.of_inode(ino, TaskKind.RELOCATE)
            prefix = moving.source if moving is not None else t.directories.home_prefix(ino)
        assert prefix is not None
        t.directories.marked(ino, 0)
        seq = t.database.next_seq()
        t.tasks.want_deleted(
            directory.store, prefix, etag=None, seq=seq, due_ns=now_ns + self._delay_ns, now_ns=now_ns, shield=None
        )

    def _use(self, ino: InodeNo, *, now_ns: int) -> None:
        """Something below this directory may come to exist in the store: it stops being opaque, once it may."""
        t = self._t
        directory = t.directories.get(ino)
        if directory.prefix is None and not directory.used:
            t.directories.use(ino)
            self._open(ino, now_ns=now_ns)

    def _open(self, ino: InodeNo, *, now_ns: int) -> None:
        """Read the lower of an opaque directory, unless something there still has to stay hidden."""
        t = self._t
        directory = t.directories.get(ino)
        if directory.prefix is not None or not directory.used or not directory.parent:
            return
        if not t.tasks.shielded_by(Place(directory.parent, directory.name)):
            t.directories.open(ino, t.directories.home_prefix(ino), now_ns=now_ns)

    def _settle(self, shield: Place | None, seq: Seq, *, now_ns: int) -> None:
        """If this name shields nothing any more, the lower counts again."""
        t = self._t
        if shield is None or t.tasks.shielded_by(shield) or self._is_being_relocated(shield):
            return
        row = t.dentries.get(*shield)
        if row is None:
            return
        if row.ino is None:
            t.dentries.settle(shield, seq)
        elif t.directories.find(row.ino) is not None:
            self._open(row.ino, now_ns=now_ns)

    def _is_being_relocated(self, place: Place) -> bool:
        t = self._t
        if t.directories.find(place.parent) is None:
            return False
        chain = (place.parent, *t.directories.ancestors(place.parent))
        return any(t.tasks.of_inode(ino, TaskKind.RELOCATE) is not None for ino in chain)


def conflicting(tables: Tables, store: StoreNo, key: str) -> bool:
    """A pending delete of an ancestor of `key`, or of something below it: it goes before `key` is written."""
    above = (prefix[:-1] for prefix in ancestors(key))
    if any(tables.tasks.deletes_of(store, name) for name in above):
        return True
    return not key.endswith("/") and tables.tasks.has_delete_below(store, key + "/")
