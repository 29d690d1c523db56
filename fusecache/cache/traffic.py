"""What readers got from where, since the start. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusecache.cache.eviction import Opens


@dataclass(slots=True)
class Traffic:
    """Reads of applications; a file that the kernel reads by itself counts as one, of all its bytes."""

    reads: int = 0
    hits: int = 0
    """Reads for which nothing had to be fetched."""
    read_bytes: int = 0
    hit_bytes: int = 0
    evictions: int = 0
    """How often a file, or a piece of one, was given up to make room."""
    evicted_bytes: int = 0

    def read(self, count: int, *, is_hit: bool) -> None:
        self.reads += 1
        self.read_bytes += count
        if is_hit:
            self.hits += 1
            self.hit_bytes += count

    def evicted(self, count: int) -> None:
        self.evictions += count > 0
        self.evicted_bytes += count

    def as_dict(self, opens: Opens, *, fetched_bytes: int) -> dict[str, Any]:
        """Return what `stat --json` says of it; ratios are None while nothing was read, or opened."""
        return {
            "hit_ratio": _ratio(self.hits, self.reads),
            "hit_ratio_bytes": _ratio(self.hit_bytes, self.read_bytes),
            "hit_ratio_opens": _ratio(opens.hits, opens.count),
            "hit_ratio_double": _ratio(opens.hits + opens.ghosts, opens.count),
            "bytes_from_cache": self.hit_bytes,
            "bytes_from_store": fetched_bytes,
            "evictions": self.evictions,
            "evicted_bytes": self.evicted_bytes,
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
