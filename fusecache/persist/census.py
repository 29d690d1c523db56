"""What a barrier covers and the store still lacks: what moves, and what waits for somebody."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import trio

from fusecache.errors import Stale
from fusecache.namespace.records import Task, TaskKind
from fusecache.namespace.tasks import HURRIED_NS, PAUSED_NS
from fusecache.persist.barrier import Barriers
from fusecache.persist.pages import pages
from fusecache.persist.paths import Paths
from fusecache.persist.report import Reporter
from fusecache.persist.settings import MAX_BATCH
from fusecache.persist.staging import Patterns
from fusecache.persist.tools import Tools
from fusecache.persist.waits import Waits
from fusecache.types import ROOT_INO, InodeNo, Seq

_EXPLAINED = 50
"""Waiting tasks whose cause is looked for between two chances for others to run."""
_NAMED = 100
"""Of the files that somebody has open so many are named."""


@dataclass(slots=True)
class Barrier:
    """What somebody waits for: all that was acknowledged up to `seq` at or below `ino`."""

    ino: InodeNo
    seq: Seq
    refused: dict[int, int] = field(default_factory=dict)
    """The tasks that were stuck at first and are tried again for it, with their attempts then."""
    trees: set[InodeNo] = field(default_factory=set)
    """Of commit markers below `ino`: what these wait for is hurried, too."""
    first: tuple[int, int] | None = None
    """Files and bytes that there were to bring to the store when it was counted for the first time."""

    def tries(self, task: Task) -> bool:
        """Whether a stuck task is still to be tried for it."""
        return task.due_ns not in (None, PAUSED_NS) and self.refused.get(task.task) == task.attempts


@dataclass(slots=True)
class Left:
    """What is left of a barrier."""

    files: int = 0
    bytes: int = 0
    moving: int = 0
    """What goes on by itself, or one that does, if it had to be looked for among those that wait."""
    going_files: int = 0
    going_bytes: int = 0
    """What may go on by itself: it is neither open nor stuck nor paused."""
    waiting_open: int = 0
    files_waiting: int = 0
    paused: int = 0
    stuck: dict[int, dict[str, object]] = field(default_factory=dict)
    held_open: set[str] = field(default_factory=set)
    held: list[int] = field(default_factory=list)
    """Tasks that were due and had to wait for others."""
    staying_files: int = 0
    staying_bytes: int = 0
    """What will be found to stay here; counted once only, as it takes a look at each name."""
    parked: int = 0
    """Deletes that wait for another task: without one, for what is open, stuck or paused."""

    @property
    def is_over(self) -> bool:
        return not self.moving


class Census:
    """Counts the tasks that a barrier covers."""

    def __init__(
        self,
        tools: Tools,
        reporter: Reporter,
        barriers: Barriers,
        waits: Waits,
        patterns: Patterns,
        *,
        held: Callable[[], Collection[int]],
    ) -> None:
        """`held` gives the tasks that were due but had to wait for others."""
        self._tools = tools
        self._tables = tools.namespace.tables
        self._reporter = reporter
        self._barriers = barriers
        self._waits = waits
        self._patterns = patterns
        self._held = held
        self._paths = Paths(self._tables)

    async def refused(self) -> dict[int, int]:
        """Return what is stuck now, and how often each was tried."""
        found: dict[int, int] = {}
        while page := self._tables.tasks.stuck(after_task=max(found, default=0), count=MAX_BATCH):
            found.update((task.task, task.attempts) for task in page)
            await trio.lowlevel.checkpoint()
        return found

    async def count(self, barrier: Barrier) -> Left:
        """Count what is left; it goes before all else, with what is below the trees of its commit markers."""
        left = Left()
        deletes: list[Task] = []
        async for page in pages(self._tables, barrier.seq):
            late: list[Task] = []
            for task in page:
                if task.staged:
                    continue
                if self._paths.is_within(task, barrier.ino):
                    self._add(left, task, barrier)
                    self._await_tree(task, barrier)
                elif not any(self._paths.is_within(task, tree) for tree in barrier.trees):
                    continue
                if self._is_late(task, barrier):
                    (deletes if task.kind == TaskKind.DELETE else late).append(task)
            if late:
                self._tools.namespace.drain.hurried(late)
        for first in range(0, len(deletes), MAX_BATCH):  # in as few requests as there can be
            self._tools.namespace.drain.hurried(deletes[first : first + MAX_BATCH])
            await trio.lowlevel.checkpoint()
        if not left.moving:
            await self._explain(left, barrier)
        if left.is_over and left.paused:
            left.paused += left.parked
        elif left.is_over:
            left.waiting_open += left.parked
        barrier.first = barrier.first or (left.files - left.staying_files, left.bytes - left.staying_bytes)
        return left

    # --- one task ---

    def _add(self, left: Left, task: Task, barrier: Barrier) -> None:
        size = self._unsent(task.ino) if task.kind == TaskKind.UPLOAD and task.ino is not None else 0
        left.files += 1
        left.bytes += size
        if barrier.first is None and self._stays(task):
            left.staying_files += 1
            left.staying_bytes += size
        if task.stuck and not barrier.tries(task):
            left.stuck[task.task] = self._reporter.stuck_entry(task)
        elif task.due_ns == PAUSED_NS:
            left.paused += 1
        elif self._is_read(task):
            self._add_open(left, task, task)
        elif task.due_ns is None:
            left.parked += task.kind == TaskKind.DELETE
        else:
            left.going_files += 1
            left.going_bytes += size
            if task.task in self._held():
                left.held.append(task.task)
            else:
                left.moving += 1

    def _is_late(self, task: Task, barrier: Barrier) -> bool:
        """Whether it could go earlier: it has a delay, or others would be before it. A refusal has its time."""
        if task.due_ns in (None, HURRIED_NS, PAUSED_NS):
            return False
        is_due = task.due_ns <= self._tools.wall_ns()
        return (is_due and barrier.ino != ROOT_INO) or not (is_due or task.attempts) or barrier.tries(task)

    def _await_tree(self, task: Task, barrier: Barrier) -> None:
        """A commit marker waits for its tree, which may be more than what is flushed."""
        if self._barriers.blocker_of(task.task) is None:
            return
        tree = self._barriers.tree_of(task)
        if tree is not None and not self._paths.is_inode_within(tree, barrier.ino):
            barrier.trees.add(tree)

    def _stays(self, task: Task) -> bool:
        """Whether a file is closed below a staging name, and the plan has not looked at it yet."""
        if task.kind != TaskKind.UPLOAD or task.ino is None:
            return False
        rows = self._tables.dentries.of_inode(task.ino)
        names = (self._tables.directories.names(row.place) for row in rows)
        return bool(rows) and rows[0].key is None and all(map(self._patterns.is_staging, names))

    def _unsent(self, ino: InodeNo) -> int:
        try:
            size = self._tables.inodes.get(ino).size
        except Stale:
            return 0
        if size <= self._tools.settings.multipart_threshold:
            return size
        return max(0, size - self._tables.uploads.sent_bytes(ino))

    # --- what waits ---

    async def _explain(self, left: Left, barrier: Barrier) -> None:
        """Nothing is left but what waits for something else: does any of it end by itself?"""
        for number, held in enumerate(left.held, 1):
            task = self._tables.tasks.get(held)
            if task is None or not self._add_cause(left, task, self._waits.cause(task), barrier):
                left.moving += 1
                return
            if not number % _EXPLAINED:
                await trio.lowlevel.checkpoint()

    def _add_cause(self, left: Left, task: Task, cause: Task, barrier: Barrier) -> bool:
        """Count `task` as waiting for `cause`; False if that ends by itself, as far as is known."""
        if cause.due_ns == PAUSED_NS:
            left.paused += 1
        elif cause.stuck and not barrier.tries(cause):
            left.stuck[cause.task] = self._reporter.stuck_entry(cause)
        elif self._is_read(cause) or (cause.due_ns is None and cause.kind == TaskKind.UPLOAD):
            self._add_open(left, task, cause)
        else:
            return False
        return True

    def _is_read(self, task: Task) -> bool:
        """Whether a delete waits for a reader's last close."""
        return task.kind == TaskKind.DELETE and bool(task.key and self._tools.contents.readers_of(task.store, task.key))

    def _add_open(self, left: Left, task: Task, cause: Task) -> None:
        left.waiting_open += 1
        left.files_waiting += task.kind != TaskKind.DELETE
        if len(left.held_open) < _NAMED:
            left.held_open.update(self._open_names(cause))

    def _open_names(self, task: Task) -> list[str]:
        """What somebody has open, so that `task` waits: by name, or by key if it has none any more."""
        if task.kind != TaskKind.DELETE or task.key is None:
            return [self._paths.path_of(task)]
        inodes = self._tools.contents.reading(task.store, task.key)
        return [self._paths.path_of_inode(ino) or task.key for ino in inodes]
