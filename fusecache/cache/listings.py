"""What the lower showed: shared while fresh, kept over a restart, bounded in memory and on disk."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from fusecache.backends.base import Backend
from fusecache.cache.listing import Listing
from fusecache.cache.pages import LowerEntry, Page, PageStore
from fusecache.types import Seq, StoreNo

__all__ = ["Listing", "Listings", "LowerEntry", "Page", "PageStore"]

TTL_S = 60.0
"""How long a listing is believed, if nobody says otherwise."""

MAX_LISTINGS = 4096
"""Listings in memory, a few kB each; complete ones come back from disk."""

ANY_EPOCH = Seq(0)

_DROPPED = "dropped"


class Listings:
    """Listings by store and prefix. Belongs to the loop; `clock` is wall time in seconds."""

    def __init__(
        self,
        backends: Mapping[StoreNo, Backend],
        pages: PageStore,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._backends = backends
        self._pages = pages
        self._clock = clock
        self._live: OrderedDict[tuple[StoreNo, str], Listing] = OrderedDict()
        self._number = itertools.count()

    def __repr__(self) -> str:
        return f"<Listings: {len(self._live)} in memory>"

    def fresh(self, store: StoreNo, prefix: str, *, min_epoch: Seq = ANY_EPOCH, ttl_s: float = TTL_S) -> Listing | None:
        """Return the listing if its first page is here and it is younger than `ttl_s`; it may be partly loaded.

        `min_epoch`: what the namespace did to that directory last, which the listing must have seen.
        """
        listing = self._shared(store, prefix, min_epoch, ttl_s)
        return listing if listing is not None and listing.begun else None

    async def open(
        self, store: StoreNo, prefix: str, epoch: Seq, *, min_epoch: Seq = ANY_EPOCH, ttl_s: float = TTL_S
    ) -> Listing:
        """Return the listing if it is younger than `ttl_s`, else begin one, which concurrent callers share.

        Its first page is here then.

        `epoch` is the namespace's seq now.

        Raises:
            BackendError: of the first request.
        """
        listing = self._shared(store, prefix, min_epoch, ttl_s)
        if listing is None:
            listing_id = f"{self._clock():.6f}-{next(self._number)}"
            listing = self._made(store, prefix, listing_id, epoch, self._clock())
            self._keep(listing)
        if not listing.begun:
            await listing.page(0)
        return listing

    def drop(self, store: StoreNo, prefix: str) -> None:
        """Forget the listing of this directory: the next `open` asks the store. Holders keep theirs."""
        self._live.pop((store, prefix), None)
        self._pages.delete(_record_name(store, prefix))

    def drop_tree(self, store: StoreNo, prefix: str) -> None:
        """Forget the listing of this directory and of all below it."""
        for key in [key for key in self._live if key[0] == store and key[1].startswith(prefix)]:
            del self._live[key]
        now = self._clock()
        self._dropped = {name: at for name, at in self._dropped.items() if self._is_young(at, self._pages.keep_s)}
        self._dropped[_record_name(store, prefix)] = now
        self._pages.put(_DROPPED, self._dropped)

    def close(self) -> None:
        self._pages.close()

    @cached_property
    def _dropped(self) -> dict[str, float]:
        return self._pages.get(_DROPPED) or {}

    def _shared(self, store: StoreNo, prefix: str, min_epoch: Seq, ttl_s: float) -> Listing | None:
        listing = self._live.get((store, prefix))
        if listing is None:
            listing = self._restored(store, prefix, ttl_s)
        if listing is None or listing.epoch < min_epoch or not self._is_young(listing.fetched_at, ttl_s):
            return None
        self._live.move_to_end((store, prefix))
        return listing

    def _restored(self, store: StoreNo, prefix: str, ttl_s: float) -> Listing | None:
        """Bring a complete listing back from disk, if nothing above it was dropped since."""
        record: dict[str, Any] | None = self._pages.get(_record_name(store, prefix))
        if record is None or not self._is_young(record["fetched_at"], ttl_s):
            return None
        dropped_at = max(self._dropped.get(_record_name(store, above), 0.0) for above in _ancestors(prefix))
        if dropped_at >= record["fetched_at"]:
            return None
        listing = self._made(store, prefix, record["id"], Seq(record["epoch"]), record["fetched_at"])
        listing.restore(record)
        self._keep(listing)
        return listing

    def _made(self, store: StoreNo, prefix: str, listing_id: str, epoch: Seq, fetched_at: float) -> Listing:
        return Listing(
            self._backends[store],
            self._pages,
            listing_id=listing_id,
            store=store,
            prefix=prefix,
            epoch=epoch,
            fetched_at=fetched_at,
            on_complete=self._completed,
        )

    def _keep(self, listing: Listing) -> None:
        self._live[listing.store, listing.prefix] = listing
        if len(self._live) > MAX_LISTINGS:
            self._live.popitem(last=False)

    def _completed(self, listing: Listing) -> None:
        """Keep it over a restart, unless it was dropped or replaced while its pages came."""
        if self._live.get((listing.store, listing.prefix)) is listing:
            self._pages.put(_record_name(listing.store, listing.prefix), listing.record())

    def _is_young(self, at: float, ttl_s: float) -> bool:
        return 0 <= self._clock() - at < ttl_s  # a clock set back makes everything old


def _record_name(store: StoreNo, prefix: str) -> str:
    return f"listing:{store}:{prefix}"


def _ancestors(prefix: str) -> Iterator[str]:
    """Yield "", "a/" and "a/b/" for "a/b/"."""
    yield ""
    for at, letter in enumerate(prefix, 1):
        if letter == "/":
            yield prefix[:at]
