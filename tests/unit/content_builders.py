"""Contents with blocks of a few bytes, and an object to fill them from."""

from __future__ import annotations

from pathlib import Path

from fusecache.cache.contents import Base, Content, Contents
from fusecache.cache.index import ContentIndex
from fusecache.types import ETag, Extent, InodeNo, ObjectKey, StoreNo

BLOCK = 16
INO = InodeNo(0x1234)
STORE = StoreNo(0)
KEY = ObjectKey("data/part-0")


def open_contents(root: Path, *, boot_id: str = "first") -> Contents:
    return Contents(root, ContentIndex(root / "index.db"), block_size=BLOCK, boot_id=boot_id)


def base_of(body: bytes, etag: str = "e1") -> Base:
    return Base(STORE, KEY, ETag(etag), len(body))


def fetch(content: Content, body: bytes, extent: Extent) -> list[int]:
    blocks = content.missing(extent)
    for block_no in blocks:
        start = block_no * BLOCK
        content.fill(block_no, body[start : start + content.block_length(block_no)])
    return blocks


def read_all(content: Content, body: bytes = b"") -> bytes:
    fetch(content, body, Extent(0, content.size))
    return content.pread(0, content.size + 1)
