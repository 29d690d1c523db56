"""The barrier: wait until what was acknowledged before a moment is in the store."""

from __future__ import annotations

from collections.abc import Callable, Collection

import trio

from fusecache.namespace.durability import Durability
from fusecache.persist.census import Barrier, Census, Left
from fusecache.persist.forecast import Forecast
from fusecache.persist.paths import Paths
from fusecache.persist.report import Reporter
from fusecache.persist.tools import Tools
from fusecache.types import FlushProgress, InodeNo

_TICK_S = 0.25
_PASS_SHARE = 10
"""A pass over a large backlog may take a tenth of the time at most."""
_GRACE_S = 1.0
"""How long a file may be open after somebody asked: close(2) returns before the kernel has told us, and a reader that
has ended may still be on its way."""
_OPEN_TICK_S = 0.05


class Flusher:
    """Counts, again and again, the tasks that a barrier covers."""

    def __init__(
        self,
        tools: Tools,
        durability: Durability,
        reporter: Reporter,
        census: Census,
        *,
        open_for_writing: Callable[[], Collection[InodeNo]],
        ring: Callable[[], None],
    ) -> None:
        self._tools = tools
        self._durability = durability
        self._reporter = reporter
        self._census = census
        self._open_for_writing = open_for_writing
        self._ring = ring
        self._paths = Paths(tools.namespace.tables)

    async def flush(
        self, ino: InodeNo, *, progress: Callable[[FlushProgress], None] | None, is_asked: bool
    ) -> FlushProgress:
        """See `Persister.flush`. A cancellation leaves the tasks due.

        `is_asked`, by a person: what is stuck is tried again first, once, and what is open has a moment to be closed.
        """
        barrier, started_s = Barrier(ino, self._tools.namespace.database.seq), trio.current_time()
        if is_asked:
            barrier.refused = await self._census.refused()
        await self._durability.reached(barrier.seq)
        forecast = Forecast()
        while True:
            pass_started_s, open_files = trio.current_time(), self._open_files(ino)
            left = await self._census.count(barrier)
            now_s = trio.current_time()
            forecast.saw(pass_started_s, left.going_files, left.going_bytes)
            told = self._progress(barrier, left, open_files, forecast, now_s - started_s)
            if progress is not None:
                progress(told)
            if left.is_over and not (is_asked and _is_for_open(told) and told.elapsed_s < _GRACE_S):
                return told
            self._ring()
            tick_s = _OPEN_TICK_S if left.is_over else _TICK_S
            await trio.sleep(max(tick_s, _PASS_SHARE * (now_s - pass_started_s)))

    def _progress(
        self, barrier: Barrier, left: Left, open_files: tuple[str, ...], forecast: Forecast, elapsed_s: float
    ) -> FlushProgress:
        first_files, first_bytes = barrier.first or (0, 0)
        return FlushProgress(
            files_done=max(0, first_files - left.files),
            bytes_done=max(0, first_bytes - left.bytes),
            files_left=left.files,
            bytes_left=left.bytes,
            stuck=tuple(left.stuck.values()),
            open_files=open_files,
            waiting_open=left.waiting_open,
            files_waiting=left.files_waiting,
            held_open=tuple(sorted(left.held_open)),
            paused=left.paused,
            bytes_per_s=forecast.bytes_per_s,
            files_per_s=forecast.files_per_s,
            eta_s=forecast.eta_s(),
            limited_by=self._reporter.limited_by() if left.moving and forecast.is_still else None,
            elapsed_s=elapsed_s,
        )

    def _open_files(self, ino: InodeNo) -> tuple[str, ...]:
        found = (each for each in self._open_for_writing() if self._paths.is_inode_within(each, ino))
        return tuple(sorted(self._paths.path_of_inode(each) for each in found))


def _is_for_open(told: FlushProgress) -> bool:
    return bool(told.open_files or told.waiting_open)
