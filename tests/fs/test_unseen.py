"""The kernel writes files by itself, and asks nobody for room: it is given them while there is plenty."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.fs.pressure import Limits
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern
from tests.fs.room import Disk, Room

GIB = 1 << 30
DISK = 40 * GIB
"""Nobody writes without asking if less than 2 GiB, and a tenth, are left to others."""
WRITE = os.O_WRONLY | os.O_CREAT


@pytest.fixture
def disk() -> Disk:
    return Disk(DISK)


@asynccontextmanager
async def a_backed_world(root: Path, disk: Disk, **limits: int) -> AsyncIterator[Drained]:
    async with a_drained_world(root, RecordedStore(), room=Room(disk, Limits(**limits))) as world:
        world.fs.back_files()
        yield world


async def is_given(world: Drained, path: str, flags: int) -> bool:
    """Whether the kernel gets a file that is opened now, and closed at once."""
    number = await world.open(path, flags)
    given = world.fs.backing(number) is not None
    await world.close(number)
    return given


async def test_without_plenty_of_room_writers_ask(tmp_path: Path, disk: Disk, autojump_clock: MockClock) -> None:
    async with a_backed_world(tmp_path, disk) as world:
        await world.write_file("old", pattern(MIB))
        for free_gib, writers, readers in ((3, True, True), (2, False, True), (0, False, False)):
            disk.others = DISK - free_gib * GIB
            await trio.sleep(1)
            assert await is_given(world, f"new{free_gib}", WRITE) == writers, free_gib
            assert await is_given(world, f"new{free_gib}", os.O_WRONLY | os.O_TRUNC) == writers, free_gib
            assert await is_given(world, "old", os.O_RDONLY) == readers, free_gib


async def test_what_nobody_told_of_counts_as_dirty(tmp_path: Path, disk: Disk, autojump_clock: MockClock) -> None:
    """And then whoever comes next is slowed."""
    async with a_backed_world(tmp_path, disk, dirty_limit=10 * GIB) as world:
        number = await world.open("f", WRITE)
        fd = world.fs.backing(number)
        assert fd is not None
        os.truncate(fd, 9 * GIB)  # a hole: it is the size that counts
        for _ in range(3):
            await trio.sleep(1)
            world.space.look()
        told = world.space.report()
        assert (told["dirty"], told["state"], told["by"]) == (9 * GIB, "slowed", "dirty_limit")
        assert not await is_given(world, "g", WRITE)
        os.truncate(fd, MIB)
        await world.close(number)
        assert world.space.report()["dirty"] == MIB


async def test_each_of_many_is_looked_at_in_its_turn(tmp_path: Path, disk: Disk, autojump_clock: MockClock) -> None:
    async with a_backed_world(tmp_path, disk) as world:
        numbers = [await world.open(f"f{n}", WRITE) for n in range(300)]
        for number in numbers:
            fd = world.fs.backing(number)
            assert fd is not None
            os.truncate(fd, 1000)
        for _ in range(6):
            await trio.sleep(0.1)
            world.space.look()
        assert world.space.report()["dirty"] == 300_000
        for number in numbers:
            await world.close(number)
        assert world.space.report()["dirty"] == 300_000
