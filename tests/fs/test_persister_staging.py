"""What is below a staging name stays here; what says that a dataset is complete comes last.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.fs.draining import Drained, RecordedStore, a_drained_world


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def committed(world: Drained, store: RecordedStore, *, count: int = 5) -> None:
    """Write a dataset as Spark's FileOutputCommitter does."""
    for path in ("out", "out/_temporary", "out/_temporary/0"):
        await world.mkdir(path)
    for n in range(count):
        await world.write_file(f"out/_temporary/0/{n}", b"%d" % n)
    await world.settle()
    assert not [key for key in sorted(store.objects()) if "_temporary" in key]
    for n in range(count):
        await world.rename(f"out/_temporary/0/{n}", f"out/{n}")
    await world.rmdir("out/_temporary/0")
    await world.rmdir("out/_temporary")
    await world.write_file("out/_SUCCESS", b"")


async def test_staging_is_never_uploaded_and_success_comes_last(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await committed(world, store)
    await world.settle()
    assert store.writes[-1] == "put out/_SUCCESS"
    assert sorted(store.objects()) == [*(f"out/{n}" for n in range(5)), "out/_SUCCESS"]
    assert world.persister.report().files_local == 0


async def test_a_marker_waits_for_a_file_that_the_store_refuses_for_now(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("put")
    await committed_quickly(world)
    await trio.sleep(60)
    assert store.writes == ["put t/data"]
    gate.set()
    await world.settle()
    assert store.writes == ["put t/data", "put t/_delta_log/0.json"]


async def committed_quickly(world: Drained) -> None:
    await world.mkdir("t")
    await world.mkdir("t/_delta_log")
    await world.write_file("t/data", b"1")
    await world.write_file("t/_delta_log/0.json", b"{}")


async def test_local_files_are_counted_and_not_waited_for(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file(".x.tmp", b"123")
    told = await world.persister.drain()
    assert told.files_left == 0
    report = world.persister.report()
    assert (report.files_local, report.bytes_local, report.files_dirty) == (1, 3, 0)
    await world.rename(".x.tmp", "x")
    await world.settle()
    assert store.objects() == {"x": b"123"}


async def test_a_file_in_the_store_is_clean_though_another_link_of_it_is_local(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"123")
    await world.settle()
    await world.mkdir("_temporary")
    await world.link("a", "_temporary/a")
    await world.settle()
    assert [await state(world, path) for path in ("a", "_temporary/a")] == ["clean", "local"]
    await world.write_at("a", 0, b"4")
    assert await state(world, "a") == "dirty"
    await world.rename("a", "_temporary/b")
    await world.settle()
    assert store.objects() == {"_temporary/b": b"423"}, "what was in the store has moved"
    assert [await state(world, f"_temporary/{name}") for name in "ab"] == ["local", "clean"]


async def state(world: Drained, path: str) -> str:
    told: str = (await world.describer.describe(path.encode()))["state"]
    return told


async def test_a_marker_that_stepped_aside_replaces_the_old_one(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """It waits for what came before it, but not for the delete of its own key, which waits for it."""
    await store.foreign({"f": b"new", "d/x": b"below", "_SUCCESS": b"old"})
    async with a_drained_world(tmp_path, store) as world:
        await world.exchange("f", "d")
        await world.rename("d", "_SUCCESS")
        await world.settle()
    assert store.objects() == {"_SUCCESS": b"new", "f/x": b"below"}
