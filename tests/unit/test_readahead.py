from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from fusecache.cache.readahead import (
    MAX_WINDOW_BYTES,
    MIN_WINDOW_BYTES,
    Plan,
    Readahead,
)
from fusecache.types import Extent

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4 * KIB


class Fetched:
    """What was fetched for the reads of a handle, in pages: each once, as blocks of a MiB or exactly."""

    def __init__(self, size: int = GIB) -> None:
        self.readahead = Readahead()
        self.size = size
        self.pages: set[int] = set()
        self.read_pages: set[int] = set()
        self.waits = 0
        """Reads of what was not on its way yet."""

    def read(self, offset: int, length: int) -> Plan:
        extent = Extent(offset, length)
        plan = self.readahead.on_read(extent, self.size)
        wanted = self._pages(extent, exact=True)
        self.waits += not wanted <= self.pages
        if not wanted <= self.pages:
            self.pages |= self._pages(extent, exact=plan.exact)
        for ahead in plan.ahead:
            assert 0 <= ahead.offset < ahead.end <= self.size
            self.pages |= self._pages(ahead, exact=plan.exact)
        self.read_pages |= wanted
        return plan

    @property
    def ratio(self) -> float:
        return len(self.pages) / len(self.read_pages)

    def _pages(self, extent: Extent, *, exact: bool) -> set[int]:
        unit = PAGE if exact else MIB
        start, stop = extent.offset // unit * unit, -(-extent.end // unit) * unit
        return set(range(start // PAGE, min(stop, self.size) // PAGE))


@pytest.mark.parametrize("start", [0, 300 * MIB])
def test_who_reads_on_waits_only_at_the_beginning(start: int) -> None:
    fetched = Fetched()
    windows = [
        plan.ahead[0].length
        for offset in range(start, start + 400 * MIB, 128 * KIB)
        if (plan := fetched.read(offset, 128 * KIB)).ahead
    ]
    assert fetched.waits <= 3
    assert max(windows) <= MAX_WINDOW_BYTES
    assert len(windows) < 40
    assert fetched.ratio < 1.2


def test_a_window_doubles_up_to_its_bound() -> None:
    readahead = Readahead()
    ends = []
    for offset in range(0, 300 * MIB, MIB):
        plan = readahead.on_read(Extent(offset, MIB), GIB)
        ends += [ahead.end - offset - MIB for ahead in plan.ahead]
    assert ends[:7] == [n * MIB for n in (1, 2, 4, 8, 16, 32, 64)]
    assert set(ends[7:]) == {MAX_WINDOW_BYTES}


def test_no_byte_is_asked_for_twice() -> None:
    readahead, upto = Readahead(), 0
    for offset in range(0, 200 * MIB, 128 * KIB):
        for ahead in readahead.on_read(Extent(offset, 128 * KIB), GIB).ahead:
            assert ahead.offset >= upto
            upto = ahead.end


def test_requests_out_of_order_are_still_one_reader() -> None:
    fetched = Fetched()
    for n in range(16):
        fetched.read(n * 128 * KIB, 128 * KIB)
    fetched.waits = 0
    for n in range(16, 1600):
        fetched.read((n ^ 1) * 128 * KIB, 128 * KIB)
    assert fetched.waits == 0


def test_who_reads_downwards_is_preceded_too() -> None:
    fetched = Fetched()
    for offset in range(500 * MIB, 300 * MIB, -256 * KIB):
        fetched.read(offset, 256 * KIB)
    assert fetched.waits <= 4
    assert fetched.ratio < 1.4


@pytest.mark.parametrize("stride", [3 * MIB, 200 * KIB, -5 * MIB])
def test_reads_at_equal_distances_are_foreseen_and_nothing_between_them(stride: int) -> None:
    fetched = Fetched()
    for n in range(100):
        fetched.read(600 * MIB + n * stride, 64 * KIB)
    assert fetched.waits <= 3
    assert fetched.ratio <= 1.1


def test_several_readers_of_one_handle_do_not_disturb_each_other() -> None:
    fetched = Fetched()
    for step in range(400):
        for start in range(0, 1000 * MIB, 200 * MIB):
            fetched.read(start + step * 128 * KIB, 128 * KIB)
    assert fetched.waits <= 5 * 3
    assert fetched.ratio < 2.1  # windows of what each has read


@pytest.mark.parametrize("length", [4 * KIB, 64 * KIB, MIB])
def test_random_reads_fetch_nothing_else(length: int) -> None:
    fetched, rng = Fetched(), random.Random(5)
    for _ in range(300):
        fetched.read(rng.randrange(1, GIB // PAGE - length // PAGE) * PAGE, length)
    assert fetched.ratio <= 1.1


def test_runs_of_small_reads_at_random_places_fetch_little_else() -> None:
    fetched, rng = Fetched(), random.Random(5)
    for _ in range(200):
        start = rng.randrange(1, GIB // PAGE - 64) * PAGE
        for n in range(16):
            fetched.read(start + n * 8 * KIB, 8 * KIB)
    assert fetched.ratio <= 1.1


def _runs_of(fetched: Fetched, starts: Iterable[int]) -> None:
    for start in starts:
        for n in range(32):
            fetched.read(start + n * 128 * KIB, 128 * KIB)


def test_who_stops_again_and_again_is_fetched_less_for() -> None:
    fetched, rng = Fetched(), random.Random(5)
    for _ in range(40):
        _runs_of(fetched, [rng.randrange(1, GIB // MIB - 40) * MIB])
    assert "limit 1048576" in repr(fetched.readahead)
    before = len(fetched.pages), len(fetched.read_pages)
    _runs_of(fetched, (rng.randrange(1, GIB // MIB - 40) * MIB for _ in range(8)))
    assert len(fetched.pages) - before[0] <= 1.6 * (len(fetched.read_pages) - before[1])


def test_what_was_not_begun_is_asked_for_again() -> None:
    readahead = Readahead()
    readahead.on_read(Extent(0, MIB), GIB)
    (ahead,) = readahead.on_read(Extent(MIB, MIB), GIB).ahead
    readahead.stopped(ahead.offset)
    (again,) = readahead.on_read(Extent(2 * MIB, MIB), GIB).ahead
    assert again.offset == 3 * MIB


def test_nothing_is_fetched_past_the_end() -> None:
    size = 10 * MIB + 1
    fetched = Fetched(size)
    for offset in range(0, size, MIB):
        fetched.read(offset, min(MIB, size - offset))
    assert fetched.waits <= 2
    assert fetched.read(size - 1, 1).ahead == ()
    assert size > MIN_WINDOW_BYTES
