"""A cache disk that fills: clean files go first, then writers are slowed, wait, and are refused; nothing is lost."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import NoSpace
from fusecache.fs.pressure import Limits
from fusecache.types import HandleNo
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern
from tests.fs.room import Disk, Room

DISK = 20 * MIB
"""Below 2 MiB writers are slowed, below 1 MiB they wait."""
PATIENCE_S = 30.0


@asynccontextmanager
async def a_small_world(
    root: Path, store: RecordedStore, *, delay_s: float = 1.0, **limits: int
) -> AsyncIterator[Drained]:
    room = Room(Disk(DISK), Limits(**limits), PATIENCE_S)
    async with a_drained_world(root, store, delay_s=delay_s, room=room) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.releaser.run)
        nursery.start_soon(world.upkeep.run)
        yield world
        nursery.cancel_scope.cancel()


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


async def fill(world: Drained, name: str = "full", mib: int = 30) -> tuple[HandleNo, int]:
    """Write until it takes long; the handle stays open."""
    number = await world.open(name, os.O_WRONLY | os.O_CREAT)
    for written in range(mib):
        with trio.move_on_after(PATIENCE_S / 2) as scope:
            await world.fs.write(number, written * MIB, pattern(MIB, written))
        if scope.cancelled_caught:
            return number, written
    return number, mib


async def test_with_a_dead_store_writers_wait_and_then_are_refused(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    store.hold("put")
    async with a_small_world(tmp_path, store) as world:
        number, written = await fill(world)
        assert 17 <= written <= 19
        began = trio.current_time()
        with pytest.raises(NoSpace):
            await world.fs.write(number, written * MIB, b"more")
        assert trio.current_time() - began <= PATIENCE_S + 1
        await world.close(number)
        store.gates["put"].set()
        await world.settle()
        assert store.content("full") == b"".join(pattern(MIB, n) for n in range(written))
        await world.write_file("another", pattern(10 * MIB))
        assert await world.read_file("full") == store.content("full")


async def test_during_a_pause_writers_go_on_while_there_is_room_and_when_it_has_ended(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    async with a_small_world(tmp_path, store) as world:
        await world.persister.pause("")
        room = world.space.report()["room"]
        number, written = await fill(world)
        assert written == room // MIB == 19
        with pytest.raises(NoSpace, match="/ paused"):
            await world.fs.write(number, written * MIB, b"more")
        assert world.space.report()["room"] < MIB
        await world.close(number)
        assert store.objects() == {}
        await world.persister.resume("")
        await world.settle()
        await world.write_file("another", pattern(10 * MIB))
        assert store.content("full") == b"".join(pattern(MIB, n) for n in range(written))


async def test_meanwhile_everything_else_goes_on(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    """What needs no room is not held up by those who wait for some."""
    store.hold("put")
    async with a_small_world(tmp_path, store) as world:
        await world.write_file("old", b"bytes")
        other = await world.open("other", os.O_WRONLY | os.O_CREAT)
        number, written = await fill(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.fs.write, number, written * MIB, bytes(MIB))
            nursery.start_soon(world.write_at, "old", 5, bytes(MIB))
            await trio.sleep(2)
            began = trio.current_time()
            assert await world.read_file("old") == b"bytes"
            assert (await world.stat("full")).size == written * MIB
            await world.close(other)
            await world.rename("old", "new")
            await world.mkdir("d")
            await world.truncate("new", 2)
            await world.unlink("other")
            assert trio.current_time() == began
            nursery.cancel_scope.cancel()
        assert repr(world.space) == "<Space: 0 slowed, 0 waiting>"


async def test_a_removed_file_makes_room_for_who_waits(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    async with a_small_world(tmp_path, store, delay_s=3600.0) as world:
        await world.write_file("big", pattern(5 * MIB))
        number, written = await fill(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.fs.write, number, written * MIB, pattern(MIB))
            await trio.sleep(1)
            await world.unlink("big")
            began = trio.current_time()
        assert trio.current_time() - began < 2  # the upkeep comes by every second


async def test_what_is_drained_makes_room_for_who_waits(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    gate = store.hold("put")
    async with a_small_world(tmp_path, store) as world:
        await world.write_file("big", pattern(7 * MIB))
        number, written = await fill(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.fs.write, number, written * MIB, pattern(MIB))
            await trio.sleep(1)
            began = trio.current_time()
            gate.set()
        assert trio.current_time() - began < 2
        assert await world.read_file("big") == pattern(7 * MIB)


async def test_clean_files_go_before_anybody_is_slowed(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    async with a_small_world(tmp_path, store) as world:
        for n in range(30):
            began = trio.current_time()
            await world.write_file(f"f{n}", pattern(MIB, n))
            assert trio.current_time() == began
            await world.settle()
            await trio.sleep(2)
        assert [await world.read_file(f"f{n}") == pattern(MIB, n) for n in range(30)] == [True] * 30


async def test_only_what_nobody_needs_is_given_up(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    async with a_small_world(tmp_path, store) as world:
        for name in ("clean", "opened", "moved", "changed", "pinned"):
            await world.write_file(name, pattern(MIB))
        await world.settle()
        world.ns.pins.add("pinned")
        store.hold("copy")
        store.hold("put")
        opened = await world.open("opened")
        await world.rename("moved", "elsewhere")
        await world.write_at("changed", 5, b"here only")
        await world.write_file("new", pattern(MIB, 9))
        world.contents.flush_index()
        number, _ = await fill(world)
        here = {name: world.contents.exists((await world.stat(name)).ino) for name in await world.ls()}
        assert here.pop("clean") is False
        assert here == dict.fromkeys(("opened", "elsewhere", "changed", "pinned", "new", "full"), True)
        await world.close(number)
        await world.close(opened)


async def test_nothing_is_given_up_that_a_power_loss_would_make_dirty_again(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the store has it is a row: before that row is safe, the local bytes are the only ones it speaks of."""
    disk = Disk(DISK)
    async with a_drained_world(tmp_path, store, room=Room(disk)) as world:
        await world.write_file("a", pattern(MIB))
        await world.settle()
        world.contents.flush_index()
        given_up = []

        def release(*_: object) -> int:
            given_up.append(world.ns.database.synced_seq == world.ns.database.seq)
            return 1

        monkeypatch.setattr(world.contents, "release", release)
        disk.others = DISK
        await world.mkdir("d")
        assert world.ns.database.synced_seq < world.ns.database.seq
        await world.releaser.make_room()
        assert given_up
        assert all(given_up)


async def test_what_was_used_just_now_goes_if_nothing_else_can(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    """Whoever asks for room is told of all that was freed meanwhile: a fetch fails if that is nothing."""
    disk = Disk(DISK)
    async with a_drained_world(tmp_path, store, room=Room(disk)) as world:
        for name in "ab":
            await world.write_file(name, pattern(MIB))
        await world.settle()
        freed = []

        async def make_room() -> None:
            freed.append(await world.releaser.make_room())

        disk.others = DISK
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(make_room)
        assert min(freed) > 0


async def test_a_longer_file_waits_and_a_shorter_one_does_not(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    store.hold("put")
    async with a_small_world(tmp_path, store) as world:
        await world.write_file("a", b"12345")
        await fill(world)
        began = trio.current_time()
        await world.truncate("a", 3)
        assert trio.current_time() == began
        with pytest.raises(NoSpace):
            await world.truncate("a", 10)
        assert (await world.stat("a")).size == 3


async def test_bytes_count_as_dirty_before_they_are_closed(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    store.hold("put")
    async with a_small_world(tmp_path, store, dirty_limit=5 * MIB) as world:
        number, written = await fill(world)
        assert written == 5
        assert world.space.report()["by"] == "dirty_limit"
        await world.close(number)
        assert world.space.report()["dirty"] == 5 * MIB
        await world.unlink("full")
        assert world.space.report()["dirty"] == 0


async def test_after_a_restart_the_backlog_counts_at_once(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    store.hold("put")
    async with a_small_world(tmp_path, store, dirty_limit=5 * MIB) as world:
        await world.close((await fill(world))[0])
    async with a_small_world(tmp_path, store, dirty_limit=5 * MIB) as world:
        assert world.space.report()["state"] == "waiting"
        with pytest.raises(NoSpace):
            await world.write_file("b", b"more")


async def test_staging_is_told_apart_as_no_drain_makes_room_for_it(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    async with a_small_world(tmp_path, store) as world:
        await world.mkdir("_temporary")
        await world.write_file("_temporary/a", pattern(18 * MIB))
        await trio.sleep(5)
        number, _ = await fill(world)
        told = world.space.report()
        assert (told["local"], told["by"]) == (18 * MIB, "disk")
        await world.close(number)


async def test_every_byte_that_grew_is_accounted_for(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    """Written, cut, extended, emptied, removed while open, refused: in the end no byte is counted twice or for ever."""
    async with a_small_world(tmp_path, store) as world:
        number = await world.open("a", os.O_RDWR | os.O_CREAT)
        for offset, size in ((0, 100), (50, 100), (1000, 10)):
            await world.fs.write(number, offset, bytes(size))
        await world.truncate("a", 30)
        await world.truncate("a", 200)
        assert world.space.report()["dirty"] == 200
        world.fs.flush(number)
        assert world.space.report()["dirty"] == 200
        other = await world.open("a", os.O_WRONLY | os.O_TRUNC)
        assert world.space.report()["dirty"] == 0
        await world.fs.write(other, 0, bytes(10))
        await world.unlink("a")
        for each in (number, other):
            await world.close(each)
        await world.settle()
        assert world.space.report()["dirty"] == 0
