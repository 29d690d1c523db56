"""Pages of listings on disk: a diskcache that may be lost, and a few decoded ones in memory."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import diskcache
import msgpack

from fusecache.types import ETag

log = logging.getLogger(__name__)

DECODED_ENTRIES = 1 << 16
"""Entries kept decoded, about 20 MB: many small directories, or the pages a big one is read at."""

_IN_DATABASE_BYTES = 1 << 20
"""Larger values would become files of their own; a page of 1000 entries has about 100 kB."""

_RECORD_ERRORS = (sqlite3.Error, diskcache.Timeout, OSError, msgpack.UnpackException, ValueError, TypeError)


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


class MsgpackDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Values as msgpack: what lies on disk is data, whoever wrote it; a pickle would be a program."""

    def put(self, key: str) -> tuple[str, bool]:
        assert isinstance(key, str)
        return key, True

    def get(self, key: str, raw: bool) -> str:
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        return super().store(msgpack.packb(value, unicode_errors="surrogatepass"), False, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        assert mode != diskcache.core.MODE_PICKLE, "nothing here is pickled"
        data = super().fetch(mode, filename, value, False)
        return msgpack.unpackb(data, unicode_errors="surrogatepass")


class PageStore:
    """Records by name, and pages by listing and number. What fails is logged and absent, never raised."""

    def __init__(self, root: Path, *, tag: str, size_limit: int = 1 << 30, keep_s: float = 3600.0) -> None:
        """`tag` names the mount; records go when older than `keep_s`, or the oldest when over `size_limit` bytes."""
        self._root = root
        self._tag = tag
        self._size_limit = size_limit
        self._keep_s = keep_s
        self._decoded: OrderedDict[tuple[str, int], Page] = OrderedDict()
        self._decoded_count = 0
        self._disk = self._opened_or_anew()

    def get(self, name: str) -> Any:
        """Return the record; None if there is none."""
        if self._disk is None:
            return None
        try:
            return self._disk.get(name)
        except _RECORD_ERRORS as exc:
            log.warning("listing record %s is not readable: %s", name, exc)
            return None

    def put(self, name: str, value: Any) -> None:
        if self._disk is None:
            return
        try:
            self._disk.set(name, value, expire=self._keep_s, tag=self._tag)
        except _RECORD_ERRORS as exc:
            log.warning("listing record %s is not kept: %s", name, exc)

    def delete(self, name: str) -> None:
        if self._disk is None:
            return
        try:
            self._disk.delete(name)
        except _RECORD_ERRORS as exc:
            log.warning("listing record %s is not deleted: %s", name, exc)

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
        if self._disk is not None:
            self._disk.close()

    def _opened_or_anew(self) -> diskcache.Cache | None:
        """None: not even an empty one can be made, as on a full disk, which a mount is needed to drain."""
        try:
            return self._opened()
        except (sqlite3.Error, diskcache.Timeout) as exc:
            log.warning("%s: begun anew: %s", self._root, exc)
        try:
            shutil.rmtree(self._root)
            return self._opened()
        except (sqlite3.Error, diskcache.Timeout, OSError) as exc:
            log.warning("%s: cannot be made (%s); listings are kept in memory only", self._root, exc)
            return None

    def _opened(self) -> diskcache.Cache:
        return diskcache.Cache(
            self._root,
            timeout=1.0,
            disk=MsgpackDisk,
            disk_min_file_size=_IN_DATABASE_BYTES,
            size_limit=self._size_limit,
            eviction_policy="least-recently-stored",
            sqlite_synchronous=0,  # lost with the power: then it is listed again
        )

    def _remember(self, listing_id: str, page_no: int, page: Page) -> None:
        replaced = self._decoded.pop((listing_id, page_no), None)
        self._decoded[listing_id, page_no] = page
        self._decoded_count += len(page.entries) - (len(replaced.entries) if replaced else -1)
        while self._decoded_count > DECODED_ENTRIES:
            _, dropped = self._decoded.popitem(last=False)
            self._decoded_count -= len(dropped.entries) + 1
