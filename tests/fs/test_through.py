"""Closes that wait for the store.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.base import Backend, Source
from fusecache.backends.fault import FaultyBackend
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority
from fusecache.config import MARKERS, STAGING
from fusecache.config.rules import Rule, Rules
from fusecache.errors import BackendUnavailable, StoreRefused, StoreUnreachable
from fusecache.persist.settings import Settings
from fusecache.types import ETag, ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

PATIENCE_S = 60.0


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@asynccontextmanager
async def waiting(
    tmp_path: Path, store: RecordedStore, *rules: Rule, through: Backend | None = None, pacer: Pacer | None = None
) -> AsyncIterator[Drained]:
    """A world in which `/w` is written through, all else an hour later."""
    every = (Rule(path="/", persist_delay_s=3600.0), Rule(path="/w", write_mode="writethrough"), *rules)
    settings = Settings(
        staging=STAGING, markers=MARKERS, rules=Rules(every), patience_s=PATIENCE_S, multipart_threshold=5 * MIB,
        part_size=5 * MIB, max_uploads=1,
    )  # fmt: skip
    async with a_drained_world(tmp_path, store, settings=settings, through=through, pacer=pacer) as world:
        await world.mkdir("w")
        yield world


async def took(call: Callable[[], Awaitable[object]]) -> float:
    started_s = trio.current_time()
    await call()
    return trio.current_time() - started_s


async def test_a_close_returns_when_the_object_is_there(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store) as world:
        await world.write_file("w/a", b"1")
        assert store.objects() == {"w/a": b"1"}
        await world.write_file("w/a", b"22")
        assert store.objects() == {"w/a": b"22"}
        await world.write_file("b", b"1")
        assert sorted(store.objects()) == ["w/a"]


async def test_an_fsync_returns_when_the_object_is_there(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store) as world:
        number = await world.create("w/a")
        await world.fs.write(number, 0, b"1")
        await world.fs.fsync(number)
        await world.fs.arrived(number)
        assert store.objects() == {"w/a": b"1"}
        await world.close(number)


async def test_a_reader_waits_for_nothing(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with waiting(tmp_path, store) as world:
        writer = await world.create("w/a")
        await world.fs.write(writer, 0, b"1")
        world.fs.flush(writer)
        reader = await world.open("w/a")
        gate = store.hold("put")
        assert await took(lambda: world.close(reader)) == 0.0
        gate.set()
        await world.close(writer)


async def test_it_waits_while_the_store_does_not_answer_and_no_longer(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    gate = store.hold("put")
    async with waiting(tmp_path, store) as world:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_file, "w/a", b"1")
            await trio.sleep(20)
            assert not store.objects()
            assert await took(lambda: world.write_file("other", b"1")) == 0.0
            gate.set()
        assert store.objects() == {"w/a": b"1"}


@pytest.mark.parametrize("failure", [BackendUnavailable("away"), StoreRefused("no")])
async def test_after_the_patience_it_fails_and_the_file_is_persisted_later(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, failure: Exception
) -> None:
    backend = FailingPuts(store, failure)
    async with waiting(tmp_path, store, through=backend) as world:
        started_s = trio.current_time()
        with pytest.raises(StoreUnreachable):
            await world.write_file("w/a", b"1")
        assert PATIENCE_S <= trio.current_time() - started_s < PATIENCE_S + 2
        assert await world.read_file("w/a") == b"1"
        backend.failure = None
        await trio.sleep(700)
        assert store.objects() == {"w/a": b"1"}


async def test_it_waits_for_as_long_as_the_store_takes_something(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """A part of a large file, half a minute apart."""
    pacer = Pacer(Aimd(), Limits())
    slow = SlowParts()
    async with waiting(tmp_path, slow, through=Paced(slow, pacer, Priority.DRAIN), pacer=pacer) as world:
        spent_s = await took(lambda: world.write_file("w/a", pattern(20 * MIB)))
        assert spent_s > 2 * PATIENCE_S
        assert sorted(slow.objects()) == ["w/a"]


class SlowParts(RecordedStore):
    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        await trio.sleep(PATIENCE_S * 0.6)
        return await super().put_part(key, upload_id, number, source)


class FailingPuts(FaultyBackend):
    """A store that refuses what is written, until it is told not to."""

    def __init__(self, store: Backend, failure: Exception) -> None:
        super().__init__(store, fail_at=0, failure=BackendUnavailable(""))
        self.failure: Exception | None = failure

    async def put(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # all it has
        if self.failure is not None:
            raise self.failure
        return await super().put(*args, **kwargs)  # type: ignore[arg-type]  # as given


async def test_what_is_paused_fails_after_the_patience_whatever_else_the_store_takes(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    pacer = Pacer(Aimd(), Limits())
    async with waiting(tmp_path, store, through=Paced(store, pacer, Priority.DRAIN), pacer=pacer) as world:
        await world.mkdir("w/p")
        await world.persister.pause(ObjectKey("w/p"))
        failed = trio.Event()

        async def write() -> None:
            with pytest.raises(StoreUnreachable):
                await world.write_file("w/p/a", b"1")
            failed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for n in range(1000):
                await world.write_file(f"w/{n}", b"1")
                await trio.sleep(0.2)
                if failed.is_set():
                    break
        assert PATIENCE_S <= trio.current_time() < PATIENCE_S + 5


async def test_what_is_removed_meanwhile_is_not_waited_for(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    gate = store.hold("put")
    async with waiting(tmp_path, store) as world:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_file, "w/a", b"1")
            await trio.sleep(5)
            await world.unlink("w/a")
            gate.set()
        assert trio.current_time() < PATIENCE_S


async def test_who_goes_on_writing_waits_for_the_rest(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store) as world:
        one = await world.create("w/a")
        other = await world.open("w/a", os.O_WRONLY)
        await world.fs.write(one, 0, b"1")
        world.fs.flush(one)
        await world.fs.write(other, 1, b"2")
        assert await took(lambda: world.fs.arrived(one)) < 1.0
        assert not store.objects()
        world.fs.release(one)
        await world.close(other)
        assert store.objects() == {"w/a": b"12"}


# --- staging ---


async def test_what_is_staging_waits_with_the_rename_that_takes_it_out(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store) as world:
        await world.mkdir("w/_temporary")
        gate = store.hold("put")
        assert await took(lambda: world.write_file("w/_temporary/a", b"1")) == 0.0
        gate.set()
        await world.rename("w/_temporary/a", "w/a")
        assert store.objects() == {"w/a": b"1"}


async def test_a_directory_that_comes_out_of_staging_arrives_whole(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store) as world:
        for path in ("w/_temporary", "w/_temporary/p", "w/_temporary/p/empty"):
            await world.mkdir(path)
        for n in range(3):
            await world.write_file(f"w/_temporary/p/{n}", b"1")
        await world.rename("w/_temporary/p", "w/p")
        assert {"w/p/0", "w/p/1", "w/p/2"} <= set(store.objects())


async def test_a_rename_of_what_the_store_has_does_not_wait(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store) as world:
        await world.mkdir("w/d")
        await world.write_file("w/d/a", b"1")
        gate = store.hold("copy")
        assert await took(lambda: world.rename("w/d/a", "w/d/b")) == 0.0
        assert await took(lambda: world.rename("w/d", "w/e")) == 0.0
        gate.set()


# --- commit markers ---


async def test_a_marker_brings_its_tree(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    """Its data would have gone an hour later."""
    rule = Rule(path="/t/_SUCCESS", write_mode="writethrough")
    async with waiting(tmp_path, store, rule) as world:
        await world.mkdir("t")
        for n in range(20):
            await world.write_file(f"t/{n}", b"1")
        assert await took(lambda: world.write_file("t/_SUCCESS", b"")) < 5.0
        assert [each for each in store.writes if each.startswith("put t/")][-1] == "put t/_SUCCESS"
        assert len([key for key in store.objects() if key.startswith("t/")]) == 21


async def test_a_marker_whose_tree_is_being_written_fails_after_the_patience(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """Whoever has it open may be who waits."""
    async with waiting(tmp_path, store) as world:
        number = await world.create("w/a")
        await world.fs.write(number, 0, b"1")
        started_s = trio.current_time()
        with pytest.raises(StoreUnreachable):
            await world.write_file("w/_SUCCESS", b"")
        assert PATIENCE_S <= trio.current_time() - started_s < PATIENCE_S + 5
        await world.close(number)
        await world.settle()
        assert store.writes[-1] == "put w/_SUCCESS"


# --- through ---


async def test_what_passes_through_is_not_kept_here(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store, Rule(path="/p", write_mode="through")) as world:
        await world.mkdir("p")
        for path in ("w/a", "p/a"):
            await world.write_file(path, b"1")
        await trio.sleep(3)
        kept = {path: world.contents.exists((await world.stat(path)).ino) for path in ("w/a", "p/a")}
        assert kept == {"w/a": True, "p/a": False}
        assert await world.read_file("p/a") == b"1"


async def test_what_is_open_stays_until_it_is_closed(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with waiting(tmp_path, store, Rule(path="/p", write_mode="through")) as world:
        await world.mkdir("p")
        await world.write_file("p/a", b"1")
        reader = await world.open("p/a")
        await world.write_file("p/a", b"22")
        await trio.sleep(3)
        ino = (await world.stat("p/a")).ino
        assert world.contents.exists(ino)
        await world.close(reader)
        await trio.sleep(3)
        assert not world.contents.exists(ino)
        assert await world.read_file("p/a") == b"22"
