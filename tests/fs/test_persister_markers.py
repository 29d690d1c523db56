"""What says that a dataset is complete goes before the dataset changes, and comes after it has moved.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import AccessDenied
from fusecache.types import DeleteOutcome, ETag, ObjectKey
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


# --- first ---


async def test_a_table_is_overwritten_between_its_markers(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.unlink("t/_SUCCESS")
    await world.write_file("t/a", b"a 2")
    await world.unlink("t/b")
    await world.unlink("t/p/c")
    await world.write_file("t/p/d", b"d 2")
    await world.write_file("t/_SUCCESS", b"2")
    await world.settle()
    first, *data, last = store.writes
    assert (first, last) == ("delete t/_SUCCESS", "put t/_SUCCESS")
    assert sorted(data) == ["delete t/b t/p/c", "put t/a", "put t/p/d"]


async def test_a_table_is_removed_after_its_marker_in_whatever_order(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.unlink("t/a")
    await world.unlink("t/_SUCCESS")
    await world.unlink("t/b")
    await world.settle()
    assert store.writes == ["delete t/_SUCCESS", "delete t/a t/b"]


async def test_what_was_written_before_a_marker_was_removed_does_not_wait_for_that(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("delete")
    await world.write_file("t/a", b"a 2")
    await world.unlink("t/_SUCCESS")
    await trio.sleep(10)
    assert sorted(store.writes) == ["delete t/_SUCCESS", "put t/a"]
    gate.set()
    await world.settle()


async def test_nobody_waits_in_another_tree(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    gate = store.hold("delete")
    await world.unlink("t/_SUCCESS")
    await world.write_file("t/a", b"a 2")
    await world.write_file("u", b"u 2")
    await trio.sleep(10)
    assert sorted(store.writes) == ["delete t/_SUCCESS", "put u"]
    gate.set()
    await world.settle()
    assert store.writes[-1] == "put t/a"


async def test_the_markers_of_one_tree_go_together(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({f"t/_delta_log/{n}.json": b"%d" % n for n in range(5)})
    store.writes.clear()
    for n in range(5):
        await world.unlink(f"t/_delta_log/{n}.json")
    await world.unlink("t/a")
    await world.settle()
    of_data = [write for write in store.writes if not write.endswith("/")]
    assert of_data[0].split() == ["delete", *(f"t/_delta_log/{n}.json" for n in range(5))]


async def test_what_moves_into_a_table_waits_for_the_marker_to_go(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"new/x": b"x"})
    store.writes.clear()
    await world.unlink("t/_SUCCESS")
    await world.rename("new", "t/q")
    await world.settle()
    assert store.writes == ["delete t/_SUCCESS", "copy new/x t/q/x", "delete new/x"]


async def test_a_marker_that_becomes_data_steps_aside(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await be_busy(world, store)
    await world.rename("t/_SUCCESS", "t/a")
    await trio.sleep(10)
    store.writes.remove("multipart busy")
    assert [each.split()[:2] for each in store.writes][:2] == [["copy", "t/_SUCCESS"], ["delete", "t/_SUCCESS"]]
    assert store.objects() == {"t/a": b"1", "t/b": b"b 1", "t/p/c": b"c 1"}


async def test_so_does_one_that_was_written_to(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.write_file("t/_SUCCESS", b"data")
    await world.rename("t/_SUCCESS", "t/a")
    await world.settle()
    targets = [each.split()[-1] for each in store.writes]
    assert targets.index("t/_SUCCESS") < targets.index("t/a")
    assert store.objects() == {"t/a": b"data", "t/b": b"b 1", "t/p/c": b"c 1"}


async def test_what_was_written_before_and_comes_after_waits(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """Under another name, or below another directory: the rename is what readers must not see."""
    await world.mkdir("new")
    await world.mkdir("new/q")
    await world.write_file("new/a", b"a 2")
    await world.write_file("new/q/d", b"d 2")
    await world.unlink("t/_SUCCESS")
    await world.rename("new/a", "t/a")
    await world.rename("new/q", "t/q")
    await world.settle()
    first = store.writes.index("delete t/_SUCCESS")
    assert first < min(store.writes.index(each) for each in ("put t/a", "put t/q/d"))


@pytest.mark.parametrize("call", ["rename", "link"])
async def test_a_file_that_becomes_a_marker_waits_for_what_was_written_meanwhile(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, call: str
) -> None:
    gate = store.hold("part")
    await world.write_file("new", b"2")
    await world.write_file("t/a", pattern(9 * MIB))
    await getattr(world, call)("new", "t/_committed_2")
    await trio.sleep(10)
    assert "t/_committed_2" not in store.objects()
    gate.set()
    await world.settle()
    assert store.objects()["t/_committed_2"] == b"2"


async def test_a_marker_that_is_put_back_holds_up_nobody(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.rename("t/_SUCCESS", "t/_old")
    await world.write_file("t/a", b"a 2")
    await world.rename("t/_old", "t/_SUCCESS")
    await world.settle()
    assert store.writes == ["put t/a"]


async def test_a_removed_marker_that_somebody_reads_holds_up_nobody(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    number = await world.open("t/_SUCCESS", os.O_RDONLY)
    store.gate = trio.Event()  # its bytes are on the way, for as long as it takes
    await world.unlink("t/_SUCCESS")
    await world.write_file("t/a", b"a 2")
    assert await is_finished(world)
    assert (store.objects()["t/a"], "t/_SUCCESS" in store.objects()) == (b"a 2", True)
    store.gate.set()
    await trio.sleep(10)
    assert "t/_SUCCESS" not in store.objects()
    await world.close(number)


async def test_nor_does_one_that_is_being_written_under_another_name(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    number = await world.open("t/_SUCCESS", os.O_WRONLY)
    await world.fs.write(number, 0, b"x")
    await world.rename("t/_SUCCESS", "x")
    await world.write_file("t/a", b"a 2")
    assert await is_finished(world)
    assert store.objects()["t/a"] == b"a 2"
    await world.close(number)
    await world.settle()
    assert store.objects() == {"t/a": b"a 2", "t/b": b"b 1", "t/p/c": b"c 1", "x": b"x"}


async def test_who_waits_for_a_file_does_not_wait_for_the_delay_of_the_marker(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=3600.0) as world:
        await world.unlink("t/_SUCCESS")
        await world.write_file("t/a", b"a 2")
        with trio.fail_after(60):
            await world.persister.flush((await world.stat("t/a")).ino)
    assert store.writes == ["delete t/_SUCCESS", "put t/a"]


class KeepingStore(RecordedStore):
    """Lets nobody delete."""

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        return [DeleteOutcome(key, AccessDenied(f"{key}: no")) for key in keys]


async def test_a_marker_that_may_not_be_deleted_does_not_keep_the_data_here(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    store = KeepingStore()
    await store.foreign(TABLE)
    async with a_drained_world(tmp_path, store) as world:
        await world.unlink("t/_SUCCESS")
        await world.write_file("t/a", b"a 2")
        told = await world.persister.drain()
    assert store.objects()["t/a"] == b"a 2"
    assert [each["path"] for each in told.stuck] == ["t/_SUCCESS"]


async def test_a_table_whose_marker_is_removed_last_is_whole_until_then(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """Who does that lists it, and it takes longer than the delay, as there are many."""
    await world.ls("t")
    for name in "ab":
        await world.unlink(f"t/{name}")
        await trio.sleep(0.8)
    assert store.writes == []
    await world.unlink("t/_SUCCESS")
    await trio.sleep(10)
    assert store.writes[0] == "delete t/_SUCCESS"
    assert store.objects() == {"t/p/c": b"c 1"}


async def test_nobody_steps_aside_for_a_delete_that_has_its_time(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"x": b"x"} | {f"t/p/{n}": b"" for n in range(10)})
    store.writes.clear()
    await world.ls("t")
    await world.unlink("t/a")
    await world.mkdir("t/a")
    await world.rename("x", "t/a/x")
    for n in range(10):
        await world.unlink(f"t/p/{n}")
        await trio.sleep(0.5)
    await trio.sleep(10)
    assert store.writes[0].startswith("delete t/a ")
    assert store.writes[1:] == ["copy x t/a/x", "delete x"]


async def test_a_flush_waits_for_no_other_delete(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.ls("t")
    await world.unlink("t/a")
    await trio.sleep(0.8)
    await world.unlink("t/b")
    await world.persister.drain()
    assert store.writes == ["delete t/a t/b"]
