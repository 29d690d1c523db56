"""How fast something gets less, and when nothing will be left."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_WINDOW_S = 10.0
"""Long enough to smooth over large files, short enough to show a change."""
_STILL_S = 5.0
_MAX_ETA_S = 30 * 86400.0
"""What would take longer is a rate that says nothing: a few bytes went, and now there is a large file."""


class _Seen(NamedTuple):
    at_s: float
    files: int
    bytes: int


def eta_s(files: int, size_bytes: int, *, files_per_s: float, bytes_per_s: float) -> float | None:
    """Return the seconds until nothing is left: many small files take as long as their number, large ones as
    their bytes. None: nothing is known, or nothing moves."""
    if not files:
        return 0.0
    known = [left / per_s for left, per_s in ((files, files_per_s), (size_bytes, bytes_per_s)) if left and per_s > 0]
    longest = max(known, default=None)
    return longest if longest is not None and longest <= _MAX_ETA_S else None


class Forecast:
    """Rates over the last seconds, from what was left at moments."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque()

    def saw(self, now_s: float, files: int, size_bytes: int) -> None:
        """So much is left at `now_s`."""
        self._seen.append(_Seen(now_s, files, size_bytes))
        while len(self._seen) > 2 and self._seen[1].at_s <= now_s - _WINDOW_S:
            self._seen.popleft()

    @property
    def is_still(self) -> bool:
        """Whether for some seconds nothing has got less: then no rate says what will be."""
        if not self._seen:
            return False
        now = self._seen[-1]
        before = next((each for each in reversed(self._seen) if each.at_s <= now.at_s - _STILL_S), None)
        return before is not None and before.files <= now.files and before.bytes <= now.bytes

    @property
    def files_per_s(self) -> float:
        return self._per_s(self._seen[0].files - self._seen[-1].files) if self._seen else 0.0

    @property
    def bytes_per_s(self) -> float:
        return self._per_s(self._seen[0].bytes - self._seen[-1].bytes) if self._seen else 0.0

    def eta_s(self) -> float | None:
        """Return when nothing is left, at these rates; None: there is no telling yet."""
        if not self._seen or self.is_still:
            return None
        now = self._seen[-1]
        return eta_s(now.files, now.bytes, files_per_s=self.files_per_s, bytes_per_s=self.bytes_per_s)

    def _per_s(self, less: int) -> float:
        passed_s = self._seen[-1].at_s - self._seen[0].at_s
        return max(0.0, less / passed_s) if passed_s > 0 else 0.0
