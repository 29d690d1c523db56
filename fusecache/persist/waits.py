"""Why a task that is due is not carried out: what it waits for. Pure over the rows, and for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fusecache.errors import Stale
from fusecache.namespace.keys import ancestors
from fusecache.namespace.links import lacking
from fusecache.namespace.records import Dentry, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.namespace.tasks import PAUSED_NS
from fusecache.persist.barrier import Barriers
from fusecache.persist.paths import Paths
from fusecache.persist.removed import Removed
from fusecache.types import ObjectKey, StoreNo

_CHAIN = 16
"""What waits for what waits …: a longer chain ends sooner or later, too."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a task waits for: another task, if that is known, and in words."""

    task: Task | None
    words: str


class Waits:
    """Finds out what the planner only decides: it asks whether, this asks for what."""

    def __init__(
        self,
        tables: Tables,
        barriers: Barriers,
        removed: Removed,
        *,
        is_read: Callable[[StoreNo, ObjectKey], bool],
    ) -> None:
        self._t = tables
        self._barriers = barriers
        self._removed = removed
        self._is_read = is_read
        self._paths = Paths(tables)

    def of(self, task: Task) -> Wait | None:
        """Return what `task` waits for, the most telling reason first; None if nothing of the kind is known."""
        try:
            return next(self._reasons(task), None)
        except Stale:  # it is about something that went away meanwhile
            return None

    def cause(self, task: Task) -> Task:
        """Return what `task` waits for in the end, or itself: what is stuck, paused or open for writing, or what waits
        for nothing that is known."""
        for _ in range(_CHAIN):
            wait = self.of(task)
            if wait is None or wait.task is None:
                break
            task = wait.task
            if task.stuck or task.due_ns == PAUSED_NS or (task.due_ns is None and task.kind == TaskKind.UPLOAD):
                break
        return task

    def _reasons(self, task: Task) -> Iterator[Wait]:
        name = self._paths.path_of(task)
        if (blocker := self._barriers.blocker_of(task.task)) is not None:
            yield Wait(blocker, f"commit marker {name} waits for {self._paths.path_of(blocker)}{_state(blocker)}")
        if task.kind == TaskKind.DELETE:
            if self._is_read(task.store, task.key or ObjectKey("")):
                yield Wait(None, f"the delete of {name} waits for whoever has it open")
            places: list[tuple[ObjectKey, Place | None]] = [(task.key or ObjectKey(""), None)]
        elif task.kind in (TaskKind.UPLOAD, TaskKind.COPY):
            places = [(self._t.directories.home_key(row.place), row.place) for row in lacking(self._t, task)]
        elif task.kind == TaskKind.RELOCATE:
            yield from self._before_the_move(task, f"the move of {name}")
            return
        else:
            return
        for key, place in places:
            yield from self._in_the_way(task, name, key, place)

    def _in_the_way(self, task: Task, name: str, key: ObjectKey, place: Place | None) -> Iterator[Wait]:
        removed = self._removed.blocker(task, key, place)
        if removed is not None and removed.kind == TaskKind.RELOCATE:
            yield Wait(removed, f"{name} waits for the move of {self._paths.path_of(removed)}")
        elif removed is not None:
            yield Wait(removed, f"{name} waits until the old commit marker {removed.key} is deleted")
        for other in self._moving(task, key):
            yield Wait(other, f"{name} waits for the move of {self._paths.path_of(other)}")
        what = f"the delete of {name}" if task.kind == TaskKind.DELETE else name
        yield from self._read_there(self._t.dentries.readers(task.store, key), task, what)
        if task.kind != TaskKind.DELETE:
            yield from self._deleted(task, ancestors(key), name)

    def _before_the_move(self, task: Task, what: str) -> Iterator[Wait]:
        """What has to be gone from where a tree goes, and who has to be there before it."""
        assert task.ino is not None
        directories = self._t.directories
        if directories.find(task.ino) is None:
            return
        target = ObjectKey(task.key or directories.home_prefix(task.ino))
        going = self._t.tasks.going_below(task.store, target)
        yield from (Wait(each, f"{what} waits for the delete of {each.key}") for each in going if each.source is None)
        yield from self._deleted(task, [*ancestors(target), target], what)
        for ino in directories.ancestors(task.ino):
            if (other := self._t.tasks.of_inode(ino, TaskKind.RELOCATE)) is not None:
                yield Wait(other, f"{what} waits for the move of {self._paths.path_of(other)}")
        readers = self._t.dentries.readers_below(task.store, target)
        yield from self._read_there([row for row in readers if directories.home_key(row.place) != row.key], task, what)

    def _read_there(self, readers: list[Dentry], task: Task, what: str) -> Iterator[Wait]:
        for row in readers:
            if row.ino is not None and row.ino != task.ino:
                reader = next(iter(self._t.tasks.all_of_inode(row.ino)), None)
                where = self._paths.path_of_inode(row.ino)
                yield Wait(reader, f"{what} waits for {where}, which is still read from there")

    def _deleted(self, task: Task, prefixes: list[str], what: str) -> Iterator[Wait]:
        """Files that were where directories are to be."""
        for prefix in prefixes:
            for delete in self._t.tasks.deletes_of(task.store, prefix[:-1]):
                yield Wait(delete, f"{what} waits for the delete of {delete.key}")

    def _moving(self, task: Task, key: ObjectKey) -> list[Task]:
        above = ancestors(key)
        if not above or not self._t.tasks.has_relocations():
            return []
        return [each for each in self._t.tasks.relocations_over(task.store, above) if each.task != task.task]


def _state(task: Task) -> str:
    """Why what is waited for does not end by itself."""
    if task.stuck:
        return ", which is stuck"
    if task.due_ns == PAUSED_NS:
        return ", which is paused"
    return ", which is open for writing" if task.kind == TaskKind.UPLOAD and task.due_ns is None else ""
