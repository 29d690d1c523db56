"""What a killed daemon leaves of files that were being written: their bytes, their size and their times."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.backends.memory import MemoryBackend
from fusecache.cache.sums import SUM_BYTES
from fusecache.fs.recovery import Recovery
from fusecache.types import HandleNo
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, World, a_world, wall_clock

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


async def test_what_it_costs_does_not_grow_with_the_files(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whoever uses a mount waits for it, when its daemon has died with 100,000 of them dirty."""
    asked: list[list[str]] = []
    async with a_world(tmp_path, MemoryBackend()) as world:
        recover(world)  # what it does but once is done
        for count in (2, 20):
            for number in range(count):
                await world.write_file(f"{count}-{number}", b"x")
            asked.append([])
            world.ns.database.connection.set_trace_callback(asked[-1].append)
            recover(world)
            world.ns.database.connection.set_trace_callback(None)
    few, many = asked
    assert few
    assert len(many) == len(few)


async def test_who_is_to_be_made_safe_is_known_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """All of whose bytes somebody would have to read, to know them again."""
    async with a_world(tmp_path, MemoryBackend()) as world:
        for path, size in (("small", 1), ("large", 2 * SUM_BYTES), ("doubtful", 1), ("rewritten", SUM_BYTES + 5)):
            number = await world.open(path, os.O_RDWR | os.O_CREAT)
            await world.fs.write(number, 0, b"x" * size)
            if path == "rewritten":
                await world.fs.write(number, 1, b"y")
            await world.close(number)
        ns, inode = world.ns, await world.stat("doubtful")
        with ns.database.transaction():
            ns.tables.seals.summed(inode.ino, inode.generation, bytes(8))
        expected = {inode.ino, (await world.stat("rewritten")).ino}
        told = {ino for ino, _ in ns.tables.seals.unsynced()}
        assert told == expected | {(await world.stat("large")).ino}, "one of a known block alone was looked at"
    async with a_world(tmp_path, MemoryBackend()) as world:
        assert set(world.fs._files.unsealed) == expected


def recover(world: World) -> None:
    Recovery(world.ns, world.contents, boot_id="boot", delay_ns=1, wall_ns=wall_clock()).run()
