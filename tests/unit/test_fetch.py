"""Who waits for what: requests counted at a backend whose answers the test releases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fusecache.backends.memory import MemoryBackend
from fusecache.cache.contents import Base, Content, Contents
from fusecache.cache.fetch import MAX_PREFETCHES, REQUEST_BYTES, Fetcher
from fusecache.cache.index import ContentIndex
from fusecache.errors import BackendUnavailable, NoSpace, NoSuchObject, PreconditionFailed
from fusecache.types import ETag, Extent, InodeNo, ObjectKey, StoreNo

BLOCK = 16
KEY = ObjectKey("k")
STORE = StoreNo(3)
BODY = bytes(range(200))


class Bytes:
    """A body to be put."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204
        yield self._data


class GatedBackend(MemoryBackend):
    """Answers a GET when the test opens the gate; `extents` are the requests that were begun."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.extents: list[Extent] = []
        self.cancelled_count = 0
        self.mangle: Callable[[bytes], bytes] = bytes

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        self.extents.append(extent)
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.cancelled_count += 1
            raise
        return self.mangle(await super().get(key, extent, if_match=if_match))


class Rig:
    def __init__(self, root: Path, backend: GatedBackend, etag: ETag, size: int) -> None:
        self.backend = backend
        self.contents = Contents(root, ContentIndex(root / "index.db"), block_size=BLOCK, boot_id="b")
        self.base = Base(STORE, KEY, etag, size)
        self.fetcher = Fetcher({STORE: backend}, limiter=trio.CapacityLimiter(4))

    def open(self, ino: int = 2) -> Content:
        return self.contents.open(InodeNo(ino), size=self.base.size, base=self.base)


@asynccontextmanager
async def open_rig(root: Path, body: bytes = BODY) -> AsyncIterator[Rig]:
    backend = GatedBackend()
    rig = Rig(root, backend, await backend.put(KEY, Bytes(body), metadata={}), len(body))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(rig.fetcher.run)
            yield rig
            nursery.cancel_scope.cancel()
    assert repr(rig.fetcher) == "<Fetcher: 0 blocks in flight, 0 prefetches>"
    assert not rig.contents._open, "a fetch kept a content open"
    rig.contents.close()


async def test_readers_share_a_request(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        async with trio.open_nursery() as readers:
            readers.start_soon(rig.fetcher.ensure, content, [2, 3])
            readers.start_soon(rig.fetcher.ensure, content, [3, 2])
            await wait_all_tasks_blocked()
            readers.start_soon(rig.fetcher.ensure, content, [3, 4])
            await wait_all_tasks_blocked()
            rig.backend.gate.set()
        assert rig.backend.extents == [Extent(32, 32), Extent(64, 16)]
        assert content.pread(32, 48) == BODY[32:80]
        content.close()


async def test_neighbours_are_one_request_and_others_fly_beside_it(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        async with trio.open_nursery() as readers:
            readers.start_soon(rig.fetcher.ensure, content, [0, 1, 2, 7, 11, 12])
            await wait_all_tasks_blocked()
            assert sorted(rig.backend.extents) == [Extent(0, 48), Extent(112, 16), Extent(176, 24)]
            rig.backend.gate.set()
        assert content.missing(Extent(0, 200)) == [3, 4, 5, 6, 8, 9, 10]
        content.close()


async def test_a_long_run_is_cut_and_bounded(tmp_path: Path) -> None:
    async with open_rig(tmp_path, bytes(3 * REQUEST_BYTES)) as rig:
        contents = Contents(tmp_path / "b", ContentIndex(tmp_path / "index2.db"), block_size=1 << 20, boot_id="b")
        content = contents.open(InodeNo(2), size=rig.base.size, base=rig.base)
        rig.backend.gate.set()
        await rig.fetcher.ensure(content, content.missing(Extent(0, rig.base.size)))
        assert [extent.length for extent in rig.backend.extents] == [REQUEST_BYTES] * 3
        assert content.whole
        content.close()
        contents.close()


async def test_a_request_lives_as_long_as_one_reader_waits(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        first, second = trio.CancelScope(), trio.CancelScope()

        async def read(scope: trio.CancelScope) -> None:
            with scope:
                await rig.fetcher.ensure(content, [1])

        async with trio.open_nursery() as readers:
            readers.start_soon(read, first)
            readers.start_soon(read, second)
            await wait_all_tasks_blocked()
            first.cancel()
            await wait_all_tasks_blocked()
            assert rig.backend.cancelled_count == 0
            second.cancel()
            await wait_all_tasks_blocked()
            assert rig.backend.cancelled_count == 1
        rig.backend.gate.set()
        await rig.fetcher.ensure(content, [1])  # a later reader asks anew
        assert len(rig.backend.extents) == 2
        content.close()


async def test_a_reader_who_comes_as_the_last_one_leaves_starts_anew(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        with trio.move_on_after(0.01):
            await rig.fetcher.ensure(content, [1])
        rig.backend.gate.set()
        await rig.fetcher.ensure(content, [1])
        assert content.pread(16, 16) == BODY[16:32]
        content.close()


async def test_an_error_reaches_every_waiter(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        errors = []

        async def read() -> None:
            try:
                await rig.fetcher.ensure(content, [1])
            except PreconditionFailed as exc:
                errors.append(exc)

        async with trio.open_nursery() as readers:
            readers.start_soon(read)
            readers.start_soon(read)
            await wait_all_tasks_blocked()
            await rig.backend.put(KEY, Bytes(b"another version"), metadata={})
            rig.backend.gate.set()
        assert len(errors) == 2
        assert len(rig.backend.extents) == 1
        assert content.missing(Extent(16, 1)) == [1]
        content.close()


async def test_a_missing_object_is_told(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        rig.backend.gate.set()
        await rig.backend.delete([KEY])
        with pytest.raises(NoSuchObject):
            await rig.fetcher.ensure(content, [1])
        content.close()


@pytest.mark.parametrize("mangle", [lambda body: body[:-1], lambda body: body + b"x", lambda body: b""])
async def test_a_body_of_the_wrong_length_is_never_cached(tmp_path: Path, mangle: Callable[[bytes], bytes]) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        rig.backend.mangle = mangle
        rig.backend.gate.set()
        with pytest.raises(BackendUnavailable):
            await rig.fetcher.ensure(content, [1])
        assert content.missing(Extent(16, 1)) == [1]
        content.close()


async def test_a_write_during_the_fetch_wins(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        async with trio.open_nursery() as readers:
            readers.start_soon(rig.fetcher.ensure, content, [0, 1])
            await wait_all_tasks_blocked()
            content.pwrite(0, b"w" * BLOCK)
            content.truncate(20)
            rig.backend.gate.set()
        assert content.pread(0, 99) == b"w" * BLOCK + BODY[16:20]
        content.close()


async def test_an_object_that_moves_during_the_fetch_is_asked_for_again(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        async with trio.open_nursery() as readers:
            readers.start_soon(rig.fetcher.ensure, content, [1])
            await wait_all_tasks_blocked()
            etag = await rig.backend.put(ObjectKey("moved"), Bytes(BODY), metadata={})
            await rig.backend.delete([KEY])
            content.rebase(Base(STORE, ObjectKey("moved"), etag, len(BODY)))
            rig.backend.gate.set()
        assert content.pread(16, 16) == BODY[16:32]
        content.close()


async def test_a_prefetch_goes_on_alone_and_a_reader_may_join(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        rig.fetcher.prefetch(content, [0, 1, 5])
        rig.fetcher.prefetch(content, [1])
        content.close()
        await wait_all_tasks_blocked()
        content = rig.open()
        with trio.move_on_after(0.01):
            await rig.fetcher.ensure(content, [1])
        assert rig.backend.cancelled_count == 0
        rig.backend.gate.set()
        await rig.fetcher.ensure(content, [0, 1])
        await wait_all_tasks_blocked()
        assert sorted(rig.backend.extents) == [Extent(0, 32), Extent(80, 16)]
        assert content.missing(Extent(80, 16)) == []
        content.close()


async def test_prefetches_are_bounded_and_never_raise(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.backend.delete([KEY])
        contents = [rig.open(ino) for ino in range(2, 4 + MAX_PREFETCHES)]
        for content in contents:
            rig.fetcher.prefetch(content, [0])
        rig.backend.gate.set()
        await wait_all_tasks_blocked()
        assert len(rig.backend.extents) == MAX_PREFETCHES
        for content in contents:
            content.close()


async def test_when_it_stops_waiters_are_told(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = rig.open()
        fetcher = Fetcher({STORE: rig.backend}, limiter=trio.CapacityLimiter(1))
        async with trio.open_nursery() as nursery:
            await nursery.start(fetcher.run)

            async def read() -> None:
                with pytest.raises(BackendUnavailable):
                    await fetcher.ensure(content, [0])

            async with trio.open_nursery() as readers:
                readers.start_soon(read)
                await wait_all_tasks_blocked()
                # Only what carries the requests ends: the reader is outside of it.
                fetcher._nursery.cancel_scope.cancel()  # type: ignore[union-attr]  # it runs
        with pytest.raises(BackendUnavailable):
            await fetcher.ensure(content, [0])
        content.close()


@pytest.mark.parametrize("can_be_given_up", [0, 1, 3])
async def test_on_a_full_disk_room_is_made_for_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_be_given_up: int
) -> None:
    """As long as there is something to give up, and what came already is not asked for again."""
    fill, left = Content.fill, can_be_given_up

    async def make_room() -> int:
        nonlocal left
        await trio.lowlevel.checkpoint()
        left -= 1
        return int(left >= 0)

    def short(content: Content, block_no: int, data: memoryview) -> None:
        if left > 0 or not can_be_given_up:
            raise NoSpace("full")
        fill(content, block_no, data)

    monkeypatch.setattr(Content, "fill", short)
    async with open_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        content = rig.open()
        fetcher = Fetcher({STORE: rig.backend}, limiter=trio.CapacityLimiter(1), make_room=make_room)
        await nursery.start(fetcher.run)
        rig.backend.gate.set()
        if can_be_given_up:
            await fetcher.ensure(content, [0, 1, 2])
            assert content.pread(0, 3 * BLOCK) == BODY[: 3 * BLOCK]
        else:
            with pytest.raises(NoSpace):
                await fetcher.ensure(content, [0, 1, 2])
        assert len(rig.backend.extents) == 1
        content.close()
        nursery.cancel_scope.cancel()
