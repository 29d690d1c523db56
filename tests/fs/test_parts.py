"""Uploads in parts go on after a failure, a crash and a power loss, and none stays in the bucket."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.base import Source
from fusecache.backends.fault import FaultyBackend
from fusecache.backends.memory import MemoryBackend
from fusecache.backends.sources import BytesSource
from fusecache.errors import AccessDenied, BackendUnavailable
from fusecache.persist.settings import Settings
from fusecache.types import ETag, ObjectKey, OpenUpload
from tests.backends.helpers import WRONG
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

BIG = pattern(11 * MIB)
"""Three parts."""
PARTS = ["big 1", "big 2", "big 3"]
KEY = ObjectKey("big")
LARGER = Settings(multipart_threshold=8 * MIB, part_size=6 * MIB)
Change = Callable[[Drained], Awaitable[None]]


class SlowStore(RecordedStore):
    """Takes a part of BIG a second, one after the other; may be away."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = trio.CapacityLimiter(1)
        self.is_away = False
        self.abort_s = 0.0
        self.aborted: list[str] = []

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        async with self._turn:
            await trio.sleep(1.0)
            return await super().put_part(key, upload_id, number, source)

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        if self.is_away:
            raise BackendUnavailable("no route")
        await trio.sleep(self.abort_s)
        await super().abort_multipart(key, upload_id)
        self.aborted.append(upload_id)


@pytest.fixture
def slow() -> SlowStore:
    return SlowStore()


async def crashed_after_two_parts(root: Path, slow: SlowStore) -> None:
    """Have the daemon die while it sends the third part."""
    async with a_drained_world(root, slow) as world:
        await world.write_file("big", BIG)
        await trio.sleep(3.5)
    assert (slow.parts, slow.parts_left) == (PARTS[:2], 1)


async def test_after_a_crash_only_the_missing_parts_are_sent(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore
) -> None:
    await crashed_after_two_parts(tmp_path, slow)
    async with a_drained_world(tmp_path, slow) as world:
        await world.settle()
        assert slow.content("big") == BIG
        assert await world.read_file("big") == BIG
    assert (slow.parts, slow.writes, slow.parts_left) == (PARTS, ["multipart big"], 0)


async def test_other_part_sizes_are_for_uploads_to_come(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore
) -> None:
    await crashed_after_two_parts(tmp_path, slow)
    async with a_drained_world(tmp_path, slow, settings=LARGER) as world:
        await world.settle()
    assert (slow.content("big"), slow.parts) == (BIG, PARTS)


async def test_after_a_failure_only_the_missing_parts_are_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    for nth in itertools.count(1):
        store, root = RecordedStore(), tmp_path / str(nth)
        root.mkdir()
        backend = FaultyBackend(store, fail_at=nth, failure=BackendUnavailable("reset"))
        async with a_drained_world(root, store, through=backend) as world:
            await world.write_file("big", BIG)
            await world.settle()
            assert (store.content("big"), sorted(set(store.parts))) == (BIG, PARTS)
            await trio.sleep(100)
            assert store.parts_left == 0
            assert (len(store.parts), store.writes) == (3, ["multipart big"])
        if not backend.fired:
            assert nth > 6  # a listing, a start, three parts, an end
            return


async def rewrite(world: Drained) -> None:
    await world.write_file("big", BIG[::-1])


async def shrink(world: Drained) -> None:
    await world.write_file("big", b"small")


async def remove(world: Drained) -> None:
    await world.unlink("big")


async def rename(world: Drained) -> None:
    await world.rename("big", "other")


async def stage(world: Drained) -> None:
    await world.mkdir("_temporary")
    await world.rename("big", "_temporary/big")


async def change_mode(world: Drained) -> None:
    await world.setattr("big", mode=stat.S_IFREG | 0o600)


CHANGES: dict[Change, dict[str, bytes]] = {
    rewrite: {"big": BIG[::-1]},
    shrink: {"big": b"small"},
    remove: {},
    rename: {"other": BIG},
    stage: {},
    change_mode: {"big": BIG},
}


@pytest.mark.parametrize("is_new_daemon", [True, False], ids=["crash", "failure"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
async def test_an_upload_whose_file_changes_is_aborted(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore, change: Change, is_new_daemon: bool
) -> None:
    if is_new_daemon:
        await crashed_after_two_parts(tmp_path, slow)
    backend = FaultyBackend(slow, fail_at=None if is_new_daemon else 5, failure=AccessDenied("no"))
    async with a_drained_world(tmp_path, slow, through=backend) as world:
        if not is_new_daemon:
            await world.write_file("big", BIG)
            await trio.sleep(10)
            assert slow.parts_left == 1
        await change(world)
        await trio.sleep(200)
        assert slow.objects() == CHANGES[change]
        assert (slow.parts_left, slow.aborted) == (0, ["upload-1"])


async def test_it_is_aborted_later_if_the_store_is_away(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore
) -> None:
    await crashed_after_two_parts(tmp_path, slow)
    slow.is_away = True
    async with a_drained_world(tmp_path, slow) as world:
        await world.unlink("big")
        await trio.sleep(1000)
        assert slow.parts_left == 1
    async with a_drained_world(tmp_path, slow):
        await trio.sleep(1000)
        slow.is_away = False
        await trio.sleep(100)
        assert slow.parts_left == 0


class DeafStore(RecordedStore):
    """Begins an upload in parts, and doesn't answer; just then somebody else begins one, and sends a part."""

    def __init__(self, *, is_reset: bool) -> None:
        super().__init__()
        self._is_reset = is_reset
        self.is_deaf = False
        self.theirs: set[str] = set()

    async def begin_theirs(self, key: str) -> str:
        upload_id = await MemoryBackend.start_multipart(self, ObjectKey(key), metadata={})
        self.theirs.add(upload_id)
        return upload_id

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        upload_id = await super().start_multipart(key, metadata=metadata)
        if not self.is_deaf:
            return upload_id
        self.is_deaf = False
        await self.put_part(key, await self.begin_theirs(key), 1, BytesSource(b"theirs"))
        if not self._is_reset:
            await trio.sleep_forever()
        raise BackendUnavailable("reset")


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "sent again"])
@pytest.mark.parametrize("is_reset", [True, False], ids=["answer lost", "daemon killed"])
async def test_one_that_began_without_our_knowing_is_aborted_and_no_others(
    autojump_clock: MockClock, tmp_path: Path, is_reset: bool, is_deleted: bool
) -> None:
    """It is known by its key, by what was there before, and by having no part yet."""
    store = DeafStore(is_reset=is_reset)
    await store.begin_theirs("big")
    await store.begin_theirs("elsewhere")
    store.is_deaf = True
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("big", BIG)
        await trio.sleep(1.01)
        assert len(store.theirs) == 3
    async with a_drained_world(tmp_path, store) as world:
        if is_deleted:
            await world.unlink("big")
        await world.settle()
        await trio.sleep(100)
        assert {upload.upload_id for upload in await store.list_uploads()} == store.theirs
        assert store.objects() == ({} if is_deleted else {"big": BIG})


async def test_an_upload_whose_end_was_not_answered_is_not_sent_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    store = RecordedStore()
    backend = FaultyBackend(store, fail_at=6, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("big", BIG)
        await world.settle()
        assert backend.fired
        assert (store.content("big"), sorted(store.parts), store.writes) == (BIG, PARTS, ["multipart big"])
        assert await world.read_file("big") == BIG


async def test_an_upload_that_somebody_aborted_is_begun_anew(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore
) -> None:
    await crashed_after_two_parts(tmp_path, slow)
    await slow.abort_multipart(KEY, "upload-1")
    async with a_drained_world(tmp_path, slow) as world:
        await world.settle()
    assert (slow.content("big"), slow.parts) == (BIG, PARTS[:2] + PARTS)


async def test_an_upload_that_has_other_parts_than_we_know_is_begun_anew(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore
) -> None:
    await crashed_after_two_parts(tmp_path, slow)
    slow._uploads["upload-1"].parts[1] = (WRONG, b"")
    async with a_drained_world(tmp_path, slow) as world:
        await world.settle()
        await trio.sleep(100)
        assert (slow.content("big"), slow.parts_left) == (BIG, 0)


@pytest.mark.parametrize("is_in_order", [True, False], ids=["proved", "synced"])
async def test_after_a_power_loss_only_what_proves_to_be_the_same_goes_on(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore, is_in_order: bool
) -> None:
    """What was synced once may have pages that are older, or newer, than those that were sent."""
    async with a_drained_world(tmp_path, slow) as world:
        number = await world.create("big")
        cut = 5 * MIB + 1  # within a block, which has to be read for its hash if its start comes last
        for part in (slice(0, cut), slice(cut, None)) if is_in_order else (slice(cut, None), slice(0, cut)):
            await world.fs.write(number, part.start, BIG[part])
        if not is_in_order:
            await world.fs.fsync(number)
        await world.close(number)
        await trio.sleep(3.5)
        assert slow.parts == PARTS[:2]
    async with a_drained_world(tmp_path, slow, boot_id="another") as world:
        await world.settle()
        assert slow.content("big") == BIG
        await trio.sleep(10)
    assert (len(slow.parts), slow.parts_left) == (3 if is_in_order else 5, 0)


async def test_a_store_that_does_not_list_uploads_is_written_to_all_the_same(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    store = RecordedStore()
    backend = FaultyBackend(store, fail_at=1, failure=AccessDenied("s3:ListBucketMultipartUploads"))
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("big", BIG)
        await world.settle()
        assert (store.content("big"), sorted(store.parts)) == (BIG, PARTS)


async def test_parts_that_a_store_keeps_beside_the_object_are_removed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A kill in the midst of an upload's end may leave them, where that is more than one step."""

    class Untidy(RecordedStore):
        async def complete_multipart(
            self,
            key: ObjectKey,
            upload_id: str,
            etags: Sequence[ETag],
            *,
            if_match: ETag | None = None,
            if_none_match: bool = False,
        ) -> ETag:
            upload = self._uploads[upload_id]
            etag = await super().complete_multipart(
                key, upload_id, etags, if_match=if_match, if_none_match=if_none_match
            )
            self._uploads[upload_id] = upload
            return etag

    store = Untidy()
    backend = FaultyBackend(store, fail_at=6, failure=BackendUnavailable("reset"), before=False)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("big", BIG)
        await world.settle()
        await trio.sleep(1)
        assert (store.content("big"), sorted(store.parts), store.parts_left) == (BIG, PARTS, 0)


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
async def test_a_change_while_the_store_is_asked_for_uploads_leaves_none(
    autojump_clock: MockClock, tmp_path: Path, change: Change
) -> None:
    class Thoughtful(SlowStore):
        async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
            await trio.sleep(1.0)
            return await super().list_uploads(key)

    store = Thoughtful()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("big", BIG)
        await trio.sleep(1.5)
        await change(world)
        await trio.sleep(1.0)
    async with a_drained_world(tmp_path, store) as world:
        await world.settle()
        await trio.sleep(100)
        assert (store.objects(), store.parts_left) == (CHANGES[change], 0)


async def test_files_of_one_size_are_sent_side_by_side(autojump_clock: MockClock, tmp_path: Path) -> None:
    store = RecordedStore()
    store.pause_s = 0.5
    async with a_drained_world(tmp_path, store) as world:
        for name in "abc":
            await world.write_file(name, BIG)
        told = await world.persister.drain()
        assert (told.stuck, told.files_left) == ((), 0)
        assert store.objects() == dict.fromkeys("abc", BIG)


async def test_large_files_are_ready_one_after_the_other(autojump_clock: MockClock, tmp_path: Path) -> None:
    """But of a very large one only so many parts go before the others."""
    store, larger = RecordedStore(), Settings(max_uploads=2, multipart_threshold=4 * MIB, part_size=5 * MIB)
    store.part_s = 1.0
    async with a_drained_world(tmp_path, store, settings=larger) as world:
        for name, size in (("a", 11), ("b", 11), ("c", 5 * 18), ("d", 6)):
            await world.write_file(name, pattern(MIB) * size)
        await world.settle()
    sent = "".join(part[0] for part in store.parts)
    assert sent[:6] in ("aaabbb", "bbbaaa")
    assert sent[6:] == 16 * "c" + "dd" + "cc"
