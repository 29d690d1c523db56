"""What a killed daemon leaves of files that were being written: their bytes, their size and their times."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.types import HandleNo
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, World

SET_NS = 123_456_789
SOON_NS = 60 * 10**9


def is_now(mtime_ns: int) -> bool:
    """The clock of the content files is the machine's, whatever the test's says."""
    return abs(time.time_ns() - mtime_ns) < SOON_NS


async def written(world: World, size: int = 2) -> HandleNo:
    number = await world.open("a", os.O_RDWR | os.O_CREAT)
    await world.fs.write(number, 0, b"x" * size)
    return number


async def test_times_that_were_set_are_kept(tmp_path: Path, autojump_clock: MockClock) -> None:
    """By utime on a file that is open and has been written: the row has its size from before."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await written(world)
        told = await world.setattr("a", mtime_ns=SET_NS, atime_ns=5)
    async with a_drained_world(tmp_path, store) as world:
        found = await world.stat("a")
        assert (found.size, found.mtime_ns, found.atime_ns, found.ctime_ns) == (2, SET_NS, 5, told.ctime_ns)


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_write_after_that_counts(tmp_path: Path, autojump_clock: MockClock, size: int) -> None:
    """Also one that leaves the size as it was."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"12")
        number = await world.open("a", os.O_WRONLY)
        await world.fs.write(number, 0, b"x" * size)
        told = await world.setattr("a", mtime_ns=SET_NS)
        await world.fs.write(number, 0, b"y" * size)
    async with a_drained_world(tmp_path, store) as world:
        found = await world.stat("a")
        assert is_now(found.mtime_ns)
        assert found.ctime_ns >= told.ctime_ns
        assert await world.read_file("a") == {1: b"y2", 2: b"yy", 3: b"yyy"}[size]


async def test_a_write_counts_whatever_came_after_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"12")
        await world.setattr("a", mtime_ns=SET_NS)
        await written(world)
        await world.rename("a", "b")
    async with a_drained_world(tmp_path, store) as world:
        assert is_now((await world.stat("b")).mtime_ns)


async def test_a_fetched_block_is_no_write(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    await store.foreign({"a": bytes(4 * BLOCK)})
    async with a_drained_world(tmp_path, store) as world:
        number = await world.open("a", os.O_RDWR)
        await world.fs.write(number, 0, b"x")
        await world.setattr("a", mtime_ns=SET_NS)
        await world.read(number)
    async with a_drained_world(tmp_path, store) as world:
        assert (await world.stat("a")).mtime_ns == SET_NS
