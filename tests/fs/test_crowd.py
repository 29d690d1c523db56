"""Many files that are written at once on a disk that holds few of them: all come to their end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.types import HandleNo
from tests.fs.draining import MIB, Drained, RecordedStore
from tests.fs.harness import pattern
from tests.fs.test_space import DISK, a_small_world

CHUNK = 256 << 10
"""What the kernel sends at once."""
WRITERS = 2 * (DISK // MIB - 2)


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.mark.parametrize("are_drained", [False, True])
async def test_half_of_each_fills_the_disk(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock, *, are_drained: bool
) -> None:
    """None can be given up before it is closed: a little of each room for each would leave none of them any to end.

    Or the store has these halves, as a copy of each descriptor was closed: the disk is full of what could go.
    """
    async with a_small_world(tmp_path, store) as world:
        handles = {f"f{n}": await world.open(f"f{n}", os.O_RDWR | os.O_CREAT) for n in range(WRITERS)}
        wrote = {name: pattern(MIB, n) for n, name in enumerate(handles)}
        for name, number in handles.items():
            await world.fs.write(number, 0, wrote[name][: MIB // 2])
            if are_drained:
                world.fs.flush(number)
        await world.settle()
        async with trio.open_nursery() as nursery:
            for name, number in handles.items():
                nursery.start_soon(finish, world, number, wrote[name])
        await world.settle()
        assert store.objects() == wrote
        assert repr(world.space) == "<Space: 0 slowed, 0 waiting>"


async def finish(world: Drained, number: HandleNo, data: bytes) -> None:
    for start in range(MIB // 2, len(data), CHUNK):
        await world.fs.write(number, start, data[start : start + CHUNK])
    await world.close(number)


async def test_a_file_larger_than_the_disk_is_read_through(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    data = pattern(DISK * 3 // 2)
    await store.foreign({"large": data})
    async with a_small_world(tmp_path, store) as world:
        number = await world.open("large")
        for start in range(0, len(data), CHUNK):
            assert await world.fs.read(number, start, CHUNK) == data[start : start + CHUNK]
            await trio.sleep(0.01)
        assert world.contents.used_bytes() < DISK
        assert await world.fs.read(number, 0, CHUNK) == data[:CHUNK]
        await world.close(number)
