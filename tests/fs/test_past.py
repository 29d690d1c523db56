"""A cache that takes nothing, or has lost what it had: who reads goes on from the store, byte for byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.sparse import ContentLost, SparseFile
from fusecache.errors import NoSpace, Stale
from fusecache.fs.pressure import Limits
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern
from tests.fs.room import Disk, Room

BODY = pattern(24 * MIB)
ROOM = Room(Disk(1 << 40), Limits(cache_size=16 * MIB), 1.0)


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


def refuse(*_: object) -> int:
    raise NoSpace("no room")


def fail(*_: object) -> bytes:
    raise ContentLost("Input/output error")


async def in_pieces(world: Drained, name: str = "f") -> bytes:
    number, found = await world.open(name), b""
    while piece := await world.read(number, len(found), MIB + 5):
        found += piece
    await world.close(number)
    return found


async def test_a_file_is_read_that_no_disk_has_room_for(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC at every write. Once there is room, it is used again."""
    await store.foreign({"f": BODY, "small": BODY[:1000]})
    async with a_drained_world(tmp_path, store) as world:
        with monkeypatch.context() as full:
            full.setattr(SparseFile, "fill", refuse)
            assert await in_pieces(world) == BODY
            assert await world.read_file("small") == BODY[:1000]
            assert store.since()["get"] < 3 * len(BODY) // MIB
        await trio.sleep(2)
        assert await in_pieces(world) == BODY
        store.since()
        assert await in_pieces(world) == BODY
        assert store.since()["get"] == 0


async def test_so_it_is_while_the_cache_is_full_of_what_the_store_lacks(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    await store.foreign({"f": BODY})
    gate = store.hold("put")
    async with a_drained_world(tmp_path, store, room=ROOM) as world:
        await world.write_file("new", pattern(17 * MIB, 1))
        assert await in_pieces(world) == BODY
        assert world.contents.used_bytes() < 18 * MIB
        gate.set()
        await world.settle()
        assert store.content("new") == pattern(17 * MIB, 1)


async def test_a_write_that_needs_the_rest_of_its_block_has_it_beyond_the_size(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    """What is dirty may take what the disk has, so what is fetched for it may, too: else it would be ENOSPC."""
    await store.foreign({"f": BODY})
    store.hold("put")
    async with a_drained_world(tmp_path, store, room=ROOM) as world:
        await world.write_file("new", pattern(17 * MIB, 1))
        await world.write_at("f", 5 * BLOCK + 7, b"x")
        assert await in_pieces(world) == BODY[: 5 * BLOCK + 7] + b"x" + BODY[5 * BLOCK + 8 :]


async def test_what_was_written_is_among_what_was_not_kept(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is here in part, and dirty: its own bytes come from here, the others, and no more, from there."""
    body = bytearray(BODY[: 8 * MIB + 100])
    await store.foreign({"f": bytes(body)})
    async with a_drained_world(tmp_path, store, delay_s=3600) as world:
        await world.write_at("f", 3 * BLOCK, b"x" * BLOCK)
        await world.write_at("f", len(body), b"and more")
        body[3 * BLOCK : 4 * BLOCK] = b"x" * BLOCK
        body += b"and more"
        monkeypatch.setattr(SparseFile, "fill", refuse)
        assert await in_pieces(world) == bytes(body)


async def test_an_object_that_was_replaced_meanwhile_is_stale_and_never_a_mix(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.foreign({"f": BODY})
    monkeypatch.setattr(SparseFile, "fill", refuse)
    async with a_drained_world(tmp_path, store) as world:
        number = await world.open("f")
        assert await world.read(number, 0, 5) == BODY[:5]
        await store.foreign({"f": BODY[::-1]})
        with pytest.raises(Stale, match="replaced in the store"):
            await world.read(number, 5, 5)
        await world.close(number)


async def test_clean_files_are_read_though_the_disk_gives_nothing_back(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dirty ones are not made up from an older version."""
    await store.foreign({"f": BODY, "g": BODY})
    async with a_drained_world(tmp_path, store, delay_s=3600) as world:
        assert await in_pieces(world) == BODY
        await world.write_at("g", 5, b"only here")
        monkeypatch.setattr(SparseFile, "pread", fail)
        assert await in_pieces(world) == BODY
        with pytest.raises(ContentLost):
            await world.read_file("g")


async def test_the_directory_of_the_cache_is_deleted(
    tmp_path: Path, store: RecordedStore, autojump_clock: MockClock
) -> None:
    await store.foreign({"f": BODY, "g": BODY[::-1]})
    async with a_drained_world(tmp_path, store) as world:
        assert await in_pieces(world) == BODY
        shutil.rmtree(tmp_path / "contents")
        for _ in range(2):
            assert await in_pieces(world) == BODY
            assert await in_pieces(world, "g") == BODY[::-1]
        number = await world.open("new", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(ContentLost):
            await world.fs.write(number, 0, b"x")
