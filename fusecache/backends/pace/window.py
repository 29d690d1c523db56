"""How many requests a store takes at a time: more while it answers, half after one that it left unanswered."""

from __future__ import annotations

_FIRST = 4.0
_MAX = 256.0


class Window:
    """AIMD on concurrency: pure. A refusal says nothing of it: that is the business of the rate."""

    def __init__(self) -> None:
        self._size = _FIRST
        self._is_known = False
        self._shrunk_s = float("-inf")

    @property
    def size(self) -> int:
        return int(self._size)

    def answered(self, in_use: int) -> None:
        """Some answer came while `in_use` were under way: one more for each round, or two before the first trouble."""
        if in_use >= self.size:
            self._size = min(_MAX, self._size + (1.0 / self._size if self._is_known else 1.0))

    def failed(self, now_s: float, *, asked_s: float) -> None:
        """No answer, or a 5xx that is no refusal: once for all that were under way then."""
        if asked_s <= self._shrunk_s:
            return
        self._shrunk_s = now_s
        self._is_known = True
        self._size = max(1.0, self._size / 2)
