"""What the kernel writes by itself, into files that it was given: it asks nobody for room, so some is kept ahead."""

from __future__ import annotations

from collections.abc import Callable

import trio

from fusecache.fs.pressure import Pressure

_LOOK_S = 0.1
_LEAST_AHEAD = 2 << 30
_AHEAD_S = 2.0
"""Of the rate at which files grow: what they bring until room is made, and until those who come next are asked."""
_FADING = 0.9
"""Of the rate, from one look to the next: 2 s after a burst an eighth of it is left."""
_CLEAN_SHARE = 4
"""On a small disk clean files are worth more: at most a fourth of the room is kept ahead of them."""


class Unseen:
    """Looks at it now and then, and tells how much room it needs. Belongs to the loop."""

    def __init__(self, written: Callable[[], int], *, is_on: Callable[[], bool]) -> None:
        """`written` takes in what such files have become, and returns the bytes that all files have got since the
        start; `is_on`: the kernel may have been given some."""
        self._written = written
        self._is_on = is_on
        self._count = 0
        self._looked_at: float | None = None
        self._rate_per_s = 0.0

    def look(self) -> None:
        """Look, if it is time to: ten times a second are enough."""
        now = trio.current_time()
        if not self._is_on() or (self._looked_at is not None and now - self._looked_at < _LOOK_S):
            return
        count = self._written()
        if self._looked_at is not None:
            now_per_s = (count - self._count) / (now - self._looked_at)
            self._rate_per_s = max(now_per_s, self._rate_per_s * _FADING)
        self._count, self._looked_at = count, now

    @property
    def ahead(self) -> int:
        """Bytes beyond the soft mark with which it may go on."""
        return max(_LEAST_AHEAD, int(_AHEAD_S * self._rate_per_s))

    def to_release(self, pressure: Pressure) -> int:
        """Bytes of clean files to give up for it."""
        if not self._is_on():
            return 0
        marks = [(pressure.disk, pressure.levels.free + pressure.levels.used)]
        if pressure.cache is not None and pressure.limits.bounds_writers:
            marks.append((pressure.cache, pressure.limits.cache_size or 0))
        if any(self.ahead > room // _CLEAN_SHARE for _, room in marks):
            return 0
        return max(0, *(mark.soft + self.ahead - mark.free for mark, _ in marks))
