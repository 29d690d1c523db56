"""Of a large object that the kernel itself has changed, little is sent: what it left alone is found out afterwards."""

from __future__ import annotations

import mmap
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.sums import SUM_BYTES
from tests.fs.draining import MIB, Drained, PromptOriginals, RecordedStore, a_drained_world
from tests.fs.handing import handed
from tests.fs.test_reuse import BIG, CHANGED, COPIED, MIDDLE, HaveItAll, read_all, write_all

DELAY_S = 5.0


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@asynccontextmanager
async def backed(root: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(root, store, delay_s=DELAY_S, block_size=SUM_BYTES) as world:
        world.fs.back_files()
        yield world


async def change(world: Drained, offset: int, data: bytes, *, size: int | None = None) -> None:
    """Write as the kernel does."""
    file = await handed(world, "big", os.O_RDWR)
    os.pwrite(file.fd, data, offset)
    if size is not None:
        os.ftruncate(file.fd, size)
    await file.close()


async def sent(world: Drained, store: RecordedStore) -> list[str]:
    """Drain, after the upkeep has looked at what was written, and return the parts that were sent."""
    await world.upkeep.seal()
    store.parts.clear()
    await world.settle()
    return sorted(store.parts)


@pytest.mark.parametrize("have_it_all", [read_all, write_all])
async def test_what_was_left_alone_is_copied(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, have_it_all: HaveItAll
) -> None:
    async with backed(tmp_path, store) as world:
        await have_it_all(world, store)
        await change(world, MIDDLE, b"changed")
        assert await sent(world, store) == COPIED
        assert store.content("big") == CHANGED
        await change(world, len(BIG), b"more")
        assert await sent(world, store) == ["big 1 copied", "big 2"]
        assert store.content("big") == CHANGED + b"more"
        assert await world.read_file("big") == CHANGED + b"more"
        assert (await world.describer.describe(b"big"))["state"] == "clean"


@pytest.mark.parametrize("size", [6 * MIB + 5, len(BIG)], ids=["at once", "in parts"])
async def test_of_what_was_sent_it_is_known_what_it_hashes_to(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, size: int
) -> None:
    """Also if nobody had looked before: so the kernel may change it, and little of it is sent."""
    async with backed(tmp_path, store) as world:
        file = await handed(world, "big", os.O_WRONLY | os.O_CREAT)
        os.pwrite(file.fd, BIG[:size], 0)
        await file.close()
        await world.settle()
        await change(world, 0, b"changed")
        assert store.content("big") == BIG[:size]
        await world.settle()
        assert store.content("big") == b"changed" + BIG[7:size]


async def test_the_same_bytes_again_are_no_change(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with backed(tmp_path, store) as world:
        await read_all(world, store)
        await change(world, MIDDLE, BIG[MIDDLE : MIDDLE + MIB])
        assert await sent(world, store) == ["big 1 copied"]
        assert store.content("big") == BIG


@pytest.mark.parametrize("size", [MIDDLE + 100, len(BIG) + 3 * MIB])
async def test_what_was_cut_or_extended_is_not_taken_for_the_same(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, size: int
) -> None:
    async with backed(tmp_path, store) as world:
        await read_all(world, store)
        file = await handed(world, "big", os.O_RDWR)
        await world.truncate("big", MIDDLE + 10)
        await world.truncate("big", size)
        await file.close()
        assert "big 1 copied" in await sent(world, store)
        expected = BIG[: MIDDLE + 10].ljust(size, b"\0")
        assert store.content("big") == await world.read_file("big") == expected


async def test_nothing_is_known_as_long_as_somebody_may_write(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """By a mapping that outlives the close, or by an open that comes while the bytes are compared."""
    async with backed(tmp_path, store) as world:
        await read_all(world, store)
        file = await handed(world, "big", os.O_RDWR)
        mapping = mmap.mmap(file.fd, len(BIG))
        await file.close()
        await trio.sleep(2 * DELAY_S)
        assert store.content("big") == BIG
        mapping[MIDDLE : MIDDLE + 7] = b"changed"
        mapping.close()
        assert await sent(world, store) == COPIED
        assert store.content("big") == CHANGED


async def test_what_is_written_again_while_it_is_compared(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PromptOriginals._read
    async with backed(tmp_path, store) as world:
        await read_all(world, store)
        await change(world, MIDDLE, b"chan")

        async def and_then(*arguments: object) -> object:
            monkeypatch.undo()
            found = await read(world.contents.originals, *arguments)  # type: ignore[arg-type] - as it is called
            await change(world, MIDDLE + 4, b"ged")
            await change(world, 0, b"first")
            return found

        monkeypatch.setattr(world.contents.originals, "_read", and_then)
        await world.settle()
        assert store.content("big") == b"first" + CHANGED[5:]


async def test_the_next_daemon_sends_all_of_it(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with backed(tmp_path, store) as world:
        await read_all(world, store)
        await change(world, MIDDLE, b"changed")
    async with backed(tmp_path, store) as world:
        assert not any("copied" in part for part in await sent(world, store))
        assert store.content("big") == await world.read_file("big") == CHANGED


async def test_a_crash_while_the_kernel_writes(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with backed(tmp_path, store) as world:
        await read_all(world, store)
        file = await handed(world, "big", os.O_RDWR)
        os.pwrite(file.fd, b"changed", MIDDLE)
        os.pwrite(file.fd, b"more", len(BIG))
        os.close(file.fd)
        for content in world.contents.opened():
            content.file.let_go()  # as the death of a process does
    async with backed(tmp_path, store) as world:
        await world.settle()
        assert store.content("big") == await world.read_file("big") == CHANGED + b"more"


async def test_what_a_hand_changed_before(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    """A dirty file is handed over: what was changed before by requests is not the version's any more."""
    async with backed(tmp_path, store) as world:
        await store.foreign({"big": BIG})
        number = await world.open("big", os.O_RDWR)
        assert len(await world.read(number)) == len(BIG)
        await world.fs.write(number, 3 * MIB, b"first")
        await world.close(number)
        await world.upkeep.seal()
        await change(world, MIDDLE, b"changed")
        parts = await sent(world, store)
        assert any("copied" in part for part in parts)
        assert store.content("big") == CHANGED[: 3 * MIB] + b"first" + CHANGED[3 * MIB + 5 :]
