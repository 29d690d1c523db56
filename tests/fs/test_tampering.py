"""Bytes on the cache disk become others behind our back: the file is stuck, loudly, and nothing of it is sent."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.sums import SUM_BYTES
from fusecache.persist.settings import Settings
from fusecache.types import InodeNo
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

IN_PARTS = Settings(multipart_threshold=4 * MIB, part_size=5 * MIB + 12345)
"""Parts that begin and end within a block."""


def flip(root: Path, ino: InodeNo, at: int) -> None:
    """Change one bit of a content file."""
    with (root / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}").open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


async def refused(world: Drained, store: RecordedStore, path: str = "a") -> None:
    """Drain: the file has to be stuck, and nothing of it in the store."""
    await world.settle()
    assert [(each["path"], "behind our back" in str(each["error"])) for each in world.persister.report().stuck] == [
        (path, True)
    ]
    assert path not in store.objects()
    assert store.parts_left == 0


@pytest.mark.parametrize("size", [1000, 3 * MIB + 5, 12 * MIB + 5], ids=["small", "large", "in parts"])
@pytest.mark.parametrize("where", ["first", "last"])
async def test_a_bit_that_flips_between_close_and_upload(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, size: int, where: str
) -> None:
    store, data = RecordedStore(), pattern(size)
    async with a_drained_world(tmp_path, store, settings=IN_PARTS) as world:
        await world.write_file("a", data)
        await world.write_file("b", b"another")
        flip(tmp_path, (await world.stat("a")).ino, 0 if where == "first" else size - 1)
        with caplog.at_level(logging.ERROR):
            await refused(world, store)
        assert "upload of a is stuck, and kept" in caplog.text
        assert store.objects() == {"b": b"another"}
        await world.write_file("a", data)
        await world.settle()
        assert store.objects() == {"a": data, "b": b"another"}
        assert not world.persister.report().stuck


@pytest.mark.parametrize("appends", [False, True], ids=["left alone", "appended to"])
async def test_a_bit_that_flips_while_nothing_is_mounted(
    tmp_path: Path, autojump_clock: MockClock, appends: bool
) -> None:
    """What is appended is in another block: the one that a write changes is read anew."""
    store, size = RecordedStore(), 3 * MIB + 5
    async with a_drained_world(tmp_path, store, delay_s=100.0) as world:
        await world.write_file("a", pattern(size))
        ino = (await world.stat("a")).ino
    flip(tmp_path, ino, size // 2)
    async with a_drained_world(tmp_path, store) as world:
        if appends:
            await world.write_at("a", size, b"and more")
        await refused(world, store)


async def test_a_small_file_that_was_not_written_in_order(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", pattern(60_000))
        await world.write_at("a", 30_000, b"in the midst")
        flip(tmp_path, (await world.stat("a")).ino, 7)
        await refused(world, store)


async def test_a_large_file_that_was_not_written_in_order(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It is read once after its close; what was known of other blocks before isn't found out again."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, delay_s=100.0) as world:
        await world.write_file("a", pattern(3 * MIB))
        await world.write_at("a", MIB + 5, b"in the midst")
        await world.upkeep.seal()
        ino = (await world.stat("a")).ino
        flip(tmp_path, ino, MIB + 6)
        await refused(world, store)
        flip(tmp_path, ino, MIB + 6)
        flip(tmp_path, ino, 5)
        await world.write_at("a", 2 * MIB + 5, b"later")
        await world.upkeep.seal()
        await refused(world, store)


async def test_blocks_that_came_from_the_store_are_known_too(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    await store.foreign({"a": pattern(3 * MIB + 9)})
    async with a_drained_world(tmp_path, store, delay_s=100.0, block_size=SUM_BYTES) as world:
        await world.read_file("a")
        await world.write_at("a", 5, b"changed")
        flip(tmp_path, (await world.stat("a")).ino, 3 * MIB + 1)
        await world.settle()
        assert len(world.persister.report().stuck) == 1
        assert store.objects() == {"a": pattern(3 * MIB + 9)}


async def test_a_file_that_rests_is_what_it_was_after_a_power_loss(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Written out of order and never synced by anybody: whoever read it for its sums has synced it, too."""
    store, data = RecordedStore(), bytearray(pattern(2 * MIB))
    async with a_drained_world(tmp_path, store, delay_s=100.0) as world:
        await world.write_file("a", bytes(data))
        await world.write_at("a", 5, b"later")
        data[5:10] = b"later"
        await world.upkeep.seal()
    async with a_drained_world(tmp_path, store, boot_id="another") as world:
        await world.settle()
        assert store.objects() == {"a": bytes(data)}


async def test_an_fsync_takes_nothing_for_granted(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, delay_s=100.0) as world:
        for name, size in (("small", 1000), ("large", 2 * MIB)):
            number = await world.create(name)
            await world.fs.write(number, 0, pattern(size))
            await world.fs.fsync(number)
            await world.close(number)
            flip(tmp_path, (await world.stat(name)).ino, 10)
        await world.settle()
        assert sorted(str(each["path"]) for each in world.persister.report().stuck) == ["large", "small"]
        assert store.objects() == {}


async def test_who_writes_through_the_mount_meanwhile_is_no_damage(tmp_path: Path, autojump_clock: MockClock) -> None:
    store, data = RecordedStore(), bytearray(pattern(12 * MIB))
    async with a_drained_world(tmp_path, store, settings=IN_PARTS) as world:
        await world.write_file("a", bytes(data))
        gate = store.hold("part")
        with trio.move_on_after(5):
            await world.settle()
        number = await world.open("a", os.O_RDWR)
        data[11 * MIB : 11 * MIB + 4] = b"here"
        await world.fs.write(number, 11 * MIB, b"here")
        gate.set()
        with trio.move_on_after(5):
            await trio.sleep(5)
        assert not world.persister.report().stuck
        await world.close(number)
        await world.settle()
        assert store.objects() == {"a": bytes(data)}
