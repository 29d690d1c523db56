"""One directory of the lower, page by page, as far as somebody looked."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

import trio

from fusecache.backends.base import Backend
from fusecache.cache.pages import LowerEntry, Page, PageStore
from fusecache.types import ETag, ListPage, ObjectInfo, ObjectKey, Seq, StoreNo

PAGE_ENTRIES = 1000
"""What S3 gives at most for one request."""


class Listing:
    """What the store showed below `prefix`: a cache, not truth. Pages are requested when they are asked for.

    In memory are two short strings a page; the entries are in the `PageStore`.
    """

    def __init__(
        self,
        backend: Backend,
        pages: PageStore,
        *,
        listing_id: str,
        store: StoreNo,
        prefix: str,
        epoch: Seq,
        fetched_at: float,
        on_complete: Callable[[Listing], None],
    ) -> None:
        self.store = store
        self.prefix = prefix
        self.epoch = epoch
        """The namespace's seq when the first request started: what changed later may be missing here."""
        self.fetched_at = fetched_at
        """Wall time of that moment, in seconds."""
        self.complete = False
        """Whether the last page is here."""
        self.marker: ObjectInfo | None = None
        """The object named as the prefix itself, once the first page is here: no entry, but the directory's marker."""
        self._backend = backend
        self._pages = pages
        self._id = listing_id
        self._on_complete = on_complete
        self._firsts: list[str] = []
        self._tokens: list[str | None] = []
        self._next: str | None = None
        self._last: str | None = None
        self._ordered = True
        self._lock = trio.Lock()
        self._attempt_count = 0
        self._failure: tuple[int, Exception] | None = None

    def __repr__(self) -> str:
        state = "complete" if self.complete else "partly loaded"
        return f"<Listing {self.store}:{self.prefix} {state}, {len(self._firsts)} pages>"

    @property
    def begun(self) -> bool:
        """Whether the first page is here."""
        return self.complete or bool(self._firsts)

    @property
    def page_count(self) -> int:
        """How many pages are here."""
        return len(self._firsts)

    async def page(self, page_no: int) -> Page | None:
        """Return a page that has entries, requesting what is missing up to it; None past the end.

        One request serves all who wait, and so does its failure; a cancelled caller's is taken over.

        Raises:
            BackendError: of the request. The pages so far stay.
        """
        while page_no >= len(self._firsts):
            if self.complete:
                return None
            await self._load_shared(page_no)
        return self._pages.page(self._id, page_no) or await self._reload(page_no)

    def known(self, name: str) -> list[LowerEntry] | None:
        """Return all entries of that name: an object, a prefix, both, or none. None: not listed that far.

        The two are apart in the store's order: `a`, `a-b`, `a/`.
        """
        if not self._ordered:
            return self._searched(name) if self.complete else None
        found = []
        for order in (name, name + "/"):
            if not self.complete and (self._last is None or order > self._last):
                return None
            page_no = bisect_right(self._firsts, order) - 1
            if page_no < 0:
                continue
            page = self._pages.page(self._id, page_no)
            if page is None:
                return None  # no longer kept
            at = bisect_left(page.entries, order, key=_order)
            found += [entry for entry in page.entries[at : at + 1] if entry.order == order]
        return found

    def record(self) -> dict[str, Any]:
        """Return what `restore` needs, without the pages."""
        marker = self.marker and [self.marker.key, self.marker.size, self.marker.etag, self.marker.mtime_ns]
        return {
            "id": self._id,
            "epoch": self.epoch,
            "fetched_at": self.fetched_at,
            "firsts": self._firsts,
            "tokens": self._tokens,
            "last": self._last,
            "ordered": self._ordered,
            "marker": marker,
        }

    def restore(self, record: dict[str, Any]) -> None:
        """Become the complete listing of which `record` was made."""
        self._firsts, self._tokens = record["firsts"], record["tokens"]
        self._last, self._ordered = record["last"], record["ordered"]
        if record["marker"]:
            key, size, etag, mtime_ns = record["marker"]
            self.marker = ObjectInfo(ObjectKey(key), size, ETag(etag), mtime_ns)
        self.complete = True

    async def _load_shared(self, page_no: int) -> None:
        """Request the next page, unless somebody else's request brought it, or failed for us too."""
        joined = self._attempt_count if self._lock.locked() else None
        async with self._lock:
            if self.complete or page_no < len(self._firsts):
                return
            if joined is not None and self._failure is not None and self._failure[0] >= joined:
                raise self._failure[1].with_traceback(None)
            self._attempt_count += 1
            try:
                await self._load_next()
            except Exception as exc:
                self._failure = (self._attempt_count, exc)
                raise

    async def _load_next(self) -> None:
        """Request what comes next: perhaps no page of ours, as S3 may send some without keys."""
        token = self._next
        found, entries = await self._request(token)
        if entries and entries[0].order == self._last:
            del entries[0]  # some servers repeat a prefix on both sides of a page's edge
        if entries:
            self._append(token, entries)
        self._next = found.next_token
        if found.next_token is None:
            self.complete = True
            self._on_complete(self)

    def _append(self, token: str | None, entries: list[LowerEntry]) -> None:
        if self._last is not None and entries[0].order < self._last:
            self._ordered = False  # the store doesn't keep the order it should: search all of it
        self._pages.put_page(self._id, len(self._firsts), Page(entries))
        self._firsts.append(entries[0].order)
        self._tokens.append(token)
        self._last = entries[-1].order

    async def _reload(self, page_no: int) -> Page:
        """Request a page again that is no longer kept."""
        async with self._lock:
            page = self._pages.page(self._id, page_no)
            if page is not None:
                return page
            _, entries = await self._request(self._tokens[page_no])
            if self._ordered:
                entries = [entry for entry in entries if entry.order >= self._firsts[page_no]]
            page = Page(entries)
            self._pages.put_page(self._id, page_no, page)
            return page

    async def _request(self, token: str | None) -> tuple[ListPage, list[LowerEntry]]:
        found = await self._backend.list(self.prefix, delimiter="/", token=token, limit=PAGE_ENTRIES)
        start = len(self.prefix)
        entries = [LowerEntry(key[start:-1], True, 0, ETag(""), 0) for key in found.prefixes]
        for info in found.objects:
            if info.key == self.prefix:
                self.marker = info
            else:
                entries.append(LowerEntry(info.key[start:], False, info.size, info.etag, info.mtime_ns))
        entries.sort(key=_order)
        return found, entries

    def _searched(self, name: str) -> list[LowerEntry] | None:
        found: list[LowerEntry] = []
        for page_no in range(len(self._firsts)):
            page = self._pages.page(self._id, page_no)
            if page is None:
                return None
            found += [entry for entry in page.entries if entry.name == name]
        return found


def _order(entry: LowerEntry) -> str:
    return entry.order
