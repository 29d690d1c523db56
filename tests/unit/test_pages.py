"""The disk cache of listings' pages."""

from __future__ import annotations

from pathlib import Path

from fusecache.cache.listings import LowerEntry, Page, PageStore
from fusecache.types import ETag


def test_a_damaged_page_store_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"no database, but a file with some bytes " * 100)
    pages = PageStore(tmp_path, tag="m")
    page = Page([LowerEntry("é", False, 1 << 40, ETag("e"), 5)])
    pages.put_page("1", 0, page)
    pages._decoded.clear()
    assert pages.page("1", 0) == page
    assert pages.page("1", 1) is None
    pages._disk._con.execute("UPDATE Cache SET value = x'c1'")
    assert pages.get("page:1:0") is None
    pages.close()
