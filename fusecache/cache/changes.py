"""What of a content that was made from a version in the store is still as it is there."""

from __future__ import annotations

from fusecache.cache.blocks import block_count
from fusecache.cache.content import Content
from fusecache.types import Extent


def unchanged(content: Content) -> list[Extent]:
    """Return what the base could supply, here or not, in order and apart from each other."""
    found: list[Extent] = []
    for block_no in content.presence.unchanged() if content.presence is not None else ():
        offset, length = block_no * content.block_size, content.block_length(block_no)
        if found and found[-1].end == offset:
            found[-1] = found[-1]._replace(length=found[-1].length + length)
        else:
            found.append(Extent(offset, length))
    return found


def changed_map(content: Content) -> bytes | None:
    """Return the blocks that were written since the base was one, lowest bit first; None: nobody knows yet."""
    return None if content.presence is None or content.clean else content.presence.changed_bits()


def mark(content: Content, extent: Extent) -> bool:
    """Note, before it is written, what will differ from the base: True if the maps are to be committed first.

    Else a crash in between would leave new bytes here, and a row that takes them for the base's.
    """
    if content.presence is None or content.clean:
        return False
    first, end = extent.offset // content.block_size, block_count(extent.end, content.block_size)
    return content.presence.mark(range(first, end))
