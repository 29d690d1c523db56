"""Cached blocks against the hashes that they had when they were fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fusecache.cache.blocks import UNKNOWN_HASH, BlockHashes, BlockMap, block_count, hash_block
from fusecache.doctor.files import Look, content_path
from fusecache.doctor.findings import Finding, Kind, Refetch
from fusecache.doctor.snapshot import Snapshot
from fusecache.types import InodeNo

_COLUMNS = "ino, size, block_size, bitmap, hashes, etag"
_PAGE = f"SELECT {_COLUMNS} FROM content WHERE ino > :after ORDER BY ino LIMIT :count"
_ONE = f"SELECT {_COLUMNS} FROM content WHERE ino = ?"
_VERSION = "SELECT base_etag FROM inode WHERE ino = ?"


class Cached(NamedTuple):
    """What the index says of a clean content: see cache/index.py."""

    ino: InodeNo
    size: int
    block_size: int
    bitmap: bytes | None
    hashes: bytes
    etag: str

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, length and hash of each block that is here and was hashed."""
        count = block_count(self.size, self.block_size)
        present = None if self.bitmap is None else BlockMap(count, self.bitmap)
        hashes = BlockHashes(self.hashes)
        for block_no in range(count):
            digest = hashes.get(block_no)
            if digest != UNKNOWN_HASH and (present is None or block_no in present):
                yield block_no, min(self.block_size, self.size - block_no * self.block_size), digest


def check_blocks(namespace: Snapshot, index: Snapshot, cache: Path, look: Look) -> Iterator[Finding]:
    """Yield the blocks that differ from what was fetched. Reads all that is cached."""
    for page in index.pages(_PAGE, count=100):
        for row in page:
            yield from _check_content(namespace, index, cache, Cached._make(row), look)


def _check_content(namespace: Snapshot, index: Snapshot, cache: Path, cached: Cached, look: Look) -> Iterator[Finding]:
    if namespace.first(_VERSION, (cached.ino,)) != (cached.etag,):
        return  # of another version, or of nothing: nobody reads it
    path = content_path(cache, cached.ino)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # evicted or removed; or it is fetched again
    try:
        found = os.fstat(fd).st_size
        if found != cached.size:
            if _unchanged(index, cached):
                told = f"{path.relative_to(cache)} has {found} bytes, {cached.size} were cached"
                yield Finding(Kind.STALE, namespace.path_of(cached.ino), told)
            return
        for block_no, length, digest in cached.blocks():
            data = os.pread(fd, length, block_no * cached.block_size)
            look("bytes", length)
            # The row goes before the bytes change: while it is there, they must be what it says.
            if hash_block(data) != digest and _unchanged(index, cached):
                remedy = Refetch(cached.ino, block_no, cached.block_size, digest)
                yield Finding(Kind.BLOCK, namespace.path_of(cached.ino), f"block {block_no}", remedy)
    finally:
        os.close(fd)


def _unchanged(index: Snapshot, cached: Cached) -> bool:
    return index.first(_ONE, (cached.ino,)) == cached
