"""What reaches the store, in which order and with how many requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.types import Extent, ObjectKey
from tests.fs.draining import Drained, RecordedStore, a_drained_world


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore, autojump_clock: MockClock) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def test_create_and_rename_is_one_put(world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.rename("a", "b")
    await world.settle()
    assert store.writes == ["put b"]
    assert world.tasks_left() == 0


async def test_create_and_unlink_is_no_request(world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.unlink("a")
    await world.settle()
    assert store.writes == []


async def test_an_overwrite_replaces_the_object(world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.settle()
    await world.write_file("a", b"22")
    await world.settle()
    assert store.objects() == {"a": b"22"}
    assert store.writes == ["put a", "put a"]


async def test_rename_of_a_clean_file_is_a_copy_and_a_delete(world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.settle()
    await world.rename("a", "b")
    await world.settle()
    assert store.writes == ["put a", "copy a b", "delete a"]
    assert await world.read_file("b") == b"1"
    assert store.since()["get"] == 0


async def test_swapped_files(world: Drained, store: RecordedStore) -> None:
    for name in "ab":
        await world.write_file(name, name.encode())
    await world.settle()
    await world.rename("a", "t")
    await world.rename("b", "a")
    await world.rename("t", "b")
    await world.settle()
    assert store.objects() == {"a": b"b", "b": b"a"}
