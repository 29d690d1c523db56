"""What the persister records of a relocation: the tree of a renamed directory that follows its name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass

from fusecache.namespace.keys import after
from fusecache.namespace.links import is_sent
from fusecache.namespace.moves import Moves, is_settled
from fusecache.namespace.records import Dentry, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import ETag, InodeNo, LowerId, ObjectKey


@dataclass(frozen=True, slots=True)
class Relocated:
    """One source key of a relocation, and what became of it."""

    source: ObjectKey
    etag: ETag | None
    """The version that was copied, or is known; None: it has to go if it is ours."""
    place: Place | None
    """The known name whose object it is; None: no row knows it."""
    target: LowerId | None
    """The copy; None: it is only to be deleted."""
    stray: Place | None = None
    """The name was removed while its object was copied: what hides the copy, which has to go."""
    is_anothers: bool = False
    """The directory that it is in was moved meanwhile, and reads the source."""


def only_markers_left(task: Task) -> bool:
    """Whether all that a relocation copies is copied, but commit markers."""
    return bool(task.source) and task.position == after(task.source or "")


class Relocations:
    """Pages, the flip, and the strays. Each method is one transaction.

    What follows from a relocation goes back to the same acknowledgement: a barrier over one covers the other.
    """

    def __init__(self, tables: Tables, moves: Moves) -> None:
        self._t = tables
        self._moves = moves

    def relocated(self, task: Task, page: Sequence[Relocated], position: str, *, now_ns: int) -> None:
        """These keys of a relocation were copied; their sources go once nothing reads the old prefix."""
        t = self._t
        with t.database.transaction():
            task = self._current(task)
            seq = t.database.next_seq()
            for moved in page:
                row = t.dentries.get(*moved.place) if moved.place is not None else None
                if row is not None and row.key == moved.source and moved.target is not None:
                    self._moves.relabel(row, moved.target, now_ns=now_ns, since_seq=task.since_seq)
                if moved.stray is not None and moved.target is not None:
                    t.tasks.want_deleted(
                        task.store,
                        moved.target.key,
                        etag=moved.target.etag,
                        seq=seq,
                        due_ns=now_ns,
                        now_ns=now_ns,
                        shield=moved.stray,
                        since_seq=task.since_seq,
                    )
                if moved.is_anothers:
                    continue
                t.tasks.want_deleted(
                    task.store,
                    moved.source,
                    etag=moved.etag,
                    seq=seq,
                    due_ns=None,
                    now_ns=now_ns,
                    shield=task.shield,
                    since_seq=task.since_seq,
                )
            t.tasks.move(task.task, position)

    def held_back(self, task: Task) -> Task:
        """All of a relocation is copied but commit markers, which come last: some may have been already."""
        assert task.source is not None
        position = after(task.source)
        with self._t.database.transaction():
            self._t.tasks.move(task.task, position)
        return task._replace(position=position)

    def flipped(self, task: Task, *, now_ns: int) -> None:
        """All keys of a relocation are copied: the directory reads the recorded target from now on.

        The task stays, to look for strays; it shields the place that the target belonged to.
        """
        t = self._t
        with t.database.transaction():
            task = self._current(task)
            assert task.ino is not None
            t.tasks.settle_at(task)
            self._hide_from_outside(task, now_ns=now_ns)
            assert task.source is not None
            assert task.key is not None
            directory = t.directories.get(task.ino)
            if directory.prefix is None:
                t.directories.open(task.ino, task.key, now_ns=now_ns)
            # An opaque directory may hold others that are not: they read below the old prefix, too.
            # One that moved within it has a relocation of its own, and was not copied along.
            others = t.tasks.relocated() - {task.ino}
            t.directories.redirect(task.ino, task.source, task.key, but=others)
            for row in t.dentries.of_inode(task.ino):  # a listing begun before does not show it where it is now
                t.dentries.put(row._replace(epoch=t.database.next_seq()))
            self._moves.unmark(task.ino, now_ns=now_ns, since_seq=task.since_seq)
            for row in t.dentries.below(task.ino):
                if not others or not self._is_in(row, others, task.ino):
                    self._flip_row(row, task, now_ns=now_ns)
            t.tasks.release_below(task.store, task.source, now_ns)
            self._moves.child_persisted(directory.parent, now_ns=now_ns, since_seq=task.since_seq)
            self._moves.settle(task.shield, t.database.next_seq(), now_ns=now_ns)

    def swept(self, task: Task, strays: Sequence[tuple[ObjectKey, Place | None]], *, now_ns: int) -> None:
        """Keys that a relocation copied and that no name stands for: they have to go; the place hides each."""
        if not strays:
            return
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            for key, place in strays:
                t.tasks.want_deleted(
                    task.store,
                    key,
                    etag=None,
                    seq=seq,
                    due_ns=now_ns,
                    now_ns=now_ns,
                    shield=place,
                    since_seq=task.since_seq,
                )

    def relocated_all(self, task: Task, *, now_ns: int) -> None:
        """No strays are left. If the directory has another name by now, its tree follows."""
        t = self._t
        with t.database.transaction():
            task = self._current(task)
            assert task.ino is not None
            t.tasks.drop(task.task)
            seq = t.database.next_seq()
            if t.directories.find(task.ino) is None:
                self._moves.settle(task.shield, seq, now_ns=now_ns)
                return
            assert task.source is not None
            if not is_settled(t, task.ino, task.source):
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
            self._bring_home(task, now_ns=now_ns)
            self._moves.use_above(task.ino, now_ns=now_ns)
            self._moves.settle(task.shield, seq, now_ns=now_ns)
            self._moves.settle_below(task.ino, seq, now_ns=now_ns)

    # --- within a transaction ---

    def _is_in(self, row: Dentry, others: Set[InodeNo], below: InodeNo) -> bool:
        """Whether a row is one of these directories, or in one, below the directory `below`."""
        chain = (row.ino, row.parent, *self._t.directories.ancestors(row.parent))
        return any(ino in others for ino in itertools.takewhile(lambda ino: ino != below, chain))

    def _current(self, task: Task) -> Task:
        """The row as it is now: another name may shield it since its worker began."""
        return self._t.tasks.get(task.task) or task

    def _bring_home(self, task: Task, *, now_ns: int) -> None:
        """Known objects that were copied along, and whose names have moved meanwhile, follow them."""
        t = self._t
        assert task.ino is not None
        for row in t.dentries.below(task.ino):
            if row.ino is not None and row.key is not None:
                self._moves.follow(row, now_ns=now_ns, since_seq=task.since_seq)

    def _hide_from_outside(self, task: Task, *, now_ns: int) -> None:
        """What still goes from the old prefix was hidden by names in the directory: by its old name from now on."""
        t = self._t
        assert task.source is not None
        assert task.ino is not None
        for other in t.tasks.going_below(task.store, task.source):
            if other.shield is not None and self._is_inside(other.shield, task.ino):
                t.tasks.shield(other.task, task.shield)
                self._moves.settle(other.shield, t.database.next_seq(), now_ns=now_ns)
        for other in t.tasks.relocations_below(task.store, task.source):
            if other.key is None or not other.key.startswith(task.source) or other.target is None:
                continue
            if self._is_inside(other.target, task.ino) and task.shield is not None:
                t.tasks.record_target(other, other.key, task.shield)

    def _is_inside(self, place: Place, ino: InodeNo) -> bool:
        """Whether a place is below `ino`, and in no directory that has a relocation of its own."""
        t = self._t
        for each in (place.parent, *t.directories.ancestors(place.parent)) if t.directories.find(place.parent) else ():
            if each == ino:
                return True
            if t.tasks.of_inode(each, TaskKind.RELOCATE) is not None:
                return False
        return False

    def _flip_row(self, row: Dentry, task: Task, *, now_ns: int) -> None:
        """A name below a directory that reads its target now."""
        t = self._t
        assert task.source is not None
        if row.ino is None:
            return
        directory = t.directories.find(row.ino)
        if directory is not None:
            if directory.prefix is None or directory.prefix.startswith(task.key or ""):
                self._moves.unmark(row.ino, now_ns=now_ns, since_seq=task.since_seq)
            return
        if row.key is None or not row.key.startswith(task.source):
            return
        # It became known after its page was copied, or was to be sent then.
        if t.tasks.of_inode(row.ino, TaskKind.COPY) is None and not is_sent(t, row):
            seq = t.database.next_seq()
            t.tasks.want(
                TaskKind.COPY,
                row.ino,
                task.store,
                seq=seq,
                due_ns=now_ns,
                now_ns=now_ns,
                source=row.key,
                since_seq=task.since_seq,
            )
