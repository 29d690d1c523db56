"""Policies of eviction as simulators: one `access` a request, sizes in bytes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol

from fusecache.cache.eviction import Eviction
from fusecache.types import InodeNo

Sizes = OrderedDict[int, int]


class Policy(Protocol):
    """A cache of so many bytes."""

    def access(self, key: int, size: int) -> bool:
        """Note a use; True if it was here. Else it is now, maybe, in place of others."""
        ...


class Lru:
    """What was used longest ago goes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._queue: Sizes = OrderedDict()

    def access(self, key: int, size: int) -> bool:
        if key in self._queue:
            self._queue.move_to_end(key)
            return True
        self._queue[key] = size
        self._bytes += size
        while self._bytes > self._limit:
            self._bytes -= self._queue.popitem(last=False)[1]
        return False


class Clock:
    """The hand goes round in the order of names, and passes over once what was used: what the cache had before."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._sizes: dict[int, int] = {}
        self._used: set[int] = set()
        self._round: list[int] = []

    def access(self, key: int, size: int) -> bool:
        if key in self._sizes:
            self._used.add(key)
            return True
        while self._sizes and self._bytes + size > self._limit:
            self._turn()
        self._sizes[key] = size
        self._bytes += size
        return False

    def _turn(self) -> None:
        if not self._round:
            self._round = sorted(self._sizes, reverse=True)
        key = self._round.pop()
        if key in self._used:
            self._used.discard(key)
        else:
            self._bytes -= self._sizes.pop(key, 0)


class Sieve:
    """SIEVE (Zhang et al., NSDI 2024): a queue in which the hand goes from the oldest to the newest."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._sizes: dict[int, int] = {}
        self._used: set[int] = set()
        self._line: list[int] = []
        """The queue, the oldest first, and what has gone since the hand began its round."""
        self._hand = 0

    def access(self, key: int, size: int) -> bool:
        if key in self._sizes:
            self._used.add(key)
            return True
        while self._sizes and self._bytes + size > self._limit:
            self._turn()
        self._sizes[key] = size
        self._line.append(key)
        self._bytes += size
        return False

    def _turn(self) -> None:
        if self._hand >= len(self._line):
            self._line = [key for key in self._line if key >= 0]
            self._hand = 0
        key = self._line[self._hand]
        if key in self._used:
            self._used.discard(key)
        elif key >= 0:
            self._bytes -= self._sizes.pop(key)
            self._line[self._hand] = -1
        self._hand += 1


class S3Fifo:
    """S3-FIFO (Yang et al., SOSP 2023): a small queue for what is new, a main one for what was used, and ghosts."""

    def __init__(self, limit: int, *, small: float = 0.1, least: int = 2, ghosts: float = 1.0) -> None:
        self._limit, self._small_limit, self._least = limit, int(limit * small), least
        self._ghost_limit = int(limit * ghosts)
        self._small: Sizes = OrderedDict()
        self._main: Sizes = OrderedDict()
        self._ghosts: Sizes = OrderedDict()
        self._bytes = {"small": 0, "main": 0, "ghosts": 0}
        self._uses: Counter[int] = Counter()

    def access(self, key: int, size: int) -> bool:
        if key in self._small or key in self._main:
            self._uses[key] = min(3, self._uses[key] + 1)
            return True
        is_known = key in self._ghosts
        if is_known:
            self._bytes["ghosts"] -= self._ghosts.pop(key)
        while self._bytes["small"] + self._bytes["main"] + size > self._limit and (self._small or self._main):
            self._evict()
        queue, name = (self._main, "main") if is_known else (self._small, "small")
        queue[key] = size
        self._bytes[name] += size
        return False

    def _evict(self) -> None:
        if self._small and (self._bytes["small"] > self._small_limit or not self._main):
            self._evict_small()
        else:
            self._evict_main()

    def _evict_small(self) -> None:
        key, size = self._small.popitem(last=False)
        self._bytes["small"] -= size
        if self._uses.pop(key, 0) >= self._least:
            self._main[key] = size
            self._bytes["main"] += size
            return
        self._ghosts[key] = size
        self._bytes["ghosts"] += size
        while self._bytes["ghosts"] > self._ghost_limit:
            self._bytes["ghosts"] -= self._ghosts.popitem(last=False)[1]

    def _evict_main(self) -> None:
        key, size = self._main.popitem(last=False)
        if self._uses[key]:
            self._uses[key] -= 1
            self._main[key] = size
        else:
            del self._uses[key]
            self._bytes["main"] -= size


class TinyLfu:
    """W-TinyLFU (Einziger et al., 2017): a window of a hundredth; who leaves it has to be used more than the victim."""

    def __init__(self, limit: int, *, window: float = 0.01, sample: int = 100_000) -> None:
        self._limits = {"window": int(limit * window), "main": limit - int(limit * window)}
        self._window: Sizes = OrderedDict()
        self._probation: Sizes = OrderedDict()
        self._protected: Sizes = OrderedDict()
        self._bytes = {"window": 0, "probation": 0, "protected": 0}
        self._seen: Counter[int] = Counter()
        self._count, self._sample = 0, sample

    def access(self, key: int, size: int) -> bool:
        self._seen[key] = min(15, self._seen[key] + 1)
        self._count += 1
        if self._count >= self._sample:
            self._count //= 2
            self._seen = Counter({each: n // 2 for each, n in self._seen.items() if n > 1})
        if key in self._window:
            self._window.move_to_end(key)
            return True
        if key in self._protected:
            self._protected.move_to_end(key)
            return True
        if key in self._probation:
            self._promote(key)
            return True
        self._window[key] = size
        self._bytes["window"] += size
        while self._bytes["window"] > self._limits["window"]:
            self._admit(*self._window.popitem(last=False))
        return False

    def _promote(self, key: int) -> None:
        size = self._probation.pop(key)
        self._bytes["probation"] -= size
        self._protected[key] = size
        self._bytes["protected"] += size
        while self._bytes["protected"] > self._limits["main"] * 0.8:
            other, other_size = self._protected.popitem(last=False)
            self._bytes["protected"] -= other_size
            self._probation[other] = other_size
            self._bytes["probation"] += other_size

    def _admit(self, key: int, size: int) -> None:
        self._bytes["window"] -= size
        while self._bytes["probation"] + self._bytes["protected"] + size > self._limits["main"]:
            queue, name = (self._probation, "probation") if self._probation else (self._protected, "protected")
            if not queue:
                return
            victim = next(iter(queue))
            if self._seen[victim] >= self._seen[key]:
                return
            self._bytes[name] -= queue.pop(victim)
        self._probation[key] = size
        self._bytes["probation"] += size


class Shelf:
    """The lines of `Ours`, in memory."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.places: tuple[dict[InodeNo, int], dict[InodeNo, int]] = ({}, {})
        self.bytes = [0, 0]
        self._place = 0

    def oldest(self, *, kept: bool, count: int, before: int) -> Sequence[tuple[InodeNo, int]]:
        first = islice(self.places[kept].items(), count)
        return [(ino, self.sizes[ino]) for ino, place in first if place < before]

    def next_place(self) -> int:
        return self._place

    def line_bytes(self, *, kept: bool) -> int:
        return self.bytes[kept]

    def move(self, numbers: Iterable[InodeNo], *, kept: bool) -> None:
        for ino in numbers:
            self.remove(ino)
            self.places[kept][ino] = self._place
            self._place += 1
            self.bytes[kept] += self.sizes[ino]

    def remove(self, ino: InodeNo) -> None:
        for kept, line in enumerate(self.places):
            if line.pop(ino, None) is not None:
                self.bytes[kept] -= self.sizes[ino]


class Ours:
    """What the product does."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shelf = Shelf()
        self._eviction = Eviction(self._shelf)

    def access(self, key: int, size: int) -> bool:
        ino = InodeNo(key)
        is_here = any(ino in line for line in self._shelf.places)
        self._eviction.opened(ino, is_here=is_here)
        if not is_here:
            self._shelf.sizes[ino] = size
            if sum(self._shelf.bytes) + size > 0.9375 * self._limit:
                self._make_room(sum(self._shelf.bytes) - int(0.9 * self._limit))
            self._shelf.move([ino], kept=self._eviction.arrived(ino))
        return is_here

    def _make_room(self, wanted: int) -> None:
        for _ in range(4):
            self._eviction.begin()
            while wanted > 0 and (victims := self._eviction.turn(200, wanted)) is not None:
                for ino in victims:
                    self._shelf.remove(ino)
                    self._eviction.gone(ino, self._shelf.sizes[ino])
                    wanted -= self._shelf.sizes[ino]
