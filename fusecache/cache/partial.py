"""Parts of blocks: what a read needs, and no more."""

from __future__ import annotations

from fusecache.cache.blocks import span
from fusecache.cache.content import Content
from fusecache.cache.pieces import PAGE_BYTES, aligned
from fusecache.errors import NoSpace
from fusecache.types import Extent


def lacking(content: Content, extent: Extent) -> Extent | None:
    """Return what has to be fetched before `extent` is read, if that is less than whole blocks; None: nothing."""
    blocks = content.missing(extent)
    if not blocks:
        return None
    assert content.presence is not None
    assert content.base is not None
    wanted = Extent(extent.offset, min(extent.end, content.base.size) - extent.offset)
    lacks = [n for n in blocks if content.presence.pieces.lacks(n, wanted)]
    if not lacks:
        return None
    start = max(wanted.offset, lacks[0] * content.block_size)
    return aligned(Extent(start, min(wanted.end, (lacks[-1] + 1) * content.block_size) - start), content.base.size)


def takes_pieces(content: Content) -> bool:
    """Whether its blocks are large enough to have parts."""
    return content.block_size > PAGE_BYTES


def keep(content: Content, extent: Extent, data: memoryview) -> None:
    """Store whole pages that were fetched from the base, but those of blocks that became present: a write won.

    `data` may reach beyond what still counts of the base.

    Raises:
        NoSpace: what was not stored is as absent as before.
    """
    if content.presence is None or content.base is None:
        return
    end = min(extent.end, content.base.size)
    for block_no in span(extent, end, content.block_size):
        if block_no in content.presence:
            continue
        start = max(extent.offset, block_no * content.block_size)
        part = Extent(start, min(end, (block_no + 1) * content.block_size) - start)
        content.fd()
        if content.file.fill(start, data[start - extent.offset :][: part.length]) < part.length:
            raise NoSpace(f"the cache disk is full: no room for a piece of content {content.ino:x}")
        content.presence.pieces.add(part)
        content.row_unsaved |= content.clean
