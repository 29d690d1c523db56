"""What a flush waits for, what it doesn't, and what it tells.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.base import Source
from fusecache.backends.fault import FaultyBackend
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority
from fusecache.config.model import MARKERS, STAGING
from fusecache.errors import AccessDenied, BackendUnavailable
from fusecache.persist.settings import Settings
from fusecache.types import ROOT_INO, DeleteOutcome, ETag, FlushProgress, ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def test_flush_does_not_wait_for_the_delay_nor_for_others(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=3600.0) as world:
        await world.mkdir("d")
        await world.write_file("d/f", b"1")
        await world.write_file("g", b"2")
        told: list[FlushProgress] = []
        done = await world.persister.flush((await world.stat("d")).ino, progress=told.append)
        assert store.objects() == {"d/f": b"1"}
        assert (done.files_left, done.bytes_left, done.bytes_done) == (0, 0, 1)
        assert told[0].bytes_left == 1
        await world.persister.flush(ROOT_INO)
        assert store.objects() == {"d/f": b"1", "g": b"2"}


async def test_flush_lists_what_is_open_and_does_not_wait_for_it(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    number = await world.create("f")
    await world.fs.write(number, 0, b"1")
    told = await world.persister.drain()
    assert told.open_files == ("f",)
    assert told.files_left == 1
    assert store.objects() == {}
    await world.close(number)
    assert (await world.persister.drain()).files_left == 0
    assert store.objects() == {"f": b"1"}


async def test_a_lost_base_is_stuck_and_said(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"f": pattern(1 << 20), "g": b"2"})
    await world.write_at("f", 0, b"x")
    store.forget("f")
    told = await world.persister.drain()
    assert [(entry["path"], entry["error"]) for entry in told.stuck] == [("f", "base object changed")]
    report = world.persister.report()
    assert report.files_dirty == 1
    assert [entry["path"] for entry in report.stuck] == ["f"]


async def test_what_is_flushed_goes_before_a_backlog_of_others(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    store.pause_s = 1.0
    settings = Settings(staging=STAGING, markers=MARKERS, max_uploads=1)
    async with a_drained_world(tmp_path, store, delay_s=0.0, settings=settings) as world:
        for n in range(50):
            await world.write_file(f"other{n}", b"1")
        await world.mkdir("d")
        await world.write_file("d/f", b"2")
        await world.write_file("d/_SUCCESS", b"")
        await trio.sleep(60)
        assert "d/f" not in store.objects()
        await world.persister.flush((await world.stat("d/_SUCCESS")).ino)
        arrived = [key.removeprefix("put ") for key in store.writes]
        assert {"d/f", "d/_SUCCESS"} <= store.objects().keys()
        assert len(arrived) < 40, "the backlog went first"


async def test_what_never_has_to_be_sent_is_counted(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=60.0) as world:
        spared = lambda: world.persister.report().bytes_spared  # noqa: E731 - asked twice, here only
        await world.write_file("f", b"12345")
        assert spared() == 0
        await world.write_file("f", b"123")  # anew, before it was sent
        assert spared() == 5
        await world.write_at("f", 0, b"x")
        assert spared() == 8
        await world.settle()
        await world.write_file("f", b"1")
        await world.rename("f", "g")
        assert spared() == 8
        await world.unlink("g")
        await world.mkdir("_temporary")
        await world.write_file("_temporary/t", b"1234")
        await world.write_file("_temporary/u", b"1234")
        await world.rename("_temporary/u", "_temporary/t")
        assert spared() == 8 + 1 + 4
        await trio.sleep(10)
    async with a_drained_world(tmp_path, store, delay_s=60.0) as world:
        assert world.persister.report().bytes_spared == 13


async def test_the_parts_of_a_large_file_are_progress(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    settings = Settings(multipart_threshold=8 * MIB, part_size=5 * MIB, max_uploads=1)
    async with a_drained_world(tmp_path, store, settings=settings) as world:
        await world.write_file("f", pattern(20 * MIB))
        told: list[FlushProgress] = []
        store.part_s = 10.0
        await world.persister.flush(ROOT_INO, progress=told.append)
        seen = list(dict.fromkeys(each.bytes_left for each in told))
        assert seen == [20 * MIB, 15 * MIB, 10 * MIB, 5 * MIB, 0]
        assert any(each.eta_s is not None and 0 < each.eta_s < 60 for each in told)
        assert world.persister.report().drain_bytes_per_s > 0


async def test_a_marker_does_not_wait_for_what_stays_here(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """As Hadoop writes one: the file of its checksums is made before it is closed."""
    marker = await world.create("_SUCCESS")
    checksums = await world.create("._SUCCESS.crc")
    await world.close(marker)
    await world.close(checksums)
    # The marker has just been held because of it.
    while not world.ns.tables.backlog.local().files:  # noqa: ASYNC110 - a row changes without an event
        await trio.sleep(0.01)
    await world.persister.through.tree(ROOT_INO)  # flushes, and has no second in which it would be looked at again
    assert set(store.objects()) == {"_SUCCESS"}


async def test_what_is_closed_a_moment_later_is_waited_for(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """close(2) returns before the kernel tells of it."""
    number = await world.create("f")

    async def close() -> None:
        await trio.sleep(0.2)
        await world.close(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        told = await world.persister.drain()
    assert (told.files_left, told.open_files, told.elapsed_s < 1) == (0, (), True)
    assert set(store.objects()) == {"f"}


async def test_a_reader_that_ends_a_moment_later_is_waited_for(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": pattern(1 << 20)})
    store.gate = trio.Event()
    number = await world.open("f")
    await world.unlink("f")
    store.forget("f")  # what is missing never comes
    store.gate.set()

    async def close() -> None:
        await trio.sleep(0.2)
        await world.close(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        told = await world.persister.drain()
    assert (told.files_left, told.waiting_open) == (0, 0)
    assert store.objects() == {}


async def test_whose_close_is_waited_for_is_named(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"old": pattern(1 << 20)})
    store.gate = trio.Event()
    await world.open("old")
    await world.unlink("old")
    await world.mkdir("t")
    await world.create("t/f")
    await world.write_file("t/_SUCCESS", b"")
    told = await world.persister.drain()
    assert 1 <= told.elapsed_s < 2
    assert (told.waiting_open, told.held_open) == (2, ("old", "t/f"))
    assert told.files_waiting == 1, "the commit marker"
    told = await world.persister.flush((await world.stat("t/_SUCCESS")).ino)
    assert (told.open_files, told.held_open, told.files_waiting) == ((), ("t/f",), 1)


class PickyStore(RecordedStore):
    """Neither takes nor deletes the keys in `refused`."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        if key in self.refused:
            self.writes.append(f"refused {key}")
            raise AccessDenied(f"{key}: no")
        return await super().put(key, source, metadata=metadata, if_match=if_match, if_none_match=if_none_match)

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        if self.refused.isdisjoint(keys):
            return await super().delete(keys, if_match=if_match)
        return [DeleteOutcome(key, AccessDenied(f"{key}: no")) for key in keys]


async def test_a_flush_tries_what_is_stuck_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = PickyStore()
    store.refused = {"t/f", "g"}
    pacer = Pacer(Aimd(), Limits(requests_per_s=10.0))  # which has just held something up
    through = Paced(store, pacer, Priority.DRAIN)
    async with a_drained_world(tmp_path, store, through=through, pacer=pacer) as world:
        await world.mkdir("t")
        await world.write_file("t/f", b"1")
        await world.write_file("g", b"2")
        await world.write_file("t/_SUCCESS", b"")
        await world.write_file("h", b"3")
        assert len((await world.persister.drain()).stuck) == 2
        report = world.persister.report()
        assert report.limited_by == "a dependency: commit marker t/_SUCCESS waits for t/f, which is stuck"
        assert report.eta_s is None, "a file that was sent a moment ago says nothing of these"
        store.writes.clear()
        tree = (await world.stat("t")).ino
        told = await world.persister.flush(tree)
        assert (store.writes, told.elapsed_s < 1) == (["refused t/f"], True)
        assert [(each["path"], each["attempts"]) for each in told.stuck] == [("t/f", 2)]
        store.refused.clear()
        told = await world.persister.flush((await world.stat("t/_SUCCESS")).ino)
        assert (told.files_left, told.stuck) == (0, ()), "what a commit marker waits for is tried, too"
        assert store.writes[1:] == ["put t/f", "put t/_SUCCESS"]
        assert (await world.persister.drain()).files_left == 0


async def test_what_waits_for_something_stuck_is_not_waited_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = PickyStore()
    await store.foreign({"a": b"1"})
    store.refused = {"a"}
    async with a_drained_world(tmp_path, store) as world:
        await world.unlink("a")
        await world.mkdir("a")
        await world.write_file("a/f", b"2")
        with trio.fail_after(60):
            told = await world.persister.flush((await world.stat("a/f")).ino)
        assert [each["path"] for each in told.stuck] == ["a"]
        assert (told.files_left, told.files_waiting) == (1, 0)
        store.refused.clear()
        assert (await world.persister.flush((await world.stat("a/f")).ino)).files_left == 0
        assert store.objects() == {"a/f": b"2"}


async def test_while_nothing_gets_less_it_is_said_why(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("put")
    await world.write_file("f", b"1")
    told: list[FlushProgress] = []
    with trio.move_on_after(10):
        await world.persister.flush(ROOT_INO, progress=told.append)
    assert (told[0].limited_by, told[-1].limited_by, told[-1].eta_s) == (None, "the store's answers", None)
    gate.set()


async def test_what_stays_here_is_not_counted_as_done(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file(".f.crc", b"1234")
    await world.write_file("f", b"1")
    told = await world.persister.drain()
    assert (told.files_done, told.bytes_done) == (1, 1)


async def test_what_got_no_answer_waits_to_be_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    store, failure = RecordedStore(), BackendUnavailable("no answer", retry_after_s=60.0)
    backend = FaultyBackend(store, fail_at=1, failure=failure)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("f", b"1")
        assert await world.getxattr("f", b"user.fusecache.state") == b"dirty"
        await trio.sleep(10)
        assert await world.getxattr("f", b"user.fusecache.state") == b"pending"


async def test_a_flush_does_not_wait_for_a_move_that_waits_for_an_open_file(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a": b"1", "d/x": b"2"})
    await world.rename("a", "b")
    number = await world.open("b", os.O_RDWR)
    await world.fs.write(number, 0, b"3")
    await world.rename("d", "a")
    with trio.fail_after(10):
        told = await world.persister.drain()
    assert (told.open_files, told.held_open) == (("b",), ("b",))
    await world.close(number)
    await world.settle()
    assert store.objects() == {"b": b"3", "a/x": b"2"}
