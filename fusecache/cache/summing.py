"""The sums of a content's bytes: what its writes tell of them, its fetched blocks, and who reads the others."""

from __future__ import annotations

from fusecache.cache.blocks import hash_block
from fusecache.cache.content import Content
from fusecache.cache.sums import SUM_BYTES
from fusecache.types import Extent

AT_ONCE_BYTES = 128 << 10
"""A file up to this size is read on the loop: just written, it is in the page cache."""


def begin(content: Content, known: bytes | None = None) -> None:
    """Before the bytes change: what is `known` of them, and of the blocks that were fetched."""
    content.sums.begin(content.size, known)
    if content.base is not None and content.presence is not None and content.block_size == SUM_BYTES:
        # The base's last block may be short where the file goes on.
        end = content.base.size + (SUM_BYTES - 1 if content.size == content.base.size else 0)
        content.sums.put(content.presence.hashes_of(n for n in content.sums.unknown() if n < end // SUM_BYTES))


def packed_sums(content: Content) -> bytes | None:
    """Return what is known of the bytes, packed as in `cache.sums`; None: nothing. Reads only a small file."""
    begin(content)
    if content.size <= AT_ONCE_BYTES and (blocks := unsummed(content)):
        content.sums.put(read_sums(content, blocks))
    return content.sums.packed()


def unsummed(content: Content) -> list[int]:
    """Return the blocks of `SUM_BYTES` that are here, and of which no sum is known."""
    if not content.sums.is_begun:
        return []
    return [n for n in content.sums.unknown() if not content.missing(Extent(n * SUM_BYTES, SUM_BYTES))]


def read_sums(content: Content, blocks: list[int]) -> dict[int, int]:
    """Read these blocks and return their sums. Blocks: for a thread, while the content is held, or for a small one."""
    size = content.size  # no more is asked for: memory is taken for all that is
    return {n: hash_block(content.pread(n * SUM_BYTES, max(0, min(SUM_BYTES, size - n * SUM_BYTES)))) for n in blocks}
