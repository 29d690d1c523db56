"""Tasks that wait for each other: which of them steps aside, to a key that is nobody's, and goes on from there."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from fusecache.namespace.keys import TMP_PREFIX, ancestors, component_of
from fusecache.namespace.links import lacking
from fusecache.namespace.moves import is_waiting_at_home
from fusecache.namespace.records import Dentry, Place, Task, TaskKind
from fusecache.namespace.relocations import only_markers_left
from fusecache.namespace.tables import Tables
from fusecache.types import ObjectKey, StoreNo

_LOOKED_AT = 100
"""Tasks of which a circle may be made: of a larger one the end of all else tells."""


class Aside(NamedTuple):
    """Where a task that steps aside goes, as in a job."""

    place: Place | None
    key: ObjectKey
    dentry: Dentry | None = None
    is_held: bool = False


class Circles:
    """Knows what may step aside. Pure over the rows, but for which relocations have made way when."""

    def __init__(self, tables: Tables) -> None:
        self._t = tables
        self._cleared: dict[int, frozenset[tuple[int, int]]] = {}

    def forget(self, task: int) -> None:
        """The task may be gone."""
        if task in self._cleared and self._t.tasks.get(task) is None:
            del self._cleared[task]

    def may_step_aside(self, task: Task) -> bool:
        """An upload, too: what is below its old object waits for that, and maybe the upload itself.

        Not what is at home: it only waits to be told so, would come back, and do so for ever.
        """
        if task.kind == TaskKind.RELOCATE:
            if is_waiting_at_home(self._t, task):
                return False
            if task.key is None or only_markers_left(task):
                return True
            return not self._refused_below(task) <= self._cleared.get(task.task, frozenset())
        return task.kind in (TaskKind.UPLOAD, TaskKind.COPY)

    def by_cost(self, tasks: Iterable[Task]) -> list[Task]:
        """Order tasks, the one that should step aside first.

        Uploads late: theirs are bytes to be sent, the others' are copied in the store. A relocation that has markers
        left goes on with them, if it is that.
        """
        return sorted(tasks, key=lambda each: (only_markers_left(each), each.kind == TaskKind.UPLOAD, each.seq))

    def aside(self, task: Task) -> Aside | None:
        """Where a task can go meanwhile; None: nowhere. A relocation that has begun only makes way below its target."""
        assert task.ino is not None
        name = f"{TMP_PREFIX}{task.task}/"
        if task.kind == TaskKind.RELOCATE:
            if only_markers_left(task):
                return Aside(task.target, task.key or ObjectKey(""))
            if task.key is not None:
                self._cleared[task.task] = self._refused_below(task)
                return Aside(task.target, task.key, is_held=True)
            directory = self._t.directories.get(task.ino)
            if (task.source or "").startswith(TMP_PREFIX):
                return None
            return Aside(Place(directory.parent, directory.name), ObjectKey(name))
        rows = (row for row in lacking(self._t, task) if row.key is not None and not row.key.startswith(TMP_PREFIX))
        dentry = next(rows, None)
        if dentry is None:
            return None
        aside = f"{name}{dentry.parent}/{component_of(dentry.name)}"  # each name its own
        return Aside(dentry.place, ObjectKey(aside), dentry)

    def is_in_one(self, task: Task, held: Container[int]) -> bool:
        """Whether `task`, which has not begun, waits for itself by way of tasks that are all held.

        By the keys that names are to have and others read: swapped files and directories, the circles that people make.
        """
        if task.kind == TaskKind.RELOCATE and task.key is not None:
            return False
        seen, todo = {task.task}, [task]
        while todo and len(seen) < _LOOKED_AT:
            for each in self._in_the_way(todo.pop()):
                if each.task == task.task:
                    return True
                if each.task in held and each.task not in seen:
                    seen.add(each.task)
                    todo.append(each)
        return False

    def _in_the_way(self, task: Task) -> Iterator[Task]:
        """The tasks that have to free the keys first at which this one is to write; itself, if it reads one of them."""
        t = self._t
        assert task.ino is not None
        if task.kind == TaskKind.RELOCATE:
            targets = [t.directories.home_prefix(task.ino)] if t.directories.find(task.ino) is not None else []
        else:
            targets = [t.directories.home_key(row.place) for row in lacking(t, task)]
        own = [row.key for row in t.dentries.of_inode(task.ino) if row.key is not None]
        for key in targets:
            below = key if key.endswith("/") else f"{key}/"
            moving = t.tasks.relocations_over(task.store, [*ancestors(key), below])
            moving += t.tasks.relocations_below(task.store, below)
            yield from (each for each in moving if each.source != each.key and _overlap(each.source or "", below))
            yield from (each for each in self._reading(task.store, below[:-1]) if each.ino != task.ino)
            for prefix in ancestors(key):
                yield from self._reading(task.store, prefix[:-1])
            if any(each.startswith(below) for each in own):
                yield task

    def _reading(self, store: StoreNo, key: str) -> Iterator[Task]:
        """The tasks after which nobody reads `key` any more."""
        for row in self._t.dentries.readers(store, ObjectKey(key)):
            every = self._t.tasks.all_of_inode(row.inode_no)
            yield from (each for each in every if each.kind in (TaskKind.UPLOAD, TaskKind.COPY))

    def _refused_below(self, relocation: Task) -> frozenset[tuple[int, int]]:
        """The tasks that failed, and how often, below the target of a relocation: it may be in their way."""
        every = self._t.tasks.arriving_below(relocation.store, relocation.key or "")
        return frozenset((each.task, each.attempts) for each in every if each.attempts and each.task != relocation.task)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
