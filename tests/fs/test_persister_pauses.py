"""What is paused is kept, and nothing of it reaches the store, until it is resumed.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.persist.settings import Settings
from fusecache.types import ROOT_INO
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def test_nothing_below_a_paused_path_is_changed_in_the_store(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"p/old": b"1", "p/moved": b"2", "q/old": b"3", "pp": b"4"})
    await world.persister.pause("p")
    await world.write_file("p/new", b"5")
    await world.unlink("p/old")
    await world.rename("p/moved", "q/moved")
    await world.rename("q/old", "p/from-q")
    await world.mkdir("p/empty")
    await world.unlink("pp")
    told = await world.persister.drain()
    assert store.objects() == {"p/old": b"1", "p/moved": b"2", "q/moved": b"2", "q/old": b"3"}
    assert told.files_left == told.paused > 0
    assert not told.stuck
    assert await world.persister.resume("p") == ["p"]
    told = await world.persister.drain()
    assert (told.files_left, told.paused) == (0, 0)
    assert store.objects() == {"p/new": b"5", "q/moved": b"2", "p/from-q": b"3", "p/empty/": b""}


async def test_a_tree_that_touches_a_paused_path_is_not_moved(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a/p/f": b"1", "b/f": b"2"})
    await world.persister.pause("a/p")
    await world.ls("a/p")
    await world.rename("a", "c")
    await world.mkdir("a")
    await world.mkdir("a/p")
    await world.rename("b", "a/p/b")
    told = await world.persister.drain()
    assert told.paused > 0
    assert store.objects() == {"a/p/f": b"1", "b/f": b"2"}
    await world.persister.resume("")
    await world.settle()
    assert store.objects() == {"c/p/f": b"1", "a/p/b/f": b"2"}


async def test_a_flush_does_not_wait_for_what_waits_for_a_pause(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.persister.pause("t/part=1")
    await world.mkdir("t")
    await world.mkdir("t/part=1")
    await world.write_file("t/part=1/f", b"1")
    await world.write_file("t/_SUCCESS", b"")
    told = await world.persister.flush((await world.stat("t/_SUCCESS")).ino)
    assert (told.files_left, told.paused) == (1, 1)
    report = world.persister.report()
    assert report.paused == ("/t/part=1",)
    assert report.limited_by == "a dependency: commit marker t/_SUCCESS waits for t/part=1/f, which is paused"
    assert store.objects() == {}
    await world.persister.resume("")
    await world.settle()
    assert list(store.objects()) == ["t/_SUCCESS", "t/part=1/f"]


async def test_a_pause_outlives_the_daemon(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with a_drained_world(tmp_path, store) as world:
        await world.mkdir("p")
        await world.write_file("p/f", b"1")
        await world.persister.pause("p")
        assert (await world.persister.drain()).paused == 1  # its file tells of the directory
    async with a_drained_world(tmp_path, store) as world:
        await trio.sleep(100)
        assert (await world.persister.drain()).paused == 1  # of the directory its file tells
        assert world.persister.report().limited_by == "a pause, until `fusecache resume`"
        assert store.objects() == {}
        assert await world.persister.resume("other") == []
        await world.persister.resume("p")
        await world.settle()
        assert store.objects() == {"p/f": b"1"}


async def test_a_pause_ends_what_is_under_way(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    settings = Settings(multipart_threshold=8 * MIB, part_size=5 * MIB)
    data = pattern(12 * MIB)
    async with a_drained_world(tmp_path, store, settings=settings) as world:
        part = store.hold("part")
        await world.write_file("big", data)
        await trio.sleep(10)
        assert store.writes == ["multipart big"]
        await world.persister.pause("big")
        assert "0 tasks" in repr(world.persister)
        part.set()
        await trio.sleep(10)
        assert store.objects() == {}
        await world.persister.resume("big")
        await world.settle()
        assert store.objects() == {"big": data}


async def test_a_large_backlog_is_resumed(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.persister.pause("")
    for n in range(600):
        await world.write_file(f"f{n}", b"1")
    assert (await world.persister.flush(ROOT_INO)).paused == 600
    await world.persister.resume("")
    await world.settle()
    assert len(store.objects()) == 600


async def test_a_move_under_way_is_paused_and_goes_on(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a/f": b"1", "a/g": b"2"})
    copying = store.hold("copy")
    await world.rename("a", "b")
    await trio.sleep(10)
    assert sorted(store.writes[-2:]) == ["copy a/f b/f", "copy a/g b/g"]
    await world.persister.pause("b/f")
    assert "0 tasks, 0 keys>, 0 requests" in repr(world.persister)
    copying.set()
    assert (await world.persister.drain()).paused > 0
    assert store.objects() == {"a/f": b"1", "a/g": b"2"}
    assert (await world.describer.describe(b"b/f"))["paused"] is True
    assert (await world.describer.describe(b"b/g"))["paused"] is False
    await world.persister.resume("")
    await world.settle()
    assert store.objects() == {"b/f": b"1", "b/g": b"2"}


async def test_while_all_is_paused_no_end_is_told(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("f", pattern(1 << 20))
    await world.settle()
    await world.persister.pause("")
    await world.write_file("g", pattern(1 << 20))
    report = world.persister.report()  # within its delay: not parked yet
    assert (report.files_dirty, report.files_paused) == (1, 0)
    assert (report.limited_by, report.eta_s) == ("a pause, until `fusecache resume`", None)
