"""Listings of servers that keep no order, repeat themselves or do not come to an end."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import trio

from fusecache.backends.memory import MemoryBackend
from fusecache.types import ListPage, ObjectKey, Seq
from tests.unit.listing_builders import STORE, Rig, info, names


class OddBackend(MemoryBackend):
    """A server that keeps no order, repeats a prefix at the edge and sends an empty page."""

    async def list(self, prefix: str, **_: object) -> ListPage:
        token = _["token"]
        pages = {
            None: ListPage((info("m"),), (ObjectKey("z/"),), "1"),
            "1": ListPage((), (), "2"),
            "2": ListPage((), (ObjectKey("z/"),), "3"),
            "3": ListPage((info("a"),), (ObjectKey("b/"),), None),
        }
        return pages[token]  # type: ignore[index]  # a first page has none


async def test_a_server_without_order_hides_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, OddBackend())
    listing = await rig.listings.open(STORE, "", Seq(0))
    assert await names(listing) == ["m", "z/", "a", "b/"]
    for name, found in {"m": 1, "z": 1, "a": 1, "b": 1, "c": 0}.items():
        assert len(listing.known(name) or []) == found
    rig.restart()
    restored = rig.listings.fresh(STORE, "")
    assert restored is not None
    assert len(restored.known("a") or []) == 1
    rig.listings.close()


class RepeatingBackend(MemoryBackend):
    """A server that shows a prefix on both sides of a page's edge."""

    async def list(self, prefix: str, *, token: str | None = None, **_: object) -> ListPage:
        if token is None:
            return ListPage((info("a"),), (ObjectKey("b/"),), "1")
        return ListPage((info("c"),), (ObjectKey("b/"),), None)


async def test_a_repeated_prefix_is_one_entry(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RepeatingBackend())
    listing = await rig.listings.open(STORE, "", Seq(0))
    assert await names(listing) == ["a", "b/", "c"]
    rig.listings._pages._records._disk.clear()
    rig.listings._pages._decoded.clear()
    assert await names(listing) == ["a", "b/", "c"]
    rig.listings.close()


class EndlessBackend(MemoryBackend):
    """200 pages of 1000 keys, made as they are asked for."""

    async def list(self, prefix: str, *, token: str | None = None, **_: object) -> ListPage:
        await trio.lowlevel.checkpoint()
        number = int(token or 0)
        objects = tuple(info(f"part-{number:04}-{n:04}-{'x' * 40}") for n in range(1000))
        return ListPage(objects, (), str(number + 1) if number < 199 else None)


@pytest.mark.slow
async def test_a_long_listing_is_read_in_bounded_memory(tmp_path: Path) -> None:
    rig = Rig(tmp_path, EndlessBackend())
    listing = await rig.listings.open(STORE, "", Seq(0))
    tracemalloc.start()
    try:
        for page_no in range(200):
            assert await listing.page(page_no) is not None
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert await listing.page(200) is None
    assert held < 32 << 20, "200,000 entries would be about 60 MB"
    assert len(listing.known(f"part-0150-0500-{'x' * 40}") or []) == 1
    rig.listings.close()
