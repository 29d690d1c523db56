"""Who writes without asking finds room ahead: as much as was written lately, and clean files go for it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from fusecache.fs.pressure import Levels, Limits, Pressure, pressure_of
from fusecache.fs.unseen import Unseen

GIB = 1 << 30


class Written:
    """Bytes so far; how often somebody asked."""

    def __init__(self) -> None:
        self.count = 0
        self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        return self.count


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def unseen(written: Written) -> Unseen:
    return Unseen(written, is_on=lambda: True)


def test_it_finds_room_below_the_size_of_the_cache(unseen: Unseen) -> None:
    limits = Limits(cache_size=100 * GIB, bounds_writers=True)
    assert unseen.to_release(pressure_of(Levels(900 * GIB, 94 * GIB, 0, 0), limits)) == 1 * GIB
    assert unseen.to_release(pressure_of(Levels(900 * GIB, 90 * GIB, 0, 0), limits)) == 0
    assert unseen.to_release(pressure_of(Levels(900 * GIB, 94 * GIB, 0, 0), Limits(cache_size=100 * GIB))) == 0


def at(free_gib: float, used_gib: float) -> Pressure:
    return pressure_of(Levels(int(free_gib * GIB), int(used_gib * GIB), 0, 0), Limits())


async def test_a_burst_is_remembered_for_a_while(unseen: Unseen, written: Written, autojump_clock: MockClock) -> None:
    unseen.look()
    assert unseen.ahead == 2 * GIB
    for _ in range(10):
        written.count += GIB // 2
        await trio.sleep(0.1)
        unseen.look()
    assert unseen.ahead == pytest.approx(10 * GIB, rel=0.01)
    for _ in range(20):
        await trio.sleep(0.1)
        unseen.look()
    assert unseen.ahead == 2 * GIB


async def test_ten_looks_a_second_are_enough(unseen: Unseen, written: Written, autojump_clock: MockClock) -> None:
    for _ in range(100):
        unseen.look()
        await trio.sleep(0.01)
    assert 8 <= written.looks <= 11


async def test_clean_files_go_for_it_but_on_a_small_disk(unseen: Unseen, autojump_clock: MockClock) -> None:
    assert unseen.to_release(at(free_gib=11, used_gib=89)) == GIB  # 10 are the soft mark
    assert unseen.to_release(at(free_gib=12, used_gib=88)) == 0
    assert unseen.to_release(at(free_gib=1, used_gib=6)) == 0


async def test_where_everybody_asks_nobody_looks(written: Written, autojump_clock: MockClock) -> None:
    unseen = Unseen(written, is_on=lambda: False)
    unseen.look()
    assert written.looks == 0
    assert unseen.to_release(at(free_gib=11, used_gib=89)) == 0
