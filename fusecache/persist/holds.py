"""What must be true of the store before a key is written or deleted. Pure over the rows.

`a` and `a/…` exclude each other on most servers, and a key that somebody still reads from must not be
destroyed: so writes wait for relocations and deletes, deletes wait for readers. A circle of waiting
is broken by a copy to a temporary key.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from fusecache.namespace.drain import conflicting
from fusecache.namespace.keys import ancestors
from fusecache.namespace.records import Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.persist.inflight import InFlight
from fusecache.types import InodeNo, ObjectKey, StoreNo


class Fate(Enum):
    """What a delete task comes to."""

    GO = auto()
    VOID = auto()
    """The key belongs to a live name again."""
    PARK = auto()
    """Whoever reads it releases it."""
    WAIT = auto()
    """To be looked at again soon."""


class Holds:
    """Answers whether a task may go ahead, by the rows and by what is in flight."""

    def __init__(self, tables: Tables, inflight: InFlight, *, is_read: Callable[[StoreNo, ObjectKey], bool]) -> None:
        """`is_read`: an open, partly cached file still needs this object."""
        self._t = tables
        self._inflight = inflight
        self._is_read = is_read

    def write(self, store: StoreNo, key: ObjectKey, place: Place, ino: InodeNo | None) -> bool:
        """Whether a write to `key`, for `place`, has to wait; `ino`: whose object may be read there."""
        if self._inflight.conflicts(store, key) or self._is_relocated(store, key, place):
            return True
        if any(row.ino != ino for row in self._t.dentries.readers(store, key)):
            return True
        return conflicting(self._t, store, key)

    def relocation(self, task: Task, target: str) -> bool:
        """Whether a relocation to `target` has to wait."""
        assert task.source is not None
        store = task.store
        if self._inflight.is_below(store, task.source) or self._inflight.has(store, target[:-1]):
            return True
        if self._t.tasks.has_delete_below(store, target) or conflicting(self._t, store, ObjectKey(target)):
            return True
        if self._t.tasks.any_delete_of(store, [target[:-1]]):
            return True
        others = self._t.tasks.relocations_over(store, [*ancestors(target), target])
        others += self._t.tasks.relocations_below(store, target)
        return any(self._excludes(other, task, target) for other in others if other.task != task.task)

    def delete(self, task: Task) -> Fate:
        """What becomes of a delete now."""
        assert task.key is not None
        store, key = task.store, task.key
        if self._inflight.has(store, key):
            return Fate.WAIT
        readers = self._t.dentries.readers(store, key)
        if any(self._t.directories.home_key(row.place) == key for row in readers):
            return Fate.VOID
        if readers or self._is_own_of_relocation(task, key):
            return Fate.PARK
        if self._is_read(store, key) or self._is_overwritten_soon(task, key):
            return Fate.WAIT
        return Fate.GO

    # --- parts ---

    def _is_relocated(self, store: StoreNo, key: ObjectKey, place: Place) -> bool:
        """A relocation has still to read here, or writes here for a directory that is somewhere else by now.

        Above the key, or below it: where a file is to be, there was a directory.
        """
        if not self._t.tasks.has_relocations():  # as nearly always: one cheap question instead of two
            return False
        below = key if key.endswith("/") else f"{key}/"
        moving = self._t.tasks.relocations_over(store, [*ancestors(key), below])
        moving += self._t.tasks.relocations_below(store, below)
        return any(self._is_in_the_way(task, below, place) for task in moving)

    def _is_in_the_way(self, task: Task, below: str, place: Place) -> bool:
        assert task.source is not None
        assert task.ino is not None
        if task.source != task.key and (below.startswith(task.source) or task.source.startswith(below)):
            return True
        return task.ino != place.parent and not self._is_above(task.ino, place.parent)

    def _excludes(self, other: Task, task: Task, target: str) -> bool:
        """Whether `other` reads where `task` is going to write, or writes there for another directory."""
        if other.source != other.key and other.source is not None and _overlap(other.source, target):
            return True
        if other.key is None or not _overlap(other.key, target):
            return False
        assert task.ino is not None
        assert other.ino is not None
        # Moved one into the other, both write below one home.
        return not (self._is_above(other.ino, task.ino) or self._is_above(task.ino, other.ino))

    def _is_above(self, upper: InodeNo, lower: InodeNo) -> bool:
        return upper in self._t.directories.ancestors(lower)

    def _is_own_of_relocation(self, task: Task, key: ObjectKey) -> bool:
        """Its directory still reads the old prefix: what is not known there is listed from there."""
        above = [*ancestors(key), key] if key.endswith("/") else ancestors(key)
        moving = self._t.tasks.relocations_over(task.store, above) if above else []
        return any(each.source in above and each.source != each.key and each.shield == task.shield for each in moving)

    def _is_overwritten_soon(self, task: Task, key: ObjectKey) -> bool:
        """The name has a new file, whose upload replaces the object: no need to have a gap between."""
        row = self._t.dentries.get(*task.shield) if task.shield is not None else None
        if row is None or row.ino is None or self._t.directories.find(row.ino) is not None:
            return False
        if self._t.directories.find(row.parent) is None or self._t.directories.home_key(row.place) != key:
            return False
        writes = [each for each in self._t.tasks.all_of_inode(row.ino) if each.kind != TaskKind.DELETE]
        return any(each.due_ns is not None and not each.stuck for each in writes)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
