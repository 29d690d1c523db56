"""Conflicts in corners: lost answers, requests under way, stores with limits. Nothing is destroyed or left.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.errors import BackendUnavailable, StoreRefused
from fusecache.persist.copy import Copier
from fusecache.persist.plan import Job
from fusecache.types import ETag, ListPage, ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import numbered, pattern
from tests.fs.test_conflicts import fired, objects


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore(is_versioned=True)


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as opened:
        yield opened


async def test_what_somebody_wrote_over_our_object_is_theirs_whatever_metadata_it_kept(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """s3fs, GeeseFS and a file written in place keep the metadata of what they change."""
    await world.write_file("f", b"first")
    await world.settle()
    kept = dict((await store.head(ObjectKey("f"))).metadata or {})
    await world.write_file("f", b"ours")
    await store.foreign({"f": b"theirs"}, **kept)
    await world.settle()
    assert objects(store) == {"f": b"ours", "f.conflict": b"theirs"}


async def test_an_answer_that_was_lost_does_not_make_theirs_ours(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    backend = FaultyBackend(store, fail_at=1, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend, ttl_s=60.0) as world:
        await world.write_file("f", b"ours")
        await fired(backend)
        kept = dict((await store.head(ObjectKey("f"))).metadata or {})
        await store.foreign({"f": b"theirs"}, **kept)
        await world.settle()
    assert objects(store) == {"f": b"ours", "f.conflict": b"theirs"}


async def test_a_delete_in_flight_does_not_stand_for_what_is_wanted_deleted_meanwhile(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    await store.foreign({"f": b"1"})
    backend = FaultyBackend(store, fail_at=1, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.unlink("f")
        await world.write_file("f", b"ours")
        await fired(backend)  # it is there, and nobody knows
        gate = store.hold("delete")
        number = await world.open("f", os.O_WRONLY)  # parks the upload, so that the delete of "1" goes
        await world.fs.write(number, 0, b"more")
        await trio.sleep(5)
        await world.unlink("f")
        await world.close(number)
        gate.set()
        await world.settle()
    assert objects(store) == {}


async def test_what_was_replaced_after_it_was_moved_along_and_overwritten_here_is_gone_from_the_old_key(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.foreign(numbered(1001, "d/"))
    async with a_drained_world(tmp_path, store) as world:
        await world.rename("d", "e")
        listing, pages = store.list, iter([True])

        async def between_two_pages(prefix: str, **options: Any) -> ListPage:
            if prefix == "d/" and options.get("start_after") and next(pages, False):
                await store.foreign({"d/f00000": b"theirs"})
                assert await world.read_file("e/f00000") == b"theirs"
                await world.write_file("e/f00000", b"ours")
            return await listing(prefix, **options)

        monkeypatch.setattr(store, "list", between_two_pages)
        await world.settle()
        await world.settle()  # what was written meanwhile
    assert [key for key in store.objects() if key.startswith("d/")] == []


async def test_a_name_that_moves_just_before_its_attributes_are_sent_leaves_nothing_behind(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.foreign({"f": b"1"})
    run, first = Copier.run, iter([True])

    async def renamed_first(copier: Copier, job: Job) -> None:
        if next(first, False):
            await world.rename("f", "g")
        await run(copier, job)

    monkeypatch.setattr(Copier, "run", renamed_first)
    await world.setattr("f", mode=0o100600)
    await world.settle()
    assert objects(store) == {"g": b"1"}


async def test_what_is_not_moved_along_needs_no_room(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/f": b"1", "d/g": b"2"})
    await world.unlink("d/f")
    await world.rename("d", "e")
    await store.foreign({"e/f": b"theirs"})
    await world.settle()
    assert objects(store) == {"e/f": b"theirs", "e/g": b"2"}


async def test_a_file_that_cannot_be_copied_does_not_hold_up_the_one_that_has_its_old_name(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"f": b"1"})
    await world.rename("f", "g")
    await store.foreign({"f": b"theirs"})
    await world.write_file("f", b"ours")
    await world.settle()
    assert b"ours" in objects(store).values()
    assert b"theirs" in objects(store).values()


async def test_an_upload_in_parts_whose_answer_was_lost_leaves_no_parts(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    backend = FaultyBackend(store, fail_at=4, failure=BackendUnavailable("reset"), before=False)  # its end
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("f", pattern(9 * MIB))
        await world.settle()
    assert store.keys() == ["f"]
    assert store.parts_left == 0


async def test_a_long_name_is_kept_aside_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    class Short(RecordedStore):
        async def copy(self, source: ObjectKey, target: ObjectKey, **options: Any) -> ETag:
            if len(target) > 255:
                raise StoreRefused(f"{target}: File name too long")
            return await super().copy(source, target, **options)

    store = Short(is_versioned=True)
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        await world.write_file("n" * 250, b"ours")
        await store.foreign({"n" * 250: b"theirs"})
        await world.settle()
        assert sorted(store.objects().values()) == [b"ours", b"theirs"]


async def test_what_was_kept_aside_and_edited_is_not_overwritten(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("f", b"ours")
        await store.foreign({"f": b"theirs"})
        await world.settle()
        aside = next(key for key in store.objects() if ".conflict-" in key)
        await store.foreign({aside: b"edited"})
        await world.write_file("f", b"ours again")
        await store.foreign({"f": b"theirs"})
        await world.settle()
    assert b"edited" in store.objects().values()


async def test_a_store_without_metadata_keeps_no_old_name(autojump_clock: MockClock, tmp_path: Path) -> None:
    """`file://` where there are no user attributes; `rclone serve s3` after a restart."""

    class Bare(RecordedStore):
        def _store(self, key: ObjectKey, data: bytes, metadata: Mapping[str, str]) -> ETag:
            return super()._store(key, data, {})

    store = Bare(is_versioned=True)
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        await world.write_file("f", b"ours")
        gate = store.hold("put")
        await trio.sleep(1.5)
        await world.rename("f", "g")
        gate.set()
        await world.settle()
    assert objects(store) == {"g": b"ours"}


async def test_metadata_that_leave_no_room_for_a_signature_stop_no_rename(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    class Limited(RecordedStore):
        async def copy(self, source: ObjectKey, target: ObjectKey, **options: Any) -> ETag:
            held = {**((await self.head(source)).metadata or {}), **(options["metadata"] or {})}
            if sum(len(name) + len(value) for name, value in held.items()) > 2048:
                raise StoreRefused("MetadataTooLarge")
            return await super().copy(source, target, **options)

    store = Limited(is_versioned=True)
    await store.foreign({"d/f": b"1"}, x="y" * 2040)
    async with a_drained_world(tmp_path, store) as world:
        await world.rename("d", "e")
        await world.settle()
    assert objects(store) == {"e/f": b"1"}


async def test_a_copy_that_a_killed_relocation_left_is_ours(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    await store.foreign({"d/f": b"1", "d/g": b"2"})
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        await world.rename("d", "e")
        store.pause_s = 100.0
        while "e/f" not in store.objects():  # noqa: ASYNC110 - the clock jumps
            await trio.sleep(1)
    store.pause_s = 0.0
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        await world.write_file("e/f", b"ours")
        await world.settle()
    assert objects(store) == {"e/f": b"ours", "e/g": b"2"}


@pytest.mark.parametrize("change", ["write", "unlink"])
async def test_it_is_ours_when_the_relocation_has_ended_before_its_file_is_sent(
    change: str, autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """Killed between the copy and its record, when the file had been opened for writing: it isn't copied again."""
    await store.foreign({"d/f": b"1", "d/g": b"2"})
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        await world.rename("d", "e")
        store.pause_s = 100.0
        while "e/f" not in store.objects():  # noqa: ASYNC110 - the clock jumps
            await trio.sleep(1)
        await world.write_at("e/f", 0, b"ours")
    store.pause_s = 0.0
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        number = await world.open("e/f", os.O_WRONLY)  # parks the upload
        await trio.sleep(100)
        if change == "unlink":
            await world.unlink("e/f")
        await world.close(number)
        await world.settle()
    assert objects(store) == {"e/g": b"2"} | ({"e/f": b"ours"} if change == "write" else {})
