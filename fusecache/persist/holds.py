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
from fusecache.namespace.moves import is_waiting_at_home
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Dentry, Place, Stuck, Task, TaskKind
from fusecache.namespace.relocations import only_markers_left
from fusecache.namespace.tables import Tables
from fusecache.persist.inflight import InFlight
from fusecache.persist.resolve import Owner, resolve
from fusecache.types import ROOT_INO, InodeNo, ObjectKey, StoreNo


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

    def __init__(
        self,
        tables: Tables,
        policies: Policies,
        inflight: InFlight,
        *,
        is_read: Callable[[StoreNo, ObjectKey], bool],
    ) -> None:
        """`is_read`: an open, partly cached file still needs this object."""
        self._t = tables
        self._policies = policies
        self._inflight = inflight
        self._is_read = is_read

    def write(self, store: StoreNo, key: ObjectKey, place: Place, ino: InodeNo | None) -> bool:
        """Whether a write to `key`, for `place`, has to wait; `ino`: whose object may be read there."""
        if self._inflight.conflicts(store, key) or self._is_relocated(store, key, place):
            return True
        if not self._is_carried(place.parent, key):
            return True
        if any(row.ino != ino for row in self._readers(self._t.dentries.readers(store, key))):
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
        if task.key is None and (self._is_below_another(task) or self._is_written_by_another(task)):
            return True
        if task.key is None and self._is_read_below(store, target):
            return True
        others = self._t.tasks.relocations_over(store, [*ancestors(target), target])
        others += self._t.tasks.relocations_below(store, target)
        return any(self._excludes(other, task, target) for other in others if other.task != task.task)

    def delete(self, task: Task, *, goes_first: bool = False) -> Fate:
        """What becomes of a delete now. `goes_first`: it doesn't wait for what replaces the object."""
        assert task.key is not None
        store, key = task.store, task.key
        if self._inflight.has(store, key):
            return Fate.WAIT
        readers = self._readers(self._t.dentries.readers(store, key))
        if self._is_marker(key):
            return Fate.VOID
        if any(self._t.directories.home_key(row.place) == key for row in readers):
            return Fate.PARK if self._is_seen_elsewhere(store, key) else Fate.VOID
        if readers or self._is_own_of_relocation(task, key):
            return Fate.PARK
        if self._is_read(store, key) or (not goes_first and self._is_overwritten_soon(task, key)):
            return Fate.WAIT
        return Fate.GO

    # --- parts ---

    def _readers(self, rows: list[Dentry]) -> list[Dentry]:
        """Without those whose version is gone from the store already: nothing can be destroyed for them any more."""
        return [row for row in rows if not self._has_lost(row)]

    def _has_lost(self, row: Dentry) -> bool:
        task = self._t.tasks.of_inode(row.inode_no, TaskKind.COPY)
        return task is not None and task.stuck == Stuck.GONE

    def _is_marker(self, key: str) -> bool:
        """Whether a directory that is there has this key, and needs it."""
        if not key.endswith("/"):
            return False
        found = resolve(self._t, ROOT_INO, "", key)
        if found.owner is not Owner.MARKER or found.directory is None:
            return False
        return bool(found.directory.marker) and self._policies.wants_marker(found.directory.ino)

    def _is_carried(self, directory: InodeNo, key: str) -> bool:
        """Whether what is at `key` follows when a directory above is renamed.

        One with a relocation takes along what is below its old prefix, or the recorded target: nothing else. One
        that is at home only waits for those above it.
        """
        if not self._t.tasks.has_relocations():
            return True
        for ino in (directory, *self._t.directories.ancestors(directory)):
            task = self._t.tasks.of_inode(ino, TaskKind.RELOCATE)
            if task is not None and not is_waiting_at_home(self._t, task):
                return task.key is not None and key.startswith(task.key)
        return True

    def _is_read_below(self, store: StoreNo, target: str) -> bool:
        """Whether a name that belongs elsewhere still reads an object there."""
        rows = self._readers(self._t.dentries.readers_below(store, target))
        return any(self._t.directories.home_key(row.place) != row.key for row in rows)

    def _is_below_another(self, task: Task) -> bool:
        """Whether a directory above is under way: until it has looked for strays, they may be where this one goes.

        Its commit markers wait for this one.
        """
        assert task.ino is not None
        return any(not only_markers_left(other) for other in self._relocations_above(task.ino))

    def _is_written_by_another(self, task: Task) -> bool:
        """Whether a relocation has a target in what this one is to copy: it would be copied in part."""
        assert task.source is not None
        others = self._t.tasks.relocations_over(task.store, [*ancestors(task.source), task.source])
        others += self._t.tasks.relocations_below(task.store, task.source)
        arriving = [other for other in others if other.key is not None and other.key != other.source]
        return any(other.task != task.task and _overlap(other.key or "", task.source) for other in arriving)

    def _relocations_above(self, ino: InodeNo) -> list[Task]:
        above = (self._t.tasks.of_inode(each, TaskKind.RELOCATE) for each in self._t.directories.ancestors(ino))
        return [task for task in above if task is not None]

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
        is_outside = task.ino != place.parent and not self._is_above(task.ino, place.parent)
        if is_waiting_at_home(self._t, task):
            return is_outside
        if task.source != task.key and (below.startswith(task.source) or task.source.startswith(below)):
            return True
        return is_outside or not self._is_heading_home(task)

    def _excludes(self, other: Task, task: Task, target: str) -> bool:
        """Whether `other` reads where `task` is going to write, or writes there for another directory."""
        if other.source != other.key and other.source is not None and _overlap(other.source, target):
            return not self._is_in_place(other, task)
        if other.key is None or not _overlap(other.key, target):
            return False
        if task.key is not None:
            return False  # both had begun: then they did not exclude each other
        assert task.ino is not None
        assert other.ino is not None
        # One in the other, both write below one home; unless that was recorded for another one.
        is_nested = self._is_above(other.ino, task.ino) or self._is_above(task.ino, other.ino)
        return not (is_nested and self._is_heading_home(other))

    def _is_heading_home(self, task: Task) -> bool:
        """Whether a relocation writes to where its directory is now, if it writes at all yet."""
        assert task.ino is not None
        if task.key is None:
            return True
        return self._t.directories.find(task.ino) is not None and self._t.directories.home_prefix(task.ino) == task.key

    def _is_in_place(self, other: Task, task: Task) -> bool:
        """Whether `other`, below the directory of `task`, only waits to be told that it is at home."""
        assert task.ino is not None
        assert other.ino is not None
        return self._is_above(task.ino, other.ino) and is_waiting_at_home(self._t, other)

    def _is_above(self, upper: InodeNo, lower: InodeNo) -> bool:
        return self._t.directories.find(lower) is not None and upper in self._t.directories.ancestors(lower)

    def _is_own_of_relocation(self, task: Task, key: ObjectKey) -> bool:
        """Its directory still reads the old prefix: what is not known there is listed from there."""
        above = [*ancestors(key), key] if key.endswith("/") else ancestors(key)
        moving = self._t.tasks.relocations_over(task.store, above) if above else []
        return any(each.source in above and each.source != each.key and each.shield == task.shield for each in moving)

    def _is_seen_elsewhere(self, store: StoreNo, key: ObjectKey) -> bool:
        """A directory that has left still reads here, and would show the object if nothing shielded it."""
        above = ancestors(key)
        moving = self._t.tasks.relocations_over(store, above) if above else []
        return any(each.source in above and each.source != each.key for each in moving)

    def _is_overwritten_soon(self, task: Task, key: ObjectKey) -> bool:
        """The name has a new file, whose upload replaces the object: no need to have a gap between."""
        row = self._t.dentries.get(*task.shield) if task.shield is not None else None
        if row is None or row.ino is None or self._t.directories.find(row.ino) is not None:
            return False
        if self._t.directories.find(row.parent) is None or self._t.directories.home_key(row.place) != key:
            return False
        if not self._is_carried(row.parent, key):
            return False  # that upload waits for a relocation, which may wait for this delete
        writes = [each for each in self._t.tasks.all_of_inode(row.ino) if each.kind != TaskKind.DELETE]
        return any(each.due_ns is not None and not each.stuck for each in writes)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
