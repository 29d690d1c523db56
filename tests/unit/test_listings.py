"""Listings over a counted backend, a clock that the test owns, and a real disk cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from fusecache.backends.memory import MemoryBackend
from fusecache.cache import listing as listing_module
from fusecache.cache.listings import LowerEntry
from fusecache.errors import BackendUnavailable
from fusecache.types import ETag, ListPage, ObjectKey, Seq
from tests.amounts import examples
from tests.unit.listing_builders import STORE, Rig, names


class EmptyBody:
    length = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


class CountingBackend(MemoryBackend):
    """Counts its LIST requests; fails them while `failure` is set; waits for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.list_count = 0
        self.failure: BackendUnavailable | None = None
        self.gate = trio.Event()
        self.gate.set()

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        self.list_count += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend()


@pytest.fixture
def rig(tmp_path: Path, backend: CountingBackend) -> Iterator[Rig]:
    rig = Rig(tmp_path, backend)
    yield rig
    rig.listings.close()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "PAGE_ENTRIES", 2)


async def put(backend: MemoryBackend, *keys: str) -> None:
    for key in keys:
        await backend.put(ObjectKey(key), EmptyBody(), metadata={})


async def test_entries_are_in_the_store_s_order_and_the_marker_is_none(rig: Rig, backend: CountingBackend) -> None:
    await put(backend, "d/", "d/b", "d/a/x", "d/a", "d/a-b", "d/é", "other")
    listing = await rig.listings.open(STORE, "d/", Seq(7))
    assert await names(listing) == ["a", "a-b", "a/", "b", "é"]
    assert listing.marker is not None
    assert listing.marker.key == "d/"
    assert listing.epoch == 7
    assert listing.complete
    page = await listing.page(0)
    assert page is not None
    assert page.entries[0].etag == (await backend.head(ObjectKey("d/a"))).etag
    assert page.entries[2] == LowerEntry("a", True, 0, ETag(""), 0)


async def test_an_empty_prefix_has_no_page(rig: Rig) -> None:
    listing = await rig.listings.open(STORE, "d/", Seq(0))
    assert await listing.page(0) is None
    assert listing.known("a") == []
    assert rig.listings.fresh(STORE, "d/") is listing


@pytest.mark.usefixtures("small_pages")
async def test_a_file_and_a_prefix_of_one_name_are_found_pages_apart(rig: Rig, backend: CountingBackend) -> None:
    await put(backend, "a", "a!", "a-b", "a.c", "a/x", "b")
    listing = await rig.listings.open(STORE, "", Seq(0))
    assert listing.known("a") is None, "`a/` lies behind the first page"
    assert listing.known("a!") is None
    assert listing.known("Z") == []
    assert await names(listing) == ["a", "a!", "a-b", "a.c", "a/", "b"]
    assert [entry.is_prefix for entry in listing.known("a") or []] == [False, True]
    assert [entry.order for entry in listing.known("b") or []] == ["b"]
    assert listing.known("c") == []


@settings(max_examples=examples(40))
@given(st.sets(st.text("a-/.é~", min_size=1, max_size=4), max_size=12), st.integers(0, 6))
def test_known_is_what_a_whole_listing_says(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], seen: int
) -> None:
    """Some pages in, `known` says all of a name or nothing."""

    async def check() -> None:
        backend = MemoryBackend()
        await put(backend, *keys)
        listings = Rig(tmp_path_factory.mktemp("k"), backend).listings
        listing = await listings.open(STORE, "", Seq(0))
        for page_no in range(seen):
            await listing.page(page_no)
        for name in {key.split("/")[0] for key in keys} | {"a", "~~"}:
            model = [name] * (name in keys) + [name + "/"] * any(key.startswith(name + "/") for key in keys)
            known = listing.known(name)
            assert known is not None or not listing.complete
            assert known is None or [entry.order for entry in known] == model
        assert await names(listing) == sorted({key.partition("/")[0] + key.partition("/")[1] for key in keys})
        listings.close()

    page_entries, listing_module.PAGE_ENTRIES = listing_module.PAGE_ENTRIES, 2
    try:
        trio.run(check)
    finally:
        listing_module.PAGE_ENTRIES = page_entries


async def test_more_than_a_page_is_requested_as_it_is_read(rig: Rig, backend: CountingBackend) -> None:
    keys = [f"d/{n:05}" for n in range(2500)]
    await put(backend, *keys)
    listing = await rig.listings.open(STORE, "d/", Seq(0))
    assert backend.list_count == 1
    assert not listing.complete
    assert await names(listing) == [key[2:] for key in keys]
    assert backend.list_count == 3
    assert await names(listing) == [key[2:] for key in keys]
    assert backend.list_count == 3


@pytest.mark.usefixtures("small_pages")
async def test_a_complete_listing_survives_a_restart_until_it_is_old(rig: Rig, backend: CountingBackend) -> None:
    await put(backend, "d/", "d/a", "d/b", "d/c/x")
    assert await names(await rig.listings.open(STORE, "d/", Seq(5))) == ["a", "b", "c/"]
    requests = backend.list_count
    rig.now += 59
    rig.restart()
    listing = rig.listings.fresh(STORE, "d/")
    assert listing is not None
    assert await names(listing) == ["a", "b", "c/"]
    assert (listing.epoch, listing.fetched_at, backend.list_count) == (5, 1000.0, requests)
    assert listing.marker is not None
    assert [entry.order for entry in listing.known("c") or []] == ["c/"]
    rig.now += 1
    assert rig.listings.fresh(STORE, "d/") is None
    rig.restart()
    assert rig.listings.fresh(STORE, "d/") is None


@pytest.mark.usefixtures("small_pages")
async def test_a_partly_loaded_one_does_not_survive(rig: Rig, backend: CountingBackend) -> None:
    await put(backend, "a", "b", "c")
    await rig.listings.open(STORE, "", Seq(0))
    assert rig.listings.fresh(STORE, "") is not None
    rig.restart()
    assert rig.listings.fresh(STORE, "") is None


async def test_an_older_epoch_is_not_enough(rig: Rig, backend: CountingBackend) -> None:
    first = await rig.listings.open(STORE, "", Seq(5))
    assert rig.listings.fresh(STORE, "", min_epoch=Seq(6)) is None
    assert await rig.listings.open(STORE, "", Seq(6)) is first
    second = await rig.listings.open(STORE, "", Seq(6), min_epoch=Seq(6))
    assert second is not first
    assert backend.list_count == 2


async def test_concurrent_openers_share_the_request(rig: Rig, backend: CountingBackend) -> None:
    backend.gate = trio.Event()
    found = []

    async def open_it() -> None:
        found.append(await rig.listings.open(STORE, "d/", Seq(0)))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(open_it)
        await wait_all_tasks_blocked()
        assert rig.listings.fresh(STORE, "d/") is None
        backend.gate.set()
    assert len(set(map(id, found))) == 1
    assert backend.list_count == 1


async def test_a_failure_is_shared_too_and_the_next_caller_asks_again(rig: Rig, backend: CountingBackend) -> None:
    backend.gate = trio.Event()
    backend.failure = BackendUnavailable("down")

    async def open_it() -> None:
        with pytest.raises(BackendUnavailable):
            await rig.listings.open(STORE, "d/", Seq(0))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(open_it)
        await wait_all_tasks_blocked()
        backend.gate.set()
    assert backend.list_count == 1
    backend.failure = None
    await rig.listings.open(STORE, "d/", Seq(0))
    assert backend.list_count == 2


async def test_a_cancelled_request_is_taken_over(rig: Rig, backend: CountingBackend) -> None:
    backend.gate = trio.Event()
    impatient = trio.CancelScope()
    found = []

    async def leave() -> None:
        with impatient:
            await rig.listings.open(STORE, "d/", Seq(0))

    async def stay() -> None:
        found.append(await rig.listings.open(STORE, "d/", Seq(0)))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            await wait_all_tasks_blocked()
            nursery.start_soon(stay)
            await wait_all_tasks_blocked()
            impatient.cancel()
            await wait_all_tasks_blocked()
            backend.gate.set()
    assert found[0].complete
    assert backend.list_count == 2


async def test_a_dropped_listing_is_gone_here_and_on_disk(rig: Rig, backend: CountingBackend) -> None:
    for prefix in ("d/", "d/e/", "d/e/f/", "de/"):
        await rig.listings.open(STORE, prefix, Seq(0))
    rig.now += 1
    rig.listings.drop(STORE, "d/")
    rig.listings.drop_tree(STORE, "d/e/")
    for _ in range(2):
        assert rig.listings.fresh(STORE, "d/") is None
        assert rig.listings.fresh(STORE, "d/e/") is None
        assert rig.listings.fresh(STORE, "d/e/f/") is None
        assert rig.listings.fresh(STORE, "de/") is not None
        rig.restart()
    rig.now += 1
    again = await rig.listings.open(STORE, "d/e/f/", Seq(0))
    rig.restart()
    assert rig.listings.fresh(STORE, "d/e/f/") is not None
    assert again.complete


@pytest.mark.usefixtures("small_pages")
async def test_one_dropped_while_it_loads_is_not_kept(rig: Rig, backend: CountingBackend) -> None:
    await put(backend, "d/a", "d/b", "d/c")
    held = await rig.listings.open(STORE, "d/", Seq(0))
    rig.listings.drop(STORE, "d/")
    assert await names(held) == ["a", "b", "c"]
    rig.restart()
    assert rig.listings.fresh(STORE, "d/") is None


@pytest.mark.usefixtures("small_pages")
async def test_a_page_that_is_no_longer_kept_is_requested_again(rig: Rig, backend: CountingBackend) -> None:
    await put(backend, "a", "b/x", "c", "d", "e")
    listing = await rig.listings.open(STORE, "", Seq(0))
    await names(listing)
    rig.listings._pages._records._disk.clear()
    rig.listings._pages._decoded.clear()
    assert listing.known("c") is None
    assert await names(listing) == ["a", "b/", "c", "d", "e"]
    assert [entry.order for entry in listing.known("c") or []] == ["c"]
