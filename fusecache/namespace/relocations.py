"""What the persister records of a relocation: the tree of a renamed directory that follows its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusecache.namespace.moves import Moves
from fusecache.namespace.records import Dentry, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import ETag, LowerId, ObjectKey


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
            seq = t.database.next_seq()
            for moved in page:
                row = t.dentries.get(*moved.place) if moved.place is not None else None
                if row is not None and row.key == moved.source and moved.target is not None:
                    self._moves.relabel(row, moved.target, now_ns=now_ns, since_seq=task.since_seq)
                if moved.stray is not None and moved.target is not None:
                    t.tasks.want_deleted(
                        task.store,
                        moved.target.key,
                        etag=None,
                        seq=seq,
                        due_ns=now_ns,
                        now_ns=now_ns,
                        shield=moved.stray,
                        since_seq=task.since_seq,
                    )
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
            self._hide_from_outside(task)
            directory = t.directories.get(task.ino)
            if directory.prefix is None:
                t.directories.open(task.ino, task.key, now_ns=now_ns)
            # An opaque directory may hold others that are not: they read below the old prefix, too.
            t.directories.redirect(task.ino, task.source, task.key)
            self._moves.unmark(task.ino, now_ns=now_ns, since_seq=task.since_seq)
            for row in t.dentries.below(task.ino):
                self._flip_row(row, task, now_ns=now_ns)
            t.tasks.release_below(task.store, task.source, now_ns)
            self._moves.child_persisted(directory.parent, now_ns=now_ns, since_seq=task.since_seq)
            self._moves.settle(task.shield, t.database.next_seq(), now_ns=now_ns)

    def swept(self, task: Task, strays: Sequence[tuple[ObjectKey, Place | None]], *, now_ns: int) -> None:
        """Keys that a relocation copied and that no name stands for: they have to go; the place hides each."""
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
        assert task.ino is not None
        assert task.source is not None
        with t.database.transaction():
            t.tasks.drop(task.task)
            seq = t.database.next_seq()
            if t.directories.find(task.ino) is None:
                self._moves.settle(task.shield, seq, now_ns=now_ns)
                return
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
            self._moves.settle(task.shield, seq, now_ns=now_ns)
            self._moves.settle_below(task.ino, seq, now_ns=now_ns)

    # --- within a transaction ---

    def _hide_from_outside(self, task: Task) -> None:
        """What still goes from the old prefix was hidden by names in the directory: by its old name from now on."""
        t = self._t
        assert task.source is not None
        assert task.ino is not None
        for other in t.tasks.going_below(task.store, task.source):
            if other.shield is None or other.shield == task.shield:
                continue
            parent = other.shield.parent
            if parent == task.ino or (t.directories.find(parent) and task.ino in t.directories.ancestors(parent)):
                t.tasks.shield(other.task, task.shield)

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
        kinds = {each.kind for each in t.tasks.all_of_inode(row.ino)}
        if not kinds & {TaskKind.UPLOAD, TaskKind.COPY}:  # it became known after its page was copied
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
