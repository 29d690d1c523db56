"""The disk cache of listings' pages."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import diskcache
import pytest

from fusecache.cache import index
from fusecache.cache.index import ContentIndex
from fusecache.cache.listings import LowerEntry, Page, PageStore
from fusecache.types import ETag, InodeNo


def test_a_damaged_page_store_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"no database, but a file with some bytes " * 100)
    pages = PageStore(tmp_path, tag="m")
    page = Page([LowerEntry("é", False, 1 << 40, ETag("e"), 5)])
    pages.put_page("1", 0, page)
    pages._decoded.clear()
    assert pages.page("1", 0) == page
    assert pages.page("1", 1) is None
    pages._records._disk._con.execute("UPDATE Cache SET value = x'c1'")
    assert pages.get("page:1:0") is None
    pages.close()


def test_where_none_can_be_made_pages_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is full a mount is needed, to drain what is on it."""

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(diskcache, "Cache", full)
    pages = PageStore(tmp_path / "listings", tag="m")
    page = Page([LowerEntry("a", False, 1, ETag("e"), 5)])
    pages.put_page("1", 0, page)
    assert pages.page("1", 0) == page
    pages.put("record", 1)
    assert pages.get("record") is None
    pages.delete("record")
    pages.close()


def test_where_none_can_be_made_the_index_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = index._opened

    def full(path: Path) -> sqlite3.Connection:
        if path.name != ":memory:":
            raise sqlite3.OperationalError("database or disk is full")
        return opened(path)

    monkeypatch.setattr(index, "_opened", full)
    rows = ContentIndex(tmp_path / "index.db")
    rows.flush(used_bytes=5)
    assert rows.used_bytes() == 5
    assert rows.get(InodeNo(1)) is None
    rows.close()
