"""What the persister records: before a request, what it may bring about; after it, what it did.

Each method is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusecache.namespace.keys import TMP_PREFIX, ancestors
from fusecache.namespace.links import lacking, written_name
from fusecache.namespace.moves import Moves
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Dentry, Inode, Place, Stuck, Task, TaskKind
from fusecache.namespace.relocations import Relocations
from fusecache.namespace.tables import Tables
from fusecache.namespace.tasks import PAUSED_NS
from fusecache.namespace.uploads import Upload
from fusecache.types import ETag, LowerId, ObjectKey, Seq, StoreNo


@dataclass(frozen=True, slots=True)
class Started:
    """A task whose target is recorded: what its worker needs to know."""

    task: Task
    key: ObjectKey
    seq: Seq
    """Of the start: what is acknowledged later is not covered."""
    is_retry: bool
    """The same target was recorded before, for any task of the inode: its request may have been carried out."""


class Drain:
    """The persister's side of the namespace."""

    def __init__(self, tables: Tables, policies: Policies, *, delay_ns: int) -> None:
        self._t = tables
        self._policies = policies
        self._moves = Moves(tables, policies, delay_ns=delay_ns)
        self.relocations = Relocations(tables, self._moves)

    def start(self, task: Task, place: Place, key: ObjectKey, *, now_ns: int) -> Started:
        """Record that a request to `key`, which belongs to `place`, is about to be sent."""
        t = self._t
        with t.database.transaction():
            seq, tasks = t.database.next_seq(), t.tasks.all_of_inode(task.inode_no)
            is_retry = any(each.key == key for each in tasks)
            if task.key is not None and task.key != key:
                t.tasks.want_deleted(
                    task.store, task.key, etag=None, seq=seq, due_ns=now_ns, now_ns=now_ns, shield=None
                )
            if task.key != key or task.target != place:
                task = t.tasks.record_target(task, key, place)
            if task.kind == TaskKind.UPLOAD:
                pending = next((each for each in tasks if each.kind == TaskKind.COPY), None)
                if pending is not None and t.inodes.get(task.inode_no).nlink < 2:  # the upload sends the attributes
                    t.tasks.drop(pending.task)
                    if pending.key != key:
                        self._forgo(pending, now_ns=now_ns)
                    t.tasks.goes_back_to(task.task, pending.since_seq)
            if not key.startswith(TMP_PREFIX):
                self._moves.use_above(place.parent, now_ns=now_ns)
        return Started(task, key, seq, is_retry)

    def uploaded(
        self, started: Started, lower: LowerId, inode: Inode, *, now_ns: int, signature: str | None = None
    ) -> bool:
        """The bytes of `inode`, as of its generation then, are the object `lower`, of that signature.

        Returns whether its local copy is clean: False if it changed meanwhile, or is gone.
        """
        t = self._t
        with t.database.transaction():
            t.uploads.completed(inode.ino, signature)
            dentry = written_name(t, started.task, lower.key)
            if dentry is None:
                t.inodes.follow(inode.ino, lower)
                self._moves.orphaned(started.task, lower.key, etag=lower.etag, now_ns=now_ns)
                self._finish(started, None, now_ns=now_ns)
                return False
            finished = self._finish(started, dentry, now_ns=now_ns)
            self._moves.overwritten(dentry, lower)
            current = t.inodes.get(inode.ino)
            clean = finished and current.generation == inode.generation
            t.inodes.rebased(current, lower, clean=clean)
            since_seq = started.task.since_seq
            self._moves.identify(dentry, lower, generation=inode.generation, now_ns=now_ns, since_seq=since_seq)
            self._moves.child_persisted(dentry.parent, now_ns=now_ns, since_seq=since_seq)
            return clean

    def succeeded(self, upload: Upload, etag: ETag) -> None:
        """An upload whose answer was lost has replaced the version that it was made from by this one."""
        with self._t.database.transaction():
            self._t.inodes.follow(upload.ino, LowerId(upload.store, upload.key, etag), lost=upload.replaced)

    def copied(self, started: Started, lower: LowerId, *, generation: int, now_ns: int) -> None:
        """An object with that generation of the inode's bytes was copied to `lower`: it is read from there now."""
        t = self._t
        with t.database.transaction():
            dentry = written_name(t, started.task, lower.key)
            if dentry is None:
                self._moves.orphaned(started.task, lower.key, etag=lower.etag, now_ns=now_ns)
                self._finish(started, None, now_ns=now_ns)
                return
            self._finish(started, dentry, now_ns=now_ns)
            self._moves.overwritten(dentry, lower)
            since_seq = started.task.since_seq
            self._moves.relabel(dentry, lower, generation=generation, now_ns=now_ns, since_seq=since_seq)
            self._moves.child_persisted(dentry.parent, now_ns=now_ns, since_seq=since_seq)
            self._stay(started.task, now_ns=now_ns)

    def recognised(self, dentry: Dentry, lower: LowerId, *, now_ns: int) -> None:
        """The object of this name is `lower`: our own copy of it onto itself, whose answer was lost."""
        with self._t.database.transaction():
            self._moves.relabel(dentry, lower, now_ns=now_ns)

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

    def abandoned(self, task: Task, *, now_ns: int) -> None:
        """The task's file or directory is gone, or needs nothing: forget the task, and what it may have made."""
        t = self._t
        with t.database.transaction():
            task = t.tasks.get(task.task) or task
            t.tasks.drop(task.task)
            if task.kind in (TaskKind.COPY, TaskKind.MARKER):
                self._forgo(task, now_ns=now_ns)
            if task.kind == TaskKind.COPY:
                self._stay(task, now_ns=now_ns)
            if task.source is not None and task.kind == TaskKind.RELOCATE:
                t.tasks.release_below(task.store, task.source, now_ns)
            seq = t.database.next_seq()
            for place in {task.shield, task.target}:
                self._moves.settle(place, seq, now_ns=now_ns)
            if task.kind == TaskKind.RELOCATE and task.ino is not None and t.directories.find(task.ino) is not None:
                self._moves.use_above(task.ino, now_ns=now_ns)
                self._moves.settle_below(task.ino, seq, now_ns=now_ns)

    def deleted(self, tasks: Sequence[Task], *, now_ns: int) -> None:
        """The keys of these delete tasks are gone from the store."""
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            current = [t.tasks.get(task.task) for task in tasks]  # another name may shield it by now
            over = [task for task in tasks if t.tasks.drop_deleted(task)]
            shields = {row.task: row.shield for row in current if row is not None}
            for shield in {shields[task.task] for task in over}:
                self._moves.settle(shield, seq, now_ns=now_ns)

    def marker_written(self, started: Started, *, now_ns: int) -> None:
        """The empty directory has its key."""
        t = self._t
        assert started.task.ino is not None
        with t.database.transaction():
            t.tasks.done(started.task, started_seq=started.seq, now_ns=now_ns)
            directory = t.directories.find(started.task.ino)
            if directory is None or t.directories.home_prefix(directory.ino) != started.key:
                self._moves.orphaned(started.task, started.key, now_ns=now_ns)
                if directory is not None:
                    self._moves.want_marker(directory.ino, now_ns=now_ns)
                return
            for delete in t.tasks.deletes_of(started.task.store, started.key):
                t.tasks.drop(delete.task)  # of an earlier marker here: it would hit this one
                self._moves.settle(delete.shield, t.database.next_seq(), now_ns=now_ns)
            t.directories.marked(directory.ino, 1)
            self._moves.use_above(directory.ino, now_ns=now_ns)
            t.dentries.stamp(Place(directory.parent, directory.name), t.database.next_seq())
            self._moves.child_persisted(directory.parent, now_ns=now_ns, since_seq=started.task.since_seq)

    def failed(self, task: Task, *, error: str, stuck: Stuck, due_ns: int) -> None:
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

    def hurried(self, tasks: Sequence[Task]) -> None:
        """Somebody waits for these tasks: they go before all others."""
        with self._t.database.transaction():
            for task in tasks:
                self._t.tasks.hurry(task)

    def retried(self, tasks: Sequence[Task], *, now_ns: int) -> None:
        """What the store refused may be accepted by now."""
        with self._t.database.transaction():
            for task in tasks:
                self._t.tasks.retry(task, now_ns)

    def paused(self, tasks: Sequence[Task]) -> None:
        """These tasks would change something below a paused path."""
        self.postponed([(task, PAUSED_NS) for task in tasks])

    def staged(self, tasks: Sequence[Task]) -> None:
        """These tasks are about names below a staging name: local until renamed out."""
        with self._t.database.transaction():
            for task in tasks:
                self._t.tasks.stage(task.task)

    def adopted(self, task: Task, *, now_ns: int) -> None:
        """A subtree left staging: its parked tasks fall due, acknowledged by that rename; so do its markers."""
        t = self._t
        assert task.ino is not None
        with t.database.transaction():
            for ino in (task.ino, *(row.ino for row in t.dentries.below(task.ino))):
                if ino is None:
                    continue
                for parked in t.tasks.all_of_inode(ino):
                    if parked.staged:
                        t.tasks.unstage(parked.task, seq=task.seq, due_ns=now_ns)
                if t.directories.find(ino) is not None and self._policies.wants_marker(ino):
                    self._moves.want_marker(ino, now_ns=now_ns, since_seq=task.seq)
            t.tasks.drop(task.task)

    def _forgo(self, task: Task, *, now_ns: int) -> None:
        """A copy or marker is not carried out any more: what a request without an answer may have made has to go.

        When a copy's name went, that wanted it deleted; by now it may be, and the name hides nothing any more.
        """
        if task.key is None:
            return
        row = self._t.dentries.get(*task.target) if task.kind == TaskKind.COPY and task.target is not None else None
        if task.kind == TaskKind.MARKER or (row is not None and row.ino == task.ino):
            self._moves.orphaned(task, task.key, now_ns=now_ns)

    def _stay(self, task: Task, *, now_ns: int) -> None:
        """Deletes of objects whose names went and came back are looked at again: nobody leaves those any more."""
        t = self._t
        for row in t.dentries.of_inode(task.inode_no):
            if row.lower is not None and t.directories.home_key(row.place) == row.key:
                t.tasks.release(row.lower.store, row.lower.key, now_ns)

    def _finish(self, started: Started, written: Dentry | None, *, now_ns: int) -> bool:
        """The task has brought a name up to date: True if nothing is left of it."""
        t = self._t
        task = t.tasks.get(started.task.task)
        if task is not None and any(written is None or row.place != written.place for row in lacking(t, task)):
            t.tasks.next_name(task.task, now_ns)
            return False
        return t.tasks.done(started.task, started_seq=started.seq, now_ns=now_ns)


def conflicting(tables: Tables, store: StoreNo, key: str) -> bool:
    """A pending delete of an ancestor of `key`, or of something below it: it goes before `key` is written."""
    above = [prefix[:-1] for prefix in ancestors(key)]
    if key.endswith("/"):
        above.append(key[:-1])
    if any(tables.tasks.deletes_of(store, name) for name in above):
        return True
    return not key.endswith("/") and tables.tasks.has_delete_below(store, key + "/")
