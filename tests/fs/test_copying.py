"""Copies between open files; and of a large object, copied whole, nothing is sent: the store copies it, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.sums import SUM_BYTES
from fusecache.errors import InvalidArgument
from fusecache.types import HandleNo
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.handing import Handed
from tests.fs.harness import BLOCK, CountedStore, World, pattern
from tests.fs.test_reuse import BIG, HaveItAll, read_all, write_all

SIZE = 4 * BLOCK + 100
STEP = 8 * MIB
COPIED = ["copy 1 copied"]


@pytest.mark.parametrize("is_cold", [False, True])
async def test_a_copy_from_file_to_file(world: World, store: CountedStore, is_cold: bool) -> None:
    data = pattern(SIZE)
    await (store.foreign({"f": data}) if is_cold else world.write_file("f", data))
    source, target = await world.open("f"), await world.create("g", os.O_RDWR)
    assert await world.fs.copying.copy(source, 5, target, 10, 1 << 30) == SIZE - 5
    await world.close(source)
    await world.close(target)
    assert await world.read_file("g") == bytes(10) + data[5:]


async def test_a_copy_over_itself_is_refused(world: World) -> None:
    await world.write_file("f", pattern(SIZE))
    number = await world.open("f", os.O_RDWR)
    with pytest.raises(InvalidArgument):
        await world.fs.copying.copy(number, 0, number, 10, 100)
    assert await world.fs.copying.copy(number, 0, number, 100, 100) == 100
    await world.close(number)


# --- what the store copies ---


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


async def copied(world: Drained, name: str = "copy") -> HandleNo:
    """Copy "big" as cp(1) does, with the kernel's requests; return the open target."""
    source, target = await world.open("big"), await world.create(name, os.O_RDWR)
    world.fs.backing(target)
    offset = 0
    while count := await world.fs.copying.copy(source, offset, target, offset, STEP):
        offset += count
    await world.close(source)
    return target


async def sent(world: Drained, store: RecordedStore) -> list[str]:
    """Drain, after the upkeep has looked at what was written, and return the parts that were sent."""
    await world.upkeep.seal()
    store.parts.clear()
    await world.settle()
    return sorted(store.parts)


async def have_it_written(world: Drained, store: RecordedStore) -> None:
    """By the kernel, where that may; sent before anybody has looked at its bytes."""
    number = await world.create("big", os.O_WRONLY)
    if world.fs.backing(number) is None:
        await world.fs.write(number, 0, BIG)
        await world.close(number)
    else:
        file = Handed(world, number)
        os.pwrite(file.fd, BIG, 0)
        await file.close()
    await world.settle()


@pytest.mark.parametrize("is_backed", [False, True], ids=["asked", "backed"])
@pytest.mark.parametrize("have_it_all", [read_all, write_all, have_it_written])
async def test_a_copy_of_an_object_sends_nothing(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, have_it_all: HaveItAll, is_backed: bool
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=5.0, block_size=SUM_BYTES) as world:
        if is_backed:
            world.fs.back_files()
        await have_it_all(world, store)
        await world.close(await copied(world))
        assert await sent(world, store) == COPIED
        assert store.objects() == {"big": BIG, "copy": BIG}
        assert await world.read_file("copy") == BIG
        assert (await world.describer.describe(b"copy"))["state"] == "clean"


@pytest.mark.parametrize("is_backed", [False, True], ids=["asked", "backed"])
async def test_what_is_written_to_a_copy_is_sent(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, is_backed: bool
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=5.0, block_size=SUM_BYTES) as world:
        if is_backed:
            world.fs.back_files()
        await read_all(world, store)
        number = await copied(world)
        if is_backed:
            file = Handed(world, number)
            os.pwrite(file.fd, b"changed", 12 * MIB)
            await file.close()
        else:
            await world.fs.write(number, 12 * MIB, b"changed")
            await world.close(number)
        assert await sent(world, store) == ["copy 1 copied", "copy 2", "copy 3 copied"]
        assert store.content("copy") == BIG[: 12 * MIB] + b"changed" + BIG[12 * MIB + 7 :]


@pytest.mark.parametrize(
    "change", ["overwritten", "removed", "renamed", "replaced by its copy", "replaced in the store"]
)
async def test_what_becomes_of_the_original_meanwhile(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, change: str
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=5.0, block_size=SUM_BYTES) as world:
        await read_all(world, store)
        await world.close(await copied(world))
        expected = {"big": BIG, "copy": BIG}
        if change == "overwritten":
            await world.write_file("big", b"new")
            expected["big"] = b"new"
        elif change == "removed":
            await world.unlink("big")
            del expected["big"]
        elif change == "renamed":
            await world.rename("big", "other")
            expected["other"] = expected.pop("big")
        elif change == "replaced by its copy":
            await world.rename("copy", "big")
            del expected["copy"]
        else:
            await store.foreign({"big": b"theirs"})
            expected["big"] = b"theirs"
        await world.settle()
        await trio.sleep(100)
        assert (store.objects(), store.parts_left) == (expected, 0)
        assert await world.read_file("copy" if "copy" in expected else "big") == BIG


@pytest.mark.parametrize("boot_id", ["boot", "another"], ids=["crash", "power loss"])
async def test_the_next_daemon_goes_on(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, boot_id: str
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=5.0, block_size=SUM_BYTES) as world:
        await read_all(world, store)
        number = await copied(world)
        await world.fs.fsync(number)
        await world.close(number)
    async with a_drained_world(tmp_path, store, boot_id=boot_id, block_size=SUM_BYTES) as world:
        parts = await sent(world, store)
        assert (parts == COPIED) == (boot_id == "boot")
        assert store.objects() == {"big": BIG, "copy": BIG}


async def test_who_writes_while_it_is_copied(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with a_drained_world(tmp_path, store, delay_s=5.0, block_size=SUM_BYTES) as world:
        await read_all(world, store)
        source, target = await world.open("big"), await world.create("copy", os.O_RDWR)

        async def write() -> None:
            while (await world.stat("copy")).size < 4 * MIB:
                await trio.lowlevel.checkpoint()
            await world.fs.write(target, MIB, b"changed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await world.fs.copying.copy(source, 0, target, 0, len(BIG))
        await world.close(source)
        await world.close(target)
        await world.settle()
        assert store.content("copy") == BIG[:MIB] + b"changed" + BIG[MIB + 7 :]


async def test_pieces_of_an_object_at_other_places(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """A piece is left out, one goes elsewhere: bytes are what they are."""
    async with a_drained_world(tmp_path, store, delay_s=5.0, block_size=SUM_BYTES) as world:
        await read_all(world, store)
        source, target = await world.open("big"), await world.create("copy", os.O_RDWR)
        expected = bytearray(len(BIG))
        pieces = [(0, 0, 6 * MIB + 5), (6 * MIB + 5, 6 * MIB + 5, MIB), (20 * MIB, 20 * MIB, 10 * MIB)]
        for offset, to, length in [*pieces, (9 * MIB, 8 * MIB, MIB)]:
            await world.fs.copying.copy(source, offset, target, to, length)
            expected[to : to + length] = BIG[offset : offset + length]
        await world.close(source)
        await world.close(target)
        assert "copy 1 copied" in await sent(world, store)
        assert store.content("copy") == await world.read_file("copy") == expected
