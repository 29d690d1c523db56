"""Data and holes, space in advance, and zeros."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from fusecache.cache.holes import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from fusecache.errors import FileTooBig, NoSuchOffset, Unsupported
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.types import Extent
from tests.fs.harness import BLOCK, CountedStore, World, pattern
from tests.fs.kernel import a_kernel

SIZE = 4 * BLOCK + 100
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
FALLOC_FL_COLLAPSE_RANGE = 0x08


def without(data: bytes, offset: int, length: int) -> bytes:
    """The data with zeros there."""
    end = min(len(data), offset + length)
    return data[:offset] + bytes(end - offset) + data[end:]


@pytest.mark.parametrize("is_cold", [False, True])
@pytest.mark.parametrize(("offset", "length"), [(0, BLOCK), (10, 20), (BLOCK - 1, 2 * BLOCK), (BLOCK, 1 << 40)])
async def test_a_punched_hole_reads_as_zeros(
    world: World, store: CountedStore, offset: int, length: int, is_cold: bool
) -> None:
    data = pattern(SIZE)
    await (store.foreign({"f": data}) if is_cold else world.write_file("f", data))
    number = await world.open("f", os.O_RDWR)
    await world.fs.ranges.allocate(number, Extent(offset, length), PUNCH)
    await world.close(number)
    assert await world.read_file("f") == without(data, offset, length)
    assert (await world.stat("f")).size == SIZE


async def test_a_hole_takes_no_space_and_is_found(world: World) -> None:
    await world.write_file("f", pattern(SIZE))
    number = await world.open("f", os.O_RDWR)
    before = os.fstat(world.fs.ranges._files.content(number).fd()).st_blocks
    await world.fs.ranges.allocate(number, Extent(BLOCK, 2 * BLOCK), PUNCH)
    assert os.fstat(world.fs.ranges._files.content(number).fd()).st_blocks == before - 2 * BLOCK // 512
    assert world.fs.ranges.seek(number, 0, os.SEEK_HOLE) == BLOCK
    assert world.fs.ranges.seek(number, BLOCK, os.SEEK_DATA) == 3 * BLOCK
    with pytest.raises(NoSuchOffset):
        world.fs.ranges.seek(number, SIZE, os.SEEK_DATA)
    await world.close(number)


async def test_what_is_not_here_yet_is_no_hole(world: World, store: CountedStore) -> None:
    await store.foreign({"cold": pattern(SIZE)})
    number = await world.open("cold")
    assert world.fs.ranges.seek(number, BLOCK, os.SEEK_DATA) == BLOCK
    assert world.fs.ranges.seek(number, BLOCK, os.SEEK_HOLE) == SIZE
    await world.close(number)


@pytest.mark.parametrize(
    ("mode", "size"),
    [(0, 3000), (FALLOC_FL_KEEP_SIZE, 1000), (FALLOC_FL_ZERO_RANGE, 3000), (PUNCH, 1000)],
)
async def test_space_in_advance_and_the_size(world: World, mode: int, size: int) -> None:
    await world.write_file("f", b"x" * 1000)
    number = await world.open("f", os.O_RDWR)
    await world.fs.ranges.allocate(number, Extent(1000, 2000), mode)
    await world.close(number)
    assert (await world.stat("f")).size == size
    assert await world.read_file("f") == b"x" * 1000 + bytes(size - 1000)


async def test_a_file_is_made_longer_in_one_step_however_far(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.write_file("f", b"x")
    number = await world.open("f", os.O_RDWR)
    write, steps = world.fs._files.write, 0

    async def counted(*args: Any, **kwargs: Any) -> int:
        nonlocal steps
        steps += 1
        return await write(*args, **kwargs)

    monkeypatch.setattr(world.fs._files, "write", counted)
    for mode, far in ((0, 1 << 40), (FALLOC_FL_ZERO_RANGE, 1 << 41)):
        steps = 0
        await world.fs.ranges.allocate(number, Extent(far, 1), mode)
        assert steps == 1
        assert (await world.stat("f")).size == far + 1
    with pytest.raises(FileTooBig):
        await world.fs.ranges.allocate(number, Extent((1 << 63) - 2, 1), 0)
    assert await world.read(number, 0, 3) == b"x\0\0"
    await world.truncate("f", 1)
    await world.close(number)


async def test_space_in_advance_changes_no_byte(world: World) -> None:
    await world.write_file("f", pattern(SIZE))
    number = await world.open("f", os.O_RDWR)
    await world.fs.ranges.allocate(number, Extent(0, SIZE), 0)
    await world.close(number)
    assert await world.read_file("f") == pattern(SIZE)


async def test_a_mode_that_moves_bytes_is_refused(world: World) -> None:
    number = await world.create("f")
    with pytest.raises(Unsupported):
        await world.fs.ranges.allocate(number, Extent(0, 1), FALLOC_FL_COLLAPSE_RANGE)
    await world.close(number)


async def test_the_kernel_asks_for_all_of_it(world: World) -> None:
    await world.write_file("f", b"x" * 100)
    async with a_kernel(world) as kernel:
        ino = await kernel.lookup(b"f")
        number = await kernel.open(ino, os.O_RDWR)
        await kernel.told(Opcode.FALLOCATE, ino, abi.fuse_fallocate_in.pack(number, 10, 20, PUNCH, 0))
        copied = abi.fuse_copy_file_range_in.pack(number, 0, ino, number, 200, 50, 0)
        assert abi.fuse_write_out.unpack(await kernel.told(Opcode.COPY_FILE_RANGE, ino, copied)) == (50, 0)
        assert await kernel.read(ino, number) == without(b"x" * 100, 10, 20) + bytes(100) + without(b"x" * 50, 10, 20)
        asked = abi.fuse_lseek_in.pack(number, 0, os.SEEK_DATA, 0)
        assert await kernel.told(Opcode.LSEEK, ino, asked) == abi.fuse_lseek_out.pack(0)
        beyond = abi.fuse_lseek_in.pack(number, 250, os.SEEK_DATA, 0)
        assert await kernel.ask(Opcode.LSEEK, ino, beyond) == (errno.ENXIO, b"")
        await kernel.close(ino, number)
