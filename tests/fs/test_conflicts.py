"""Somebody else changes the store between our last look and our request: neither side is destroyed.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.errors import BackendUnavailable
from fusecache.types import ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore(is_versioned=True)


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    """A world that believes for a minute what it has seen."""
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as opened:
        yield opened


def objects(store: RecordedStore) -> dict[str, bytes]:
    """What is in the store; what was kept aside without the version in its name."""
    return {re.sub(r"\.conflict-.*", ".conflict", key): data for key, data in store.objects().items()}


async def fired(backend: FaultyBackend) -> None:
    while not backend.fired:  # noqa: ASYNC110 - it has no event, and the clock jumps
        await trio.sleep(0.05)


# --- uploads ---


async def test_a_foreign_version_is_kept_beside_the_upload(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": b"1"})
    await world.write_file("f", b"ours")
    await store.foreign({"f": b"theirs"})
    await world.settle()
    assert objects(store) == {"f": b"ours", "f.conflict": b"theirs"}


async def test_a_foreign_object_under_a_new_name_is_kept(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.mkdir("d")
    await world.write_file("d/f", b"ours")
    await store.foreign({"d/f": b"theirs"})
    await world.settle()
    assert objects(store) == {"d/f": b"ours", "d/f.conflict": b"theirs"}
    await trio.sleep(61)
    assert len(await world.ls("d")) == 2


async def test_a_foreign_version_of_what_a_rename_replaces_is_kept(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"g": b"old"})
    await world.write_file("g.new", b"ours")
    await world.rename("g.new", "g")
    await store.foreign({"g": b"theirs"})
    await world.settle()
    assert objects(store) == {"g": b"ours", "g.conflict": b"theirs"}


async def test_a_file_in_parts_keeps_the_foreign_version_too(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(9 * MIB)
    await world.write_file("f", data)
    gate = store.hold("part")
    await trio.sleep(10)
    await store.foreign({"f": b"theirs"})
    gate.set()
    await world.settle()
    assert objects(store) == {"f": data, "f.conflict": b"theirs"}
    assert store.parts_left == 0


async def test_what_somebody_deleted_is_put_anew(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": b"1"})
    await world.write_file("f", b"ours")
    store.forget("f")
    await world.settle()
    assert objects(store) == {"f": b"ours"}


async def test_somebody_who_never_stops_makes_it_late_and_loses_nothing(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("f", b"ours")
    gate = store.hold("put")
    await trio.sleep(5)
    del store.gates["put"]
    for number in range(3):
        await store.foreign({"f": b"%d" % number})
        await trio.sleep(0.3)
    gate.set()
    await world.settle()
    assert objects(store) == {"f": b"ours", "f.conflict": b"2"}


# --- deletes ---


async def test_a_foreign_version_of_a_removed_file_stays(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": b"1", "g": b"2"})
    await world.unlink("f")
    await world.unlink("g")
    await store.foreign({"f": b"theirs"})
    await world.settle()
    assert objects(store) == {"f": b"theirs"}
    await trio.sleep(61)
    assert await world.read_file("f") == b"theirs"


@pytest.mark.parametrize("before", [True, False], ids=["refused", "answer lost"])
async def test_a_delete_after_an_answer_was_lost_is_of_our_own_object_only(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, before: bool
) -> None:
    """Whether the put was carried out is not known when the name goes; somebody else has put something by then."""
    backend = FaultyBackend(store, fail_at=1, failure=BackendUnavailable("reset"), before=before)
    async with a_drained_world(tmp_path, store, through=backend, ttl_s=60.0) as world:
        await world.write_file("f", b"ours")
        await fired(backend)
        await world.unlink("f")
        if before:
            await store.foreign({"f": b"theirs"})
        await world.settle()
        assert world.tasks_left() == 0
    assert objects(store) == ({"f": b"theirs"} if before else {})


# --- answers that were lost ---


async def test_our_own_object_is_no_conflict(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    backend = FaultyBackend(store, fail_at=1, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("f", b"ours")
        await world.settle()
        assert backend.fired
    assert objects(store) == {"f": b"ours"}
    # The first was carried out, the second refused: a look, and no third.
    assert store.writes == ["put f", "put f"]


async def test_our_own_older_version_is_no_conflict(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    backend = FaultyBackend(store, fail_at=1, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("f", b"ours")
        await fired(backend)
        await world.write_file("f", b"newer")
        await world.settle()
    assert objects(store) == {"f": b"newer"}


@pytest.mark.parametrize("is_lost", [True, False], ids=["answer lost", "in flight"])
async def test_a_file_renamed_while_its_object_is_replaced_leaves_nothing_behind(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, is_lost: bool
) -> None:
    """Which version is at the old key is not known when the name leaves it."""
    await store.foreign({"f": b"1"})
    fail_at = 1 if is_lost else None
    backend = FaultyBackend(store, fail_at=fail_at, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend, ttl_s=60.0) as world:
        await world.write_file("f", b"ours")
        gate = store.hold("put")
        await trio.sleep(1.5)
        await world.rename("f", "g")
        gate.set()
        await world.settle()
        assert world.tasks_left() == 0
    assert objects(store) == {"g": b"ours"}


async def test_an_object_of_ours_that_somebody_copied_elsewhere_is_theirs(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"data")
    await world.settle()
    await world.write_file("b", b"ours")
    info = await store.head(ObjectKey("a"))
    await store.copy(ObjectKey("a"), ObjectKey("b"), if_match=info.etag, size=info.size, metadata=None)
    await world.settle()
    assert objects(store) == {"a": b"data", "b": b"ours", "b.conflict": b"data"}


async def test_a_change_of_attributes_whose_answer_was_lost_loses_no_file(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """The copy onto itself has made another version."""
    data = pattern(3 * BLOCK)
    await store.foreign({"f": data})
    backend = FaultyBackend(store, fail_at=1, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend, ttl_s=60.0) as world:
        await world.setattr("f", mode=0o100600)
        await fired(backend)
        await world.rename("f", "g")
        await world.settle()
        assert not world.ns.tables.tasks.stuck()
        assert await world.read_file("g") == data
    assert objects(store) == {"g": data}


# --- copies ---


async def test_a_foreign_object_where_a_file_is_renamed_to_is_kept(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a": b"1"})
    await world.rename("a", "b")
    await store.foreign({"b": b"theirs"})
    await world.settle()
    assert objects(store) == {"b": b"1", "b.conflict": b"theirs"}


async def test_foreign_objects_where_a_directory_is_renamed_to_are_kept(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/f": b"1", "d/g": b"2"})
    await world.rename("d", "e")
    await store.foreign({"e/f": b"theirs", "e/h": b"new"})
    await world.settle()
    assert objects(store) == {"e/f": b"1", "e/g": b"2", "e/h": b"new", "e/f.conflict": b"theirs"}


async def test_a_foreign_version_in_a_renamed_directory_is_that_of_the_name(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/f": b"1", "d/g": b"2"})
    await world.stat("d/f")
    await world.rename("d", "e")
    await store.foreign({"d/f": b"theirs"})
    await world.settle()
    assert objects(store) == {"e/f": b"theirs", "e/g": b"2"}
    assert await world.read_file("e/f") == b"theirs"
    assert world.tasks_left() == 0


async def test_a_foreign_version_in_a_renamed_directory_of_a_file_changed_here_stays_where_it_is(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/f": b"1"})
    assert await world.read_file("d/f") == b"1"
    await world.setattr("d/f", mode=0o100600)
    await world.rename("d", "e")
    await store.foreign({"d/f": b"theirs"})
    await world.settle()
    assert objects(store) == {"d/f": b"theirs", "e/f": b"1"}
    assert world.tasks_left() == 0


async def test_a_foreign_version_that_comes_between_copy_and_delete_stays(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/f": b"1"})
    gate = store.hold("delete")
    await world.rename("d", "e")
    await trio.sleep(5)
    await store.foreign({"d/f": b"theirs"})
    gate.set()
    await world.settle()
    assert objects(store) == {"e/f": b"1", "d/f": b"theirs"}
    assert await world.open("e/f", os.O_RDONLY)
