"""A wall clock that never goes back: what is due stays due."""

from __future__ import annotations

from collections.abc import Callable


class Steady:
    """Wall time in ns, as the latest it ever was plus what has passed since.

    Due times are wall times, so that they mean something after a restart. A clock that is set back would make all
    that was due wait for as long as it was set back.
    """

    def __init__(self, *, wall_ns: Callable[[], int], monotonic_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ns = wall_ns()
        self._seen_at_ns = monotonic_ns()

    def __call__(self) -> int:
        now_ns = self._monotonic_ns()
        self._last_ns = max(self._wall_ns(), self._last_ns + now_ns - self._seen_at_ns)
        self._seen_at_ns = now_ns
        return self._last_ns
