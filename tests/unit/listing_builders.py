"""Listings of one process over one store, under a clock that the test owns."""

from __future__ import annotations

from pathlib import Path

from fusecache.backends.memory import MemoryBackend
from fusecache.cache.listings import Listing, Listings, PageStore
from fusecache.types import ETag, ObjectInfo, ObjectKey, StoreNo

STORE = StoreNo(1)


class Rig:
    """One process over one cache directory and one store."""

    def __init__(self, root: Path, backend: MemoryBackend) -> None:
        self.root = root
        self.backend = backend
        self.now = 1000.0
        self.listings = self.restarted()

    def restarted(self) -> Listings:
        pages = PageStore(self.root / "listings", tag="m")
        return Listings({STORE: self.backend}, pages, clock=lambda: self.now)

    def restart(self) -> None:
        self.listings.close()
        self.listings = self.restarted()


async def names(listing: Listing) -> list[str]:
    found: list[str] = []
    page_no = 0
    while (page := await listing.page(page_no)) is not None:
        found += [entry.order for entry in page.entries]
        page_no += 1
    return found


def info(key: str) -> ObjectInfo:
    return ObjectInfo(ObjectKey(key), 1, ETag("e"), 2)
