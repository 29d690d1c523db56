"""What says that a dataset is complete comes after it when it moves, and leaves the old place after it.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import AccessDenied
from fusecache.types import ETag, ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern
from tests.fs.tables import TABLE, a_table, be_busy, is_finished


@pytest.fixture
async def store() -> RecordedStore:
    return await a_table()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def test_a_table_that_moves_arrives_before_its_marker_and_leaves_after_it(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.rename("t", "u")
    await world.settle()
    assert sorted(store.writes[:3]) == [f"copy t/{name} u/{name}" for name in ("a", "b", "p/c")]
    assert store.writes[3:] == ["copy t/_SUCCESS u/_SUCCESS", "delete t/_SUCCESS", "delete t/a t/b t/p/c"]


async def test_a_table_without_a_marker_is_listed_as_often_as_before(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/x": b"1", "d/y": b"2"})
    await world.rename("d", "e")
    store.since()
    await world.settle()
    assert store.since()["list"] == 3  # what is to be copied, what is there, and what is left


async def test_what_is_dirty_arrives_before_the_marker_of_a_table_that_moves(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("put")
    await world.write_file("t/p/c", b"c 2")
    await world.rename("t", "u")
    await trio.sleep(10)
    assert "copy t/_SUCCESS u/_SUCCESS" not in store.writes
    gate.set()
    await world.settle()
    assert store.writes.index("put u/p/c") < store.writes.index("copy t/_SUCCESS u/_SUCCESS")
    assert store.objects() == {"u/_SUCCESS": b"1", "u/a": b"a 1", "u/b": b"b 1", "u/p/c": b"c 2"}


async def test_a_new_marker_waits_for_the_table_that_moves_with_it(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/x": b"1"})
    gate = store.hold("copy")
    await world.write_file("d/_SUCCESS", b"")
    await world.rename("d", "e")
    await trio.sleep(10)
    assert "put e/_SUCCESS" not in store.writes
    gate.set()
    await world.settle()
    assert store.writes.index("copy d/x e/x") < store.writes.index("put e/_SUCCESS")


async def test_it_waits_for_what_came_before_it_too(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/x": b"1"})
    gate, part = store.hold("copy"), store.hold("part")
    await world.write_file("d/y", pattern(9 * MIB))
    await world.write_file("d/_SUCCESS", b"")
    await world.rename("d", "e")
    await trio.sleep(10)
    gate.set()
    await trio.sleep(10)
    assert "put e/_SUCCESS" not in store.writes
    part.set()
    await world.settle()
    assert store.objects().keys() - TABLE.keys() == {"e/_SUCCESS", "e/x", "e/y"}


async def test_an_open_file_does_not_keep_a_table_where_it_was(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    number = await world.open("t/a", os.O_WRONLY)
    await world.fs.write(number, 0, b"a 2")
    await world.rename("t", "u")
    assert await is_finished(world)
    assert store.objects()["u/_SUCCESS"] == b"1"
    await world.close(number)
    await world.settle()
    assert store.objects()["u/a"] == b"a 2"


async def test_nor_does_one_that_goes_on_to_another_name(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """What is to arrive there waits for the table to be told where that is."""
    await be_busy(world, store)
    gate = store.hold("copy")
    await world.write_file("t/p/c", b"c 2")
    await world.rename("t", "u")
    await trio.sleep(0.5)
    store.hold("put")
    await trio.sleep(2)
    await world.rename("u", "v")
    gate.set()
    store.gates["put"].set()
    await trio.sleep(30)
    assert store.objects() == {"v/_SUCCESS": b"1", "v/a": b"a 1", "v/b": b"b 1", "v/p/c": b"c 2"}


async def test_nor_does_one_that_waits_for_what_is_stuck(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = PickyStore()
    await store.foreign(TABLE)
    gate = store.hold("put")
    async with a_drained_world(tmp_path, store) as world:
        await world.read_file("t/a")
        await world.write_file("t/new", b"new")
        await world.rename("t", "u")
        await trio.sleep(10)
        await world.rename("u/a", "x")
        await world.rename("u/new", "u/a")
        gate.set()
        await trio.sleep(60)
        assert [each["path"] for each in world.persister.report().stuck] == ["x"]
        assert store.objects()["u/_SUCCESS"] == b"1"


class PickyStore(RecordedStore):
    """Takes no `x`."""

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        if target == "x":
            raise AccessDenied("x: no")
        return await super().copy(source, target, if_match=if_match, size=size, metadata=metadata)


async def test_tables_change_places(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"u/_SUCCESS": b"2", "u/a": b"a 2"})
    await world.exchange("t", "u")
    await world.write_file("t/_SUCCESS", b"3")
    assert await is_finished(world)
    moved = {f"u{key[1:]}": data for key, data in TABLE.items()}
    assert store.objects() == moved | {"t/_SUCCESS": b"3", "t/a": b"a 2"}


@pytest.mark.slow
@pytest.mark.parametrize("crash_s", [None, 1.5, 2.5, 3.5, 4.5])
async def test_the_markers_of_more_than_a_page_come_last(
    autojump_clock: MockClock, tmp_path: Path, crash_s: float | None
) -> None:
    store = RecordedStore()
    files = {f"{n:04}": b"%d" % n for n in range(2100)} | {".hoodie/1.commit": b"1", "0007x/_SUCCESS": b"7"}
    await store.foreign({f"d/{name}": data for name, data in files.items()})
    store.writes.clear()
    store.pause_s = 0.002
    async with a_drained_world(tmp_path, store) as world:
        await world.rename("d", "e")
        if crash_s is None:
            await world.settle()
        else:
            await trio.sleep(crash_s)
    async with a_drained_world(tmp_path, store) as world:
        await world.settle()
    assert store.objects() == {f"e/{name}": data for name, data in files.items()}
    copies = [each.split()[2] for each in store.writes if each.startswith("copy")]
    assert not {"e/.hoodie/1.commit", "e/0007x/_SUCCESS"} & {*copies[:2100]}
    deletes = [each for each in store.writes if each.startswith("delete")]
    assert deletes[0] == "delete d/.hoodie/1.commit d/0007x/_SUCCESS"
