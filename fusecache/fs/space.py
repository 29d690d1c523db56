"""Room for writers: whoever brings bytes asks here first, is slowed in time, and waits when there is none.

The kernel, which writes whole files by itself, does not ask: it is given files only while there is plenty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from fusecache.cache.contents import Contents
from fusecache.errors import NoSpace
from fusecache.fs.files import Files
from fusecache.fs.line import Line, Turn
from fusecache.fs.pressure import MAX_PAUSE_S, Levels, Limits, Pressure, delay_s, pressure_of
from fusecache.fs.unseen import Unseen
from fusecache.namespace.marked import path_of
from fusecache.namespace.namespace import Namespace
from fusecache.types import InodeNo

_LOOK_S = 0.1
"""How long a look counts where there is room: others may fill the disk, too."""
_MAX_CREDIT = 64 << 20
"""Bytes that are let through on one look."""
_TICK_S = 0.05
"""How soon a waiting writer notices room."""
_LEAST_PAUSE_S = 0.001
"""Shorter ones are added up: a timer takes as long."""
_GLANCE = 200
"""Files that the kernel writes by itself, looked at ten times a second: less than a millisecond."""
_NEW_FILE = 4096
"""What a file takes at least: a create or an open for writing is slowed as if it brought so much."""


@dataclass(slots=True)
class _Clock:
    """The moment at which what was let through so far has been paid for: shared, so writers share the drain."""

    paid_at: float = 0.0

    def pause_s(self, cost_s: float) -> float:
        """Take one more's cost on, and return how long that one waits."""
        now = trio.current_time()
        self.paid_at = min(max(self.paid_at, now) + cost_s, now + MAX_PAUSE_S)
        return self.paid_at - now


class Space:
    """Slows writers from the soft mark on, and lets them wait at the hard one. Belongs to the loop.

    Nobody waits here while holding anything; a cancelled caller leaves nothing.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        patience_s: float,
        disk: Callable[[], os.statvfs_result],
        levels: Callable[[int], Levels],
        drained: Callable[[], tuple[float, float]],
        paused: Callable[[], Sequence[str]],
        is_open: Callable[[InodeNo], bool],
        unseen: Unseen,
    ) -> None:
        """`levels` adds what is here to the free bytes of the `disk`; `drained` gives the bytes that the store has
        taken since the start, and a second; `paused` the paths that drain nothing; `is_open` whether somebody may go
        on with a file. All are cheap. `unseen`: what is written without asking."""
        self._limits = limits
        self._patience_s = patience_s
        self._disk = disk
        self._levels = levels
        self._drained = drained
        self._paused = paused
        self._credit = 0
        self._looked_until = 0.0
        self._is_ample = False
        """Whether the last look found room for who does not ask."""
        self._unseen = unseen
        self._clock = _Clock()
        self._slowed = 0
        self._line = Line(is_open=is_open)
        self._stalled_at: float | None = None
        """Since when somebody has waited, without room and without that the drain got on. Who comes later waits no
        longer: a copy of a thousand files would fail after a thousand times the patience."""
        self._drained_then = 0.0

    def __repr__(self) -> str:
        return f"<Space: {self._slowed} slowed, {len(self._line)} waiting>"

    def admits(self, count: int) -> bool:
        """Whether so many bytes may be written at once; else the caller waits for `room`. Microseconds."""
        self._credit -= count
        if self._credit >= 0 and trio.current_time() < self._looked_until:
            return True
        pressure = self.look()
        if pressure.strain > 0:
            return False
        self._credit = min(pressure.to_soft, _MAX_CREDIT)
        self._is_ample = pressure.to_soft > self._unseen.ahead
        self._looked_until = trio.current_time() + _LOOK_S
        return True

    def admits_unseen(self) -> bool:
        """Whether one more file may be written by somebody who will not ask. Microseconds."""
        return self.admits(0) and self._is_ample

    async def room(self, count: int, ino: InodeNo) -> None:
        """Return when so many bytes of a file may be written: at once, slowed, or after a wait for room.

        Raises:
            NoSpace: there is none, and for the patience neither did the drain get on, nor anybody who waited.
        """
        if self.admits(count):
            return
        if ino not in self._line and self.look().strain < 1.0:
            await self._pause(count)
        turn = self._line.join(ino, count)
        try:
            while not self._has_come(turn):
                if self._is_hopeless():
                    raise NoSpace(f"no room for {count} bytes: {_told(self.look(), self._paused())}")
                with trio.move_on_after(_TICK_S):
                    await turn.come.wait()
        finally:
            self._line.leave(turn)

    async def pace(self) -> None:
        """Slow down whoever will bring bytes soon. Never for long: the kernel holds a directory meanwhile."""
        if not self.admits(_NEW_FILE):
            await self._pause(_NEW_FILE)

    def look(self) -> Pressure:
        """Return how full it is now."""
        self._unseen.look()
        disk = self._disk()
        pressure = pressure_of(self._levels(disk.f_bavail * disk.f_frsize), self._limits)
        drained, _ = self._drained()
        if pressure.strain < 1.0 or drained != self._drained_then:
            self._stalled_at, self._drained_then = None, drained
        return pressure

    def to_release(self) -> int:
        """Return how many bytes of clean files should go."""
        pressure = self.look()
        return max(pressure.to_release, self._unseen.to_release(pressure))

    def statvfs(self) -> os.statvfs_result:
        """The disk, as far as it may be written: what is clean counts as free, what has to stay free does not."""
        disk, writable = self._disk(), self.look().writable
        available = min(writable // disk.f_frsize, disk.f_blocks)
        fields = list(disk)
        fields[3], fields[4] = max(available, disk.f_bfree), available
        return os.statvfs_result(fields)

    def report(self) -> dict[str, Any]:
        """Return what `stat --json` says of it: `state` is free, slowed, waiting, or full: refused; `by` says why."""
        pressure = self.look()
        return {
            "state": self._state(pressure),
            "by": _cause(pressure),
            "writers_slowed": self._slowed,
            "writers_waiting": len(self._line),
            "room": pressure.writable,
            "free": pressure.levels.free,
            "soft_free": pressure.disk.soft,
            "hard_free": pressure.disk.hard,
            "dirty": pressure.levels.dirty,
            "dirty_limit": self._limits.dirty_limit,
            "local": pressure.levels.local,
        }

    def _state(self, pressure: Pressure) -> str:
        if pressure.strain >= 1.0:
            return "full" if self._is_hopeless() else "waiting"
        return "slowed" if pressure.strain > 0 else "free"

    async def _pause(self, count: int) -> None:
        strain, (_, drain_per_s), now = self.look().strain, self._drained(), trio.current_time()
        until = now + self._clock.pause_s(delay_s(count, strain=strain, drain_per_s=drain_per_s))
        if until - now < _LEAST_PAUSE_S:
            return
        self._slowed += 1
        try:
            # No event tells of room: others share the disk.
            while (left_s := until - trio.current_time()) > 0 and self.look().strain > 0:  # noqa: ASYNC110 - room comes without an event
                await trio.sleep(min(left_s, _TICK_S))
        finally:
            self._slowed -= 1

    def _has_come(self, turn: Turn) -> bool:
        pressure = self.look()
        self._line.admit(room=pressure.to_hard, spare=pressure.spare)
        if turn.come.is_set():
            self._stalled_at = None
            return True
        if pressure.strain >= 1.0 and self._stalled_at is None:
            self._stalled_at = trio.current_time()
        return False

    def _is_hopeless(self) -> bool:
        return self._stalled_at is not None and trio.current_time() - self._stalled_at >= self._patience_s


def space_of(
    namespace: Namespace,
    contents: Contents,
    files: Files,
    limits: Limits,
    *,
    patience_s: float,
    disk: Callable[[], os.statvfs_result],
    drained: Callable[[], tuple[float, float]],
) -> Space:
    """Return the space of one mount: what is dirty are its rows, and what its open files have grown by since."""
    backlog = namespace.tables.backlog

    def levels(free: int) -> Levels:
        dirty = max(0, backlog.dirty().bytes + files.unsaved_bytes)
        return Levels(free, used=contents.used_bytes(), dirty=dirty, local=backlog.local().bytes)

    def paused() -> list[str]:
        return list(map(path_of, namespace.pauses.keys()))

    def written() -> int:
        files.look_at_writers(_GLANCE)
        return files.bytes_written

    return Space(
        limits,
        patience_s=patience_s,
        disk=disk,
        levels=levels,
        drained=drained,
        paused=paused,
        is_open=files.is_open,
        unseen=Unseen(written, is_on=lambda: contents.sharing.is_on),
    )


def _cause(pressure: Pressure) -> str | None:
    if not pressure.strain:
        return None
    if pressure.by_dirty == pressure.strain:
        return "dirty_limit"
    return "cache_size" if pressure.by_cache == pressure.strain else "disk"


def _told(pressure: Pressure, paused: Sequence[str]) -> str:
    levels = pressure.levels
    where = f"{levels.free} bytes of the cache disk are free"
    if pressure.by_cache:
        where = f"{levels.used} bytes of {pressure.limits.cache_size} that the cache may take are taken"
    pause = f"; {', '.join(paused)} paused: nothing of it drains until `fusecache resume`" if paused else ""
    return f"{where}, {levels.dirty} are not in the store yet, {levels.local} stay here{pause}"
