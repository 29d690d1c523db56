"""A name that still reads where it was before: what belongs there now waits for it, and so does the delete.

The files are larger than a block and nobody has read them, so that their bytes are in the store alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.errors import AccessDenied
from fusecache.fs.absent import SMALL_BYTES
from fusecache.types import ETag, Extent, HandleNo, ObjectKey
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern

A, B, C = (pattern(3 * BLOCK + 7, seed=seed) for seed in (1, 2, 3))


@pytest.fixture
async def store() -> RecordedStore:
    """Somebody else's files; what we write is recorded from here on."""
    store = RecordedStore()
    await store.foreign({"a": A, "b": B, "c": C})
    store.writes.clear()
    return store


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


# --- writes ---


async def test_a_new_file_waits_until_what_was_there_has_been_copied_away(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("copy")
    await world.rename("a", "x")
    await world.write_file("a", b"new")
    await trio.sleep(30)
    assert store.writes == ["copy a x"]
    assert await world.read_file("x") == A
    gate.set()
    await world.settle()
    assert store.writes == ["copy a x", "put a"]
    assert store.objects() == {"a": b"new", "b": B, "c": C, "x": A}


async def test_a_new_file_waits_for_a_copy_that_the_store_refuses(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    backend = FaultyBackend(store, fail_at=1, failure=AccessDenied("no"))
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.rename("a", "x")
        await trio.sleep(2)
        assert [entry["path"] for entry in world.persister.report().stuck] == ["x"]
        await world.write_file("a", b"new")
        await trio.sleep(10)
        assert store.writes == []
        await trio.sleep(3600)
        assert store.writes == ["copy a x", "put a"]
        assert store.objects() == {"a": b"new", "b": B, "c": C, "x": A}


async def test_a_file_moved_there_waits_likewise(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("copy")
    await world.rename("a", "x")
    await trio.sleep(2)
    await world.rename("b", "a")
    await trio.sleep(30)
    assert store.writes == ["copy a x"]
    gate.set()
    await world.settle()
    assert store.writes[:2] == ["copy a x", "copy b a"]
    assert store.objects() == {"a": B, "c": C, "x": A}


@pytest.mark.parametrize("names", ["ab", "abc"])
async def test_files_change_places_in_the_store(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, names: str
) -> None:
    """Each waits for the next: one of them steps aside, none is overwritten before it was copied."""
    before = store.objects()
    await world.rename(names[0], "t")
    for old, new in zip(names[1:], names[:-1], strict=True):
        await world.rename(old, new)
    await world.rename("t", names[-1])
    expected = before | {new: before[old] for new, old in zip(names, names[1:] + names[0], strict=True)}
    store.since()
    await world.settle()
    assert store.since()["get"] == 0
    assert store.objects() == expected
    assert {name: await world.read_file(name) for name in expected} == expected
    assert store.since()["get"] > 0


# --- deletes ---


async def test_a_file_written_and_removed_there_does_not_take_the_object_along(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("copy")
    await world.rename("a", "x")
    await world.write_file("a", b"new")
    await world.unlink("a")  # the delete that an upload would have made needless is due now
    await trio.sleep(30)
    assert store.writes == ["copy a x"]
    assert await world.read_file("x") == A
    gate.set()
    await world.settle()
    assert store.writes == ["copy a x", "delete a"]
    assert store.objects() == {"b": B, "c": C, "x": A}


async def test_a_file_renamed_while_it_was_sent_is_kept_until_it_is_copied(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """Its delete is due from the rename on: then nobody knew yet whether the upload would succeed."""
    sent, copied = store.hold("put"), store.hold("copy")
    await world.write_file("new", b"1")
    await trio.sleep(2)
    await world.rename("new", "x")
    sent.set()
    await trio.sleep(30)
    assert store.writes == ["put new", "copy new x"]
    copied.set()
    await world.settle()
    assert store.writes == ["put new", "copy new x", "delete new"]
    assert store.objects() == {"a": A, "b": B, "c": C, "x": b"1"}


# --- open files ---


class Awaited(RecordedStore):
    """GETs wait while `gate` is closed: what is read in the store cannot be brought here meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.gate.set()

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        await self.gate.wait()
        return await super().get(key, extent, if_match=if_match)


LAKE = pattern(SMALL_BYTES + BLOCK, seed=9)
"""Nobody fetches it whole for a look at its middle."""


@asynccontextmanager
async def looked_into(root: Path, path: str) -> AsyncIterator[tuple[Drained, Awaited, HandleNo]]:
    """A file is open of which a little was read: the rest is in the store alone, which gives no more of it for now."""
    store = Awaited()
    await store.foreign({path: LAKE, "a": A, "e/lake": A})
    async with a_drained_world(root, store) as world:
        number = await world.open(path)
        assert await world.read(number, 32 * BLOCK, 5) == LAKE[32 * BLOCK :][:5]
        store.gate = trio.Event()
        store.writes.clear()
        yield world, store, number


async def keeps_what_it_reads(world: Drained, store: Awaited, number: HandleNo, path: str) -> None:
    await trio.sleep(30)
    assert store.objects()[path] == LAKE
    store.gate.set()
    assert await world.read(number) == LAKE
    await world.close(number)
    await world.settle()


async def test_what_an_open_file_reads_is_not_deleted(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_into(tmp_path, "lake") as (world, store, number):
        await world.unlink("lake")
        await keeps_what_it_reads(world, store, number, "lake")
        assert store.writes == ["delete lake"]


async def test_nor_overwritten_by_a_new_file(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_into(tmp_path, "lake") as (world, store, number):
        await world.unlink("lake")
        await world.write_file("lake", b"new")
        await keeps_what_it_reads(world, store, number, "lake")
        assert store.objects()["lake"] == b"new"


async def test_nor_by_a_file_that_is_moved_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_into(tmp_path, "lake") as (world, store, number):
        await world.rename("a", "lake")
        await keeps_what_it_reads(world, store, number, "lake")
        assert store.objects()["lake"] == A


async def test_nor_by_a_directory_that_is_moved_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with looked_into(tmp_path, "d/lake") as (world, store, number):
        await world.unlink("d/lake")
        await world.rename("e", "d")
        await keeps_what_it_reads(world, store, number, "d/lake")
        assert {key for key in store.objects() if "lake" in key} == {"d/lake"}
        assert store.objects()["d/lake"] == A
