"""Deletes that others will join: a request takes a thousand, so a few of them wait a while. Pure."""

from __future__ import annotations

from fusecache.persist.settings import MAX_BATCH

_LONGEST_NS = 30_000_000_000
"""A thousand in that time are 33 renames a second. Slower than that, the requests for deletes are few, too."""


class Gathering:
    """Decides it: of many files that are renamed, each leaves a key behind when it has been copied."""

    def __init__(self) -> None:
        self._since_ns: int | None = None

    def holds(self, count: int, *, more: bool, now_ns: int) -> bool:
        """Whether `count` deletes that are due are held back; `more`: others are on their way, and nobody waits."""
        if not more or not count or count >= MAX_BATCH:
            self._since_ns = None
            return False
        if self._since_ns is None or now_ns < self._since_ns:
            self._since_ns = now_ns
        if now_ns - self._since_ns < _LONGEST_NS:
            return True
        self._since_ns = None
        return False
