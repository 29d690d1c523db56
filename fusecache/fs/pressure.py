"""How much writers are slowed before the cache disk is full: pure, as the kernel's balance_dirty_pages.

Below the soft mark nobody waits. From there to the hard mark each byte written takes longer, so that all writers
together are as fast as the drain halfway; at the hard mark they wait.
"""

from __future__ import annotations

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
class Pressure:
    """What the levels mean: from 0.0, where nobody waits, to 1.0, the hard mark."""

    levels: Levels
    soft_free: int
    dirty_limit: int | None
    by_disk: float
    by_dirty: float
    to_soft: int
    """Bytes that may be written before the soft mark is reached."""

    @property
    def strain(self) -> float:
        return max(self.by_disk, self.by_dirty)

    @property
    def hard_free(self) -> int:
        return self.soft_free // 2

    @property
    def to_hard(self) -> int:
        """Bytes that may be written before writers wait; below zero, so many too much are."""
        room = self.levels.free - self.hard_free
        return room if self.dirty_limit is None else min(room, self.dirty_limit - self.levels.dirty)

    @property
    def spare(self) -> int:
        """Bytes beyond the hard mark in which one file after the other may be brought to its end."""
        spare = self.hard_free // 2
        return spare if self.dirty_limit is None else min(spare, int(self.dirty_limit * _SPARE_RATIO))

    @property
    def to_release(self) -> int:
        """Bytes of clean files to give up."""
        return max(0, int(self.soft_free * _RELEASE_ABOVE) - self.levels.free)

    @property
    def writable(self) -> int:
        """Bytes that may be written before writers wait, clean files given up."""
        clean = max(0, self.levels.used - self.levels.dirty - self.levels.local)
        room = self.levels.free + clean - self.hard_free
        if self.dirty_limit is not None:
            room = min(room, self.dirty_limit - self.levels.dirty)
        return max(0, room)


def pressure_of(levels: Levels, limits: Limits) -> Pressure:
    """Return how close `levels` are to the marks that `limits` make."""
    soft_free = _soft_free(levels.free + levels.used, limits.free_space_ratio)
    by_disk = _strain(soft_free - levels.free, soft_free - soft_free // 2)
    to_soft, by_dirty = levels.free - soft_free, 0.0
    if limits.dirty_limit is not None:
        soft = int(limits.dirty_limit * limits.dirty_soft_ratio)
        by_dirty = _strain(levels.dirty - soft, limits.dirty_limit - soft)
        to_soft = min(to_soft, soft - levels.dirty)
    return Pressure(levels, soft_free, limits.dirty_limit, by_disk, by_dirty, max(0, to_soft))


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
