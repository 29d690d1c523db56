"""Writers are slowed in time and wait at the hard mark, as long as there is hope."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import NoSpace
from fusecache.fs.pressure import MAX_PAUSE_S, Levels, Limits
from fusecache.fs.space import Space
from fusecache.fs.unseen import Unseen
from fusecache.types import InodeNo

MIB = 1 << 20
SIZE = 100 * MIB
INO = InodeNo(7)
PATIENCE_S = 60.0


@dataclass
class Fill:
    """A disk of 100 MiB, of which contents have some; from 10 MiB on writers are slowed, at 5 MiB they wait."""

    used: int = 0
    dirty: int = 0
    local: int = 0
    drained: float = 0.0
    per_s: float = 10.0 * MIB
    looks: int = 0
    paused: tuple[str, ...] = ()

    def space(self, **limits: int) -> Space:
        def disk() -> os.statvfs_result:
            self.looks += 1
            free = SIZE - self.used
            return os.statvfs_result((1, 1, SIZE, free, free, 0, 0, 0, 0, 255))

        return Space(
            Limits(**limits),
            patience_s=PATIENCE_S,
            disk=disk,
            levels=lambda free: Levels(free, self.used, self.dirty, self.local),
            drained=lambda: (self.drained, self.per_s),
            paused=lambda: self.paused,
            is_open=lambda ino: True,
            unseen=Unseen(int, is_on=bool),
        )

    def left(self, mib: float) -> None:
        """So much is free."""
        self.used = SIZE - int(mib * MIB)


@pytest.fixture
def fill() -> Fill:
    return Fill()


async def took_s(space: Space, count: int) -> float:
    began = trio.current_time()
    await space.room(count, INO)
    return trio.current_time() - began


async def test_where_there_is_room_one_look_is_enough_for_many_writes(fill: Fill, autojump_clock: MockClock) -> None:
    space = fill.space()
    assert all(space.admits(4096) for _ in range(1000))
    assert fill.looks == 1
    await trio.sleep(1)
    assert space.admits(4096)  # others may have filled the disk
    assert fill.looks == 2


async def test_near_the_mark_it_is_looked_at_in_time(fill: Fill, autojump_clock: MockClock) -> None:
    """However fast they write, nobody gets far beyond the soft mark before it is seen."""
    space = fill.space()
    fill.left(20)
    while space.admits(MIB):
        fill.used += MIB
    assert 9 * MIB <= SIZE - fill.used <= 10 * MIB


async def test_halfway_all_writers_together_get_what_drains(fill: Fill, autojump_clock: MockClock) -> None:
    space = fill.space()
    fill.left(7.5)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(space.room, MIB, INO)
    assert trio.current_time() - began == pytest.approx(0.5, rel=0.1)


async def test_no_pause_is_longer_than_a_second(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(5.01)
    fill.per_s = 0.0
    space = fill.space()
    assert await took_s(space, 64 * MIB) == pytest.approx(MAX_PAUSE_S)
    assert await took_s(space, 64 * MIB) == pytest.approx(MAX_PAUSE_S)


async def test_a_pause_ends_when_there_is_room(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(5.01)
    space = fill.space()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(space.room, 64 * MIB, INO)
        await trio.sleep(0.3)
        assert "1 slowed" in repr(space)
        fill.left(50)
        began = trio.current_time()
    assert trio.current_time() - began < 0.1


async def test_at_the_hard_mark_a_writer_waits_until_there_is_room(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(5)
    space = fill.space()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(space.room, 1, INO)
        await trio.sleep(PATIENCE_S / 2)
        assert space.report()["state"] == "waiting"
        assert space.report()["writers_waiting"] == 1
        fill.left(6)
        began = trio.current_time()
    assert trio.current_time() - began < 0.1


async def test_after_its_patience_it_is_refused(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(5)
    space = fill.space()
    began = trio.current_time()
    with pytest.raises(NoSpace, match=f"{5 * MIB} bytes of the cache disk are free"):
        await space.room(1, INO)
    assert trio.current_time() - began == pytest.approx(PATIENCE_S, abs=0.2)
    assert space.report()["state"] == "full"


async def test_a_refusal_tells_of_a_pause(fill: Fill, autojump_clock: MockClock) -> None:
    """It is waited for as anything else: somebody may resume in time."""
    fill.left(5)
    fill.paused = ("/t",)
    began = trio.current_time()
    with pytest.raises(NoSpace, match="/t paused: nothing of it drains until `fusecache resume`"):
        await fill.space().room(1, INO)
    assert trio.current_time() - began >= PATIENCE_S


async def test_the_next_one_is_not_kept_waiting_for_nothing(fill: Fill, autojump_clock: MockClock) -> None:
    """A copy of a thousand files fails at once, not after a thousand times the patience."""
    fill.left(5)
    space = fill.space()
    for _ in range(2):
        began = trio.current_time()
        with pytest.raises(NoSpace):
            await space.room(1, INO)
    assert trio.current_time() - began <= MAX_PAUSE_S


async def test_as_long_as_the_drain_gets_on_there_is_hope(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(5)
    space = fill.space()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(space.room, 1, INO)
        for _ in range(10):
            await trio.sleep(PATIENCE_S * 0.9)
            fill.drained += MIB
        assert space.report()["state"] == "waiting"
        fill.left(50)


async def test_room_in_between_is_hope_anew(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(5)
    space = fill.space()
    with pytest.raises(NoSpace):
        await space.room(1, INO)
    fill.left(50)
    await space.room(1, INO)
    fill.left(5)
    await trio.sleep(1)
    with trio.move_on_after(PATIENCE_S / 2) as scope:
        await space.room(1, INO)
    assert scope.cancelled_caught


async def test_a_create_is_slowed_and_never_waits(fill: Fill, autojump_clock: MockClock) -> None:
    """The kernel holds its directory: nobody could remove anything there."""
    fill.left(0)
    space = fill.space()
    began = trio.current_time()
    await space.pace()
    assert 0 < trio.current_time() - began <= MAX_PAUSE_S


async def test_a_cancelled_writer_leaves_nothing(fill: Fill, autojump_clock: MockClock) -> None:
    fill.left(0)
    space = fill.space()
    for seconds in (0.2, 5.0):
        with trio.move_on_after(seconds):
            await space.room(1, INO)
        assert repr(space) == "<Space: 0 slowed, 0 waiting>"


async def test_a_limit_of_dirty_bytes_counts_as_the_disk_does(fill: Fill, autojump_clock: MockClock) -> None:
    space = fill.space(dirty_limit=10 * MIB)
    fill.dirty = 7 * MIB
    assert space.admits(1)
    fill.dirty = 9 * MIB
    await trio.sleep(1)
    assert not space.admits(1)
    assert space.report()["by"] == "dirty_limit"
    fill.dirty = 10 * MIB
    assert space.report()["state"] == "waiting"


async def test_statvfs_tells_what_may_still_be_written(fill: Fill, autojump_clock: MockClock) -> None:
    """What is clean will be given up for writers; below the hard mark nobody writes."""
    fill.left(30)
    fill.dirty, fill.local = 20 * MIB, 10 * MIB
    told = fill.space().statvfs()
    assert told.f_bavail == (30 + 40 - 5) * MIB
    assert told.f_bavail <= told.f_bfree <= told.f_blocks == SIZE
