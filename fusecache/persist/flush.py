"""The barrier: wait until what was acknowledged before a moment is in the store."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import trio

from fusecache.errors import Stale
from fusecache.namespace.durability import Durability
from fusecache.namespace.records import Task, TaskKind
from fusecache.namespace.tasks import HURRIED_NS, PAUSED_NS
from fusecache.persist.barrier import Barriers
from fusecache.persist.forecast import Forecast
from fusecache.persist.pages import pages
from fusecache.persist.paths import Paths
from fusecache.persist.report import Reporter
from fusecache.persist.settings import MAX_BATCH
from fusecache.persist.tools import Tools
from fusecache.persist.waits import Waits
from fusecache.types import ROOT_INO, FlushProgress, InodeNo, Seq

_TICK_S = 0.25
_PASS_SHARE = 10
"""A pass over a large backlog may take a tenth of the time at most."""


@dataclass(slots=True)
class _Census:
    """What is left of a barrier."""

    files: int = 0
    bytes: int = 0
    waited_for: int = 0
    parked: int = 0
    waiting_open: int = 0
    paused: int = 0
    stuck: list[dict[str, object]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """A parked delete waits for another task: without one, for what is open, stuck or paused."""
        return not self.waited_for


class Flusher:
    """Counts, again and again, the tasks that a barrier covers."""

    def __init__(
        self,
        tools: Tools,
        durability: Durability,
        reporter: Reporter,
        barriers: Barriers,
        waits: Waits,
        *,
        open_for_writing: Callable[[], Collection[InodeNo]],
        held: Callable[[], Collection[int]],
        ring: Callable[[], None],
    ) -> None:
        """`held` gives the tasks that were due but had to wait for others."""
        self._tools = tools
        self._durability = durability
        self._reporter = reporter
        self._barriers = barriers
        self._waits = waits
        self._held = held
        self._open_for_writing = open_for_writing
        self._ring = ring
        self._paths = Paths(tools.namespace.tables)

    async def flush(self, ino: InodeNo, *, progress: Callable[[FlushProgress], None] | None) -> FlushProgress:
        """See `Persister.flush`. A cancellation leaves the tasks due."""
        seq, started_s = self._tools.namespace.database.seq, trio.current_time()
        await self._durability.reached(seq)
        first: _Census | None = None
        awaited: set[InodeNo] = set()
        forecast = Forecast()
        while True:
            pass_started_s = trio.current_time()
            census = await self._count(ino, seq, awaited)
            first = first or census
            forecast.saw(pass_started_s, census.files, census.bytes)
            told = self._progress(ino, first, census, forecast, trio.current_time() - started_s)
            if progress is not None:
                progress(told)
            if census.is_over:
                return told
            self._ring()
            await trio.sleep(max(_TICK_S, _PASS_SHARE * (trio.current_time() - pass_started_s)))

    async def _count(self, ino: InodeNo, seq: Seq, awaited: set[InodeNo]) -> _Census:
        """Count what is left at or below `ino`; it goes before all else, with what is below the trees `awaited`."""
        census = _Census()
        deletes: list[Task] = []
        async for page in pages(self._tools.namespace.tables, seq):
            late: list[Task] = []
            for task in page:
                if task.staged:
                    continue
                if self._paths.is_within(task, ino):
                    self._add(census, task)
                    self._await_tree(task, ino, awaited)
                elif not any(self._paths.is_within(task, tree) for tree in awaited):
                    continue
                if self._is_late(task, ino):
                    (deletes if task.kind == TaskKind.DELETE else late).append(task)
            if late:
                self._tools.namespace.drain.hurried(late)
        for first in range(0, len(deletes), MAX_BATCH):  # in as few requests as there can be
            self._tools.namespace.drain.hurried(deletes[first : first + MAX_BATCH])
            await trio.lowlevel.checkpoint()
        if census.is_over and census.paused:
            census.paused += census.parked
        elif census.is_over:
            census.waiting_open += census.parked
        return census

    def _is_late(self, task: Task, ino: InodeNo) -> bool:
        """Whether it could go earlier: it has a delay, or others would be before it. A refusal has its time."""
        if task.due_ns in (None, HURRIED_NS, PAUSED_NS):
            return False
        is_due = task.due_ns <= self._tools.wall_ns()
        return (is_due and ino != ROOT_INO) or not (is_due or task.attempts)

    def _await_tree(self, task: Task, ino: InodeNo, awaited: set[InodeNo]) -> None:
        """A commit marker waits for its tree, which may be more than what is flushed."""
        if self._barriers.blocker_of(task.task) is None:
            return
        tree = self._barriers.tree_of(task)
        if tree is not None and not self._paths.is_inode_within(tree, ino):
            awaited.add(tree)

    def _add(self, census: _Census, task: Task) -> None:
        census.files += 1
        if task.kind == TaskKind.UPLOAD and task.ino is not None:
            census.bytes += self._unsent(task.ino)
        if task.stuck:
            census.stuck.append(self._reporter.stuck_entry(task))
        elif task.kind == TaskKind.DELETE and task.key and self._tools.contents.readers_of(task.store, task.key):
            census.waiting_open += 1
        elif task.due_ns is not None:
            if self._is_paused(task):
                census.paused += 1
            elif self._waits_for_somebody(task):
                census.waiting_open += 1
            else:
                census.waited_for += 1
        elif task.kind == TaskKind.DELETE:
            census.parked += 1

    def _is_paused(self, task: Task) -> bool:
        if task.due_ns == PAUSED_NS:
            return True
        return bool(self._tools.namespace.pauses) and task.task in self._held() and self._waits.is_paused(task)

    def _waits_for_somebody(self, task: Task) -> bool:
        """A commit marker, for a file that is open or stuck: there is no telling when that ends."""
        blocker = self._barriers.blocker_of(task.task)
        if blocker is None:
            return False
        return bool(blocker.stuck) or (blocker.kind == TaskKind.UPLOAD and blocker.due_ns is None)

    def _unsent(self, ino: InodeNo) -> int:
        tables = self._tools.namespace.tables
        try:
            size = tables.inodes.get(ino).size
        except Stale:
            return 0
        if size <= self._tools.settings.multipart_threshold:
            return size
        return max(0, size - tables.uploads.sent_bytes(ino))

    def _progress(
        self, ino: InodeNo, first: _Census, now: _Census, forecast: Forecast, elapsed_s: float
    ) -> FlushProgress:
        return FlushProgress(
            files_done=max(0, first.files - now.files),
            bytes_done=max(0, first.bytes - now.bytes),
            files_left=now.files,
            bytes_left=now.bytes,
            stuck=tuple(now.stuck),
            open_files=self._open_files(ino),
            waiting_open=now.waiting_open,
            paused=now.paused,
            bytes_per_s=forecast.bytes_per_s,
            files_per_s=forecast.files_per_s,
            eta_s=forecast.eta_s(),
            elapsed_s=elapsed_s,
        )

    def _open_files(self, ino: InodeNo) -> tuple[str, ...]:
        found = (each for each in self._open_for_writing() if self._paths.is_inode_within(each, ino))
        return tuple(sorted(self._paths.path_of_inode(each) for each in found))
