"""What to fetch before it is asked for: the reads of one handle in, an extent out. Pure."""

from __future__ import annotations

from fusecache.types import Extent

SMALL_FILE_BYTES = 8 << 20
"""Up to this size a file is fetched whole, in one request: a second one would cost more than the bytes."""

MIN_WINDOW_BYTES = 1 << 20
MAX_WINDOW_BYTES = 16 << 20
"""Two large requests: enough to hide the store's latency, little enough to waste on a changed mind."""

SLACK_BYTES = 1 << 20
"""The kernel's own readahead sends several requests at once, and they arrive in any order."""


def demand(extent: Extent, size: int) -> Extent:
    """Return what a read of `extent` of a file of `size` bytes should wait for."""
    return Extent(0, size) if size <= SMALL_FILE_BYTES else extent


class Readahead:
    """The reads of one handle. The window doubles while they are sequential and collapses on a seek."""

    __slots__ = ("_ahead", "_expected", "_window")

    def __init__(self) -> None:
        self._expected: int | None = None
        """Where a sequential reader goes on; None before the first read, which tells nothing yet."""
        self._ahead = 0
        """What lies before it was asked for already."""
        self._window = 0

    def __repr__(self) -> str:
        return f"<Readahead at {self._expected}, window {self._window}>"

    def on_read(self, extent: Extent, size: int) -> Extent | None:
        """Note a read of a file of `size` bytes; return what to prefetch now, or None.

        A new window is opened when half of the last one has been read, so that the fetch is ahead.
        """
        if self._expected is None or abs(extent.offset - self._expected) > SLACK_BYTES:
            self._seek(extent)
            return None
        self._expected = max(self._expected, extent.end)
        start = max(self._expected, self._ahead)
        if start >= size or start - self._expected > self._window // 2:
            return None
        self._window = min(MAX_WINDOW_BYTES, max(MIN_WINDOW_BYTES, 2 * self._window))
        self._ahead = min(size, start + self._window)
        return Extent(start, self._ahead - start)

    def _seek(self, extent: Extent) -> None:
        self._expected = self._ahead = extent.end
        self._window = 0
