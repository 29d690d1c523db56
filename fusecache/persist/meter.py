"""Rates over the last few seconds."""

from __future__ import annotations

import trio

_WINDOW_S = 10
"""Long enough to smooth over large parts, short enough to show a change."""
_QUIET_S = 5


class Meter:
    """Counts events in buckets of a second: constant memory and time."""

    def __init__(self) -> None:
        self._buckets: dict[int, float] = {}
        self._started_s: float | None = None
        self.total = 0.0
        """Of all time."""

    def add(self, amount: float = 1.0) -> None:
        now_s = int(trio.current_time())
        if self._started_s is None:
            self._started_s = trio.current_time()
        self.total += amount
        self._buckets[now_s] = self._buckets.get(now_s, 0.0) + amount
        if len(self._buckets) > _WINDOW_S + 1:
            self._buckets = {s: value for s, value in self._buckets.items() if s >= now_s - _WINDOW_S}

    def is_quiet(self) -> bool:
        """Whether nothing has happened for so long that the mean says nothing of what will."""
        now_s = trio.current_time()
        return not any(second > now_s - _QUIET_S for second in self._buckets)

    def per_s(self) -> float:
        """Return the mean over the window, or over the time since the first event if that is shorter."""
        if self._started_s is None:
            return 0.0
        now_s = trio.current_time()
        total = sum(value for second, value in self._buckets.items() if second > now_s - _WINDOW_S)
        return total / min(_WINDOW_S, max(1.0, now_s - self._started_s))
