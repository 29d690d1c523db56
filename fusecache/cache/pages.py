"""Pages of listings on disk: a diskcache that may be lost, and a few decoded ones in memory."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fusecache.types import ETag

if TYPE_CHECKING:
    from fusecache.cache.records import Records

DECODED_ENTRIES = 1 << 16
"""Entries kept decoded, about 20 MB: many small directories, or the pages a big one is read at."""


class LowerEntry(NamedTuple):
    """One entry of a page: an object, or a prefix without its slash. The text is as in the key."""

    name: str
    is_prefix: bool
    size: int
    etag: ETag
    mtime_ns: int

    @property
    def order(self) -> str:
        """What the store sorts it by. Code point order is the order of UTF-8 bytes."""
        return self.name + "/" if self.is_prefix else self.name


class Page(NamedTuple):
    """Entries in the store's order."""

    entries: list[LowerEntry]


class PageStore:
    """Records by name, and pages by listing and number. What fails is logged and absent, never raised."""

    def __init__(self, root: Path, *, tag: str, size_limit: int = 1 << 30, keep_s: float = 3600.0) -> None:
        """`tag` names the mount; records go when older than `keep_s`, or the oldest when over `size_limit` bytes.

        Nothing is opened before it is asked for the first time.
        """
        self._root = root
        self._tag = tag
        self._size_limit = size_limit
        self.keep_s = keep_s
        self._decoded: OrderedDict[tuple[str, int], Page] = OrderedDict()
        self._decoded_count = 0

    def get(self, name: str) -> Any:
        """Return the record; None if there is none."""
        return self._records.get(name)

    def put(self, name: str, value: Any) -> None:
        self._records.put(name, value)

    def delete(self, name: str) -> None:
        self._records.delete(name)

    def page(self, listing_id: str, page_no: int) -> Page | None:
        """Return a page, if it is still kept."""
        found = self._decoded.get((listing_id, page_no))
        if found is not None:
            self._decoded.move_to_end((listing_id, page_no))
            return found
        rows = self.get(f"page:{listing_id}:{page_no}")
        if rows is None:
            return None
        page = Page([LowerEntry(*row) for row in rows])
        self._remember(listing_id, page_no, page)
        return page

    def put_page(self, listing_id: str, page_no: int, page: Page) -> None:
        self.put(f"page:{listing_id}:{page_no}", page.entries)
        self._remember(listing_id, page_no, page)

    def close(self) -> None:
        if "_records" in vars(self):
            self._records.close()

    @cached_property
    def _records(self) -> Records:
        from fusecache.cache.records import Records  # the first answer of a next daemon doesn't wait for diskcache

        return Records(self._root, tag=self._tag, size_limit=self._size_limit, keep_s=self.keep_s)

    def _remember(self, listing_id: str, page_no: int, page: Page) -> None:
        replaced = self._decoded.pop((listing_id, page_no), None)
        self._decoded[listing_id, page_no] = page
        self._decoded_count += len(page.entries) - (len(replaced.entries) if replaced else -1)
        while self._decoded_count > DECODED_ENTRIES:
            _, dropped = self._decoded.popitem(last=False)
            self._decoded_count -= len(dropped.entries) + 1
