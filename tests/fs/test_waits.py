"""What a change waits for, in words: `stat` names it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def told(world: Drained) -> tuple[str, ...]:
    await trio.sleep(10)
    return world.persister.report().waiting


async def finished(world: Drained, store: RecordedStore) -> None:
    for gate in store.gates.values():
        gate.set()
    await world.settle()
    await trio.sleep(10)  # nobody waits for what waited for a reader
    report = world.persister.report()
    assert (report.files_dirty, report.waiting, report.limited_by) == (0, (), None)


async def test_a_marker_waits_for_its_tree(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    store.hold("put")
    await world.mkdir("t")
    await world.write_file("t/f", b"1")
    await world.write_file("t/_SUCCESS", b"")
    assert await told(world) == ("commit marker t/_SUCCESS waits for t/f",)
    await finished(world, store)


async def test_data_waits_until_the_old_marker_is_gone(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"t/_SUCCESS": b"", "t/f": b"1"})
    store.hold("delete")
    await world.unlink("t/_SUCCESS")
    await world.write_file("t/f", b"2")
    assert await told(world) == ("t/f waits until the old commit marker t/_SUCCESS is deleted",)
    await finished(world, store)
    assert store.objects() == {"t/f": b"2"}


async def test_what_comes_to_an_old_path_waits_for_the_move(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a/f": b"1"})
    store.hold("copy")
    await world.rename("a", "b")
    await world.mkdir("a")
    await world.write_file("a/f", b"2")
    assert await told(world) == ("a/f waits for the move of b",)
    await finished(world, store)
    assert store.objects() == {"a/f": b"2", "b/f": b"1"}


async def test_what_is_in_the_place_of_a_file_waits_for_its_delete(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a": b"1"})
    store.hold("delete")
    await world.unlink("a")
    await world.mkdir("a")
    await world.write_file("a/f", b"2")
    assert "a/f waits for the delete of a" in await told(world)
    await finished(world, store)
    assert store.objects() == {"a/f": b"2"}


async def test_a_new_file_waits_for_the_old_one_that_moved(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": b"1"})
    store.hold("copy")
    await world.rename("f", "g")
    await world.write_file("f", b"2")
    assert await told(world) == ("f waits for g, which is still read from there",)
    await finished(world, store)
    assert store.objects() == {"f": b"2", "g": b"1"}


async def test_a_delete_waits_for_whoever_reads(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": pattern(4 << 20)})
    store.gate = trio.Event()  # what the file lacks here is fetched, but does not come
    reader = await world.open("f")
    await world.unlink("f")
    assert await told(world) == ("the delete of f waits for whoever has it open",)
    store.gate.set()
    await world.close(reader)
    await finished(world, store)
    assert store.objects() == {}
