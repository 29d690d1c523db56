"""How much writers are slowed before the cache disk is full: pure, as the kernel's balance_dirty_pages.

Below the soft mark nobody waits. From there to the hard mark each byte written takes longer, so that all writers
together are as fast as the drain halfway; at the hard mark they wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_PAUSE_S = 1.0
"""For one call between the marks: an application that writes sees a slow disk, not a dead one."""
_LEAST_DRAIN = 1 << 20
"""Bytes a second that a store is credited with, whatever it takes: a dead one makes writers slow, not stop."""
_FREE_RATIO = 0.1
_MOST_FREE = 32 << 30
"""Of a large disk a tenth would be more than anybody is surprised by."""
_SPARE_RATIO = 1 / 16
"""Of the limit of dirty bytes."""
_RELEASE_ABOVE = 1.25
"""Clean files are given up before any writer is slowed: from so many times the soft mark on."""
_CACHE_RATIO = 0.05
"""Of the cache's size: less than the disk keeps free, as nobody else takes of it."""
_LOW_WATER = 2
"""Times the soft mark: what is given up at a time is a few hundredths of the cache, each wait for a sync included."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration says of space."""

    dirty_limit: int | None = None
    """Bytes that the store lacks at which writers wait; None: as many as the disk holds."""
    dirty_soft_ratio: float = 0.8
    """Share of it from which on they are slowed."""
    free_space_ratio: float | None = None
    """Share of the disk, less what others have on it, that stays free of clean files, and below which writers are
    slowed; at half of it they wait. None: a tenth, at most 32 GiB."""
    cache_size: int | None = None
    """Bytes of the disk that contents may take, or clean ones alone if it does not bound writers."""
    bounds_writers: bool = False
    """Whether that holds for what the store lacks, too; else that may take what the disk has."""


@dataclass(frozen=True, slots=True)
class Levels:
    """How full it is."""

    free: int
    """Bytes of the disk that may be written."""
    used: int
    """Bytes of the disk that contents take."""
    dirty: int
    """Bytes that the store lacks and is to have."""
    local: int
    """Bytes that stay here: a drain makes no room for them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How much is free of something, and how little of that slows writers; at half of it they wait."""

    free: int
    soft: int

    @property
    def hard(self) -> int:
        return self.soft // 2

    @property
    def strain(self) -> float:
        return _strain(self.soft - self.free, self.soft - self.hard)

    @property
    def release(self) -> int:
        """From how much free on clean files go, before any writer is slowed."""
        return int(self.soft * _RELEASE_ABOVE)

    @property
    def to_release(self) -> int:
        """Bytes of clean files to give up."""
        return max(0, self.release - self.free)


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the levels mean: from 0.0, where nobody waits, to 1.0, the hard mark."""

    levels: Levels
    limits: Limits
    disk: Mark
    cache: Mark | None
    """What the cache may take; None: as much as the disk holds."""

    @property
    def room(self) -> int:
        """What may still be fetched before clean files go for it."""
        return max(0, min(mark.free - mark.release for mark in self._marks))

    @property
    def capacity(self) -> int:
        """What there is for contents, dirty or clean, before clean files go."""
        return max(0, min(mark.free - mark.release for mark in self._marks) + self.levels.used)

    @property
    def _marks(self) -> tuple[Mark, ...]:
        return (self.disk,) if self.cache is None else (self.disk, self.cache)

    @property
    def strain(self) -> float:
        return max(self.by_disk, self.by_cache, self.by_dirty)

    @property
    def by_disk(self) -> float:
        return self.disk.strain

    @property
    def by_cache(self) -> float:
        return max((mark.strain for mark in self._bounds[1:]), default=0.0)

    @property
    def by_dirty(self) -> float:
        if (limit := self.limits.dirty_limit) is None:
            return 0.0
        soft = int(limit * self.limits.dirty_soft_ratio)
        return _strain(self.levels.dirty - soft, limit - soft)

    @property
    def to_soft(self) -> int:
        """Bytes that may be written before the soft mark is reached."""
        return max(0, self._to(lambda mark: mark.free - mark.soft, self.limits.dirty_soft_ratio))

    @property
    def to_hard(self) -> int:
        """Bytes that may be written before writers wait; below zero, so many too much are."""
        return self._to(lambda mark: mark.free - mark.hard, 1.0)

    @property
    def spare(self) -> int:
        """Bytes beyond the hard mark in which one file after the other may be brought to its end."""
        spare = min(mark.hard // 2 for mark in self._bounds)
        return spare if self.limits.dirty_limit is None else min(spare, int(self.limits.dirty_limit * _SPARE_RATIO))

    @property
    def to_release(self) -> int:
        """Bytes of clean files to give up."""
        over = 0
        if self.cache is not None and self.cache.to_release:  # beyond high water: down to low water
            over = _LOW_WATER * self.cache.soft - self.cache.free
        return max(self.disk.to_release, over)

    @property
    def writable(self) -> int:
        """Bytes that may be written before writers wait, clean files given up."""
        clean = max(0, self.levels.used - self.levels.dirty - self.levels.local)
        return max(0, self._to(lambda mark: mark.free + clean - mark.hard, 1.0))

    @property
    def _bounds(self) -> list[Mark]:
        """Of what writers have to keep to: the disk first."""
        return [self.disk, self.cache] if self.cache is not None and self.limits.bounds_writers else [self.disk]

    def _to(self, left: Callable[[Mark], int], share: float) -> int:
        """The least of what is left by each mark, and of that share of the limit of dirty bytes."""
        room = min(map(left, self._bounds))
        limit = self.limits.dirty_limit
        return room if limit is None else min(room, int(limit * share) - self.levels.dirty)


def pressure_of(levels: Levels, limits: Limits) -> Pressure:
    """Return how close `levels` are to the marks that `limits` make."""
    disk = Mark(levels.free, _soft_free(levels.free + levels.used, limits.free_space_ratio))
    if limits.cache_size is None:
        return Pressure(levels, limits, disk, None)
    # Else what was just fetched for a writer would go at once while more is dirty than that: nobody would get on.
    beside = 0 if limits.bounds_writers else levels.dirty + levels.local
    free = limits.cache_size - max(0, levels.used - beside)
    return Pressure(levels, limits, disk, Mark(free, int(limits.cache_size * _CACHE_RATIO)))


def delay_s(count: int, *, strain: float, drain_per_s: float) -> float:
    """Return what `count` bytes take between the marks, if the drain sends so many bytes a second.

    Nothing at the soft mark, as long as the drain needs halfway, and ever longer towards the hard mark.
    """
    if strain >= 1.0:
        return MAX_PAUSE_S
    return count * strain / (1.0 - strain) / max(drain_per_s, _LEAST_DRAIN)


def _soft_free(room: int, ratio: float | None) -> int:
    return min(int(room * _FREE_RATIO), _MOST_FREE) if ratio is None else int(room * ratio)


def _strain(beyond: int, width: int) -> float:
    if beyond < 0 or (beyond == 0 and width > 0):
        return 0.0
    return min(1.0, beyond / width) if width > 0 else 1.0
