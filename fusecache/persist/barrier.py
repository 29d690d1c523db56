"""Commit markers come last: after all that was acknowledged before them in their tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fusecache.errors import Stale
from fusecache.namespace.moves import is_home
from fusecache.namespace.records import Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.persist.staging import Patterns
from fusecache.types import ROOT_INO, InodeNo, Seq

_OLDEST = 16
"""Of all that is unfinished so many are looked at first: mostly they are of the tree. Then the tree is gone through:
that may be large, too, but does not grow with what others wait for."""


class _Blocker(NamedTuple):
    """What something waits for."""

    task: Task
    first: Seq
    """Of what was acknowledged earlier nothing blocks it."""


class Barriers:
    """Tells whether a commit marker has to wait, and remembers for what."""

    def __init__(self, tables: Tables, patterns: Patterns) -> None:
        self._t = tables
        self._patterns = patterns
        self._blockers: dict[int, _Blocker] = {}

    def holds(self, task: Task, place: Place) -> bool:
        """Whether `task`, about the name at `place`, is about a marker whose tree is not in the store yet."""
        names = self._t.directories.names(place)
        depth = self._patterns.marked_depth(names)
        if depth is None:
            return False
        tree = self._tree(place, len(names) - depth)
        moving = self._moving(tree)
        if moving is not None:  # what is older than that is looked for after it
            return self._remember(task, _Blocker(moving._replace(since_seq=Seq(0)), Seq(0))) is not None
        known = self._blockers.get(task.task)
        if known is not None and self._still_blocks(known.task, task):
            return True
        key = self._t.directories.home_key(place)

        def blocks(other: Task) -> bool:
            if other.ino == task.ino or (other.kind == TaskKind.DELETE and other.key == key):
                return False  # what is deleted where the marker goes is replaced by it, and waits for that
            return self._is_before(other, task)

        return self._remember(task, self._find(task, tree, known, blocks)) is not None

    def arriving(self, task: Task) -> Task | None:
        """Return what has to arrive before a relocation that has copied all but commit markers goes on with those.

        That is what was acknowledged before it and belongs to its directory; but nothing that waits for an application
        or is stuck, as others wait for the directory. Only where that is now: else what belongs there waits for it.
        """
        assert task.ino is not None
        directory = self._t.directories.find(task.ino)
        if directory is None or task.key != self._t.directories.home_prefix(task.ino):
            return None
        known = self._blockers.get(task.task)
        now = None if known is None else self._t.tasks.get(known.task.task)
        if now is not None and self._may_arrive_before(now, task):
            return now
        place = Place(directory.parent, directory.name)
        names = self._t.directories.names(place)
        depth = self._patterns.marked_depth([*names, b""])
        tree = task.ino if depth is None else self._tree(place, len(names) - depth)

        def blocks(other: Task) -> bool:
            return self._may_arrive_before(other, task) and not self._is_marker(other)

        return self._remember(task, self._find(task, tree, known, blocks))

    def blocker_of(self, task: int) -> Task | None:
        """Return what a marker was last seen to wait for, if that is there still, and not found to stay here."""
        known = self._blockers.get(task)
        now = None if known is None else self._t.tasks.get(known.task.task)
        return None if now is None or now.staged else now

    def tree_of(self, task: Task) -> InodeNo | None:
        """Return the tree of the commit marker that `task` is about; None if it is about none."""
        for row in self._t.dentries.of_inode(task.inode_no):
            names = self._t.directories.names(row.place)
            depth = self._patterns.marked_depth(names)
            if depth is not None:
                return self._tree(row.place, len(names) - depth)
        return None

    def forget(self, task: int) -> None:
        """The task is gone."""
        self._blockers.pop(task, None)

    def _remember(self, task: Task, found: _Blocker | None) -> Task | None:
        if found is None:
            self._blockers.pop(task.task, None)
            return None
        self._blockers[task.task] = found
        return found.task

    def _may_arrive_before(self, other: Task, task: Task) -> bool:
        """Whether an unfinished task, in the tree of a relocation and no marker's, goes before its markers."""
        if other.due_ns is None or other.stuck or other.since_seq >= task.seq:
            return False
        if other.kind == TaskKind.RELOCATE:  # of two, one goes on
            is_there = other.source == other.key or is_home(self._t, other)
            return not is_there and other.since_seq < task.since_seq
        return other.kind in (TaskKind.UPLOAD, TaskKind.COPY)

    def _moving(self, tree: InodeNo) -> Task | None:
        """The relocation that brings a tree, whenever it was acknowledged: without it the rest is not there."""
        if not self._t.tasks.has_relocations():
            return None
        above = (tree, *self._t.directories.ancestors(tree))
        moving = (self._t.tasks.of_inode(ino, TaskKind.RELOCATE) for ino in above)
        return next((each for each in moving if each is not None and each.source != each.key), None)

    def _still_blocks(self, known: Task, task: Task) -> bool:
        now = self._t.tasks.get(known.task)
        return now is not None and not now.staged and now.since_seq == known.since_seq and self._is_before(now, task)

    def _tree(self, place: Place, levels: int) -> InodeNo:
        """The directory so many names above that one."""
        ino = place.parent
        for _ in range(levels - 1):
            ino = self._t.directories.get(ino).parent
        return ino

    def _find(
        self, task: Task, tree: InodeNo, known: _Blocker | None, blocks: Callable[[Task], bool]
    ) -> _Blocker | None:
        """Return something unfinished in a tree that `blocks`; it was acknowledged before `task`."""
        first = known.first if known is not None else Seq(0)
        home = self._t.directories.home_prefix(tree)
        for nth, other in enumerate(self._t.tasks.unfinished(first=first, before=task.seq)):
            if nth == _OLDEST and tree != ROOT_INO:
                break
            if blocks(other) and self._is_within(other, tree, home):
                return _Blocker(other, other.since_seq)
            first = other.since_seq
        else:
            return None
        others = self._t.trees.unfinished(tree, task.store, home, before=task.seq)
        found = next((other for other in others if blocks(other)), None)
        return None if found is None else _Blocker(found, first)

    def _is_before(self, other: Task, task: Task) -> bool:
        """Two markers wait for each other in the order of their latest acknowledgements, never in a circle."""
        if other.since_seq >= task.seq:
            return False
        return other.seq < task.seq or not self._is_marker(other)

    def _is_marker(self, other: Task) -> bool:
        if other.ino is None or other.kind not in (TaskKind.UPLOAD, TaskKind.COPY):
            return False
        rows = self._t.dentries.of_inode(other.ino)
        return any(self._patterns.marked_depth(self._t.directories.names(row.place)) is not None for row in rows)

    def _is_within(self, other: Task, tree: InodeNo, home: str) -> bool:
        if tree == ROOT_INO:
            return True
        if other.ino is None:
            if other.key is not None and other.key.startswith(home):
                return True
            parent = other.shield.parent if other.shield is not None else None
            return parent is not None and self._is_under(parent, tree)
        if self._t.directories.find(other.ino) is not None:
            return self._is_under(other.ino, tree)
        return any(self._is_under(row.parent, tree) for row in self._t.dentries.of_inode(other.ino))

    def _is_under(self, ino: InodeNo, tree: InodeNo) -> bool:
        try:
            return ino == tree or tree in self._t.directories.ancestors(ino)
        except Stale:
            return False
