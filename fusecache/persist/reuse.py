"""What of a file the store has already: of a version that it was made from, what need not be sent is copied there."""

from __future__ import annotations

from fusecache.cache.base import REUSED_BYTES
from fusecache.cache.changes import changed_map, unchanged
from fusecache.cache.content import Content
from fusecache.namespace.records import Inode
from fusecache.persist.local import make_present
from fusecache.persist.ranges import Part, plan_parts
from fusecache.persist.tools import Tools
from fusecache.types import Extent, StoreNo


def plan(tools: Tools, store: StoreNo, size: int, part_bytes: int, unchanged: list[Extent]) -> list[Part]:
    """Return the parts of an object."""
    least_bytes = max(REUSED_BYTES, tools.backends[store].capabilities.min_part_bytes)
    return plan_parts(size, part_bytes=max(part_bytes, least_bytes), least_bytes=least_bytes, unchanged=unchanged)


def may_copy(tools: Tools, store: StoreNo, inode: Inode, content: Content) -> bool:
    """Whether the store can make an object of a base and of new bytes, and nobody else reads that.

    The other names of an inode have objects of their own: those are sent.
    """
    able = tools.backends[store].capabilities
    if not able.multipart_copy or not able.conditional_read or inode.nlink != 1:
        return False
    is_large = content.size > tools.settings.multipart_threshold
    return is_large and content.base is not None and content.base.store == store


async def make_ready(tools: Tools, store: StoreNo, content: Content) -> bool:
    """Fetch what has to be sent and is not here; False if there is nothing to be copied: then all of it has to be here.

    Raises:
        BaseChanged: the store no longer has it. TransientBackendError: what arrived is kept.
        ContentLost: the disk refused.
    """
    if content.ino in tools.contents.originals:
        await _recognise(tools, content)
    while True:
        parts = plan(tools, store, content.size, tools.settings.part_size, unchanged(content))
        if not any(part.is_copied for part in parts):
            return False
        if not (missing := missing_of(content, parts)):
            return True
        await make_present(content, missing, tools.fetcher, tools.succession)


def missing_of(content: Content, parts: list[Part]) -> list[int]:
    """Return the blocks of what is to be sent that are not here."""
    return sorted({block_no for part in parts if not part.is_copied for block_no in content.missing(part.extent)})


async def _recognise(tools: Tools, content: Content) -> None:
    """Find out, and record, what of a file is as in the store though the kernel may have written to it."""
    tables = tools.namespace.tables
    sums = tables.seals.get(content.ino).sums_of(tables.inodes.get(content.ino).generation)
    if await tools.contents.originals.recognise(content, sums) and content.base is not None:
        blocks, changed = content.block_map() or None, changed_map(content)
        tools.namespace.tree.wrote_blocks(content.ino, blocks=blocks, changed=changed, base_size=content.base.size)
        content.map_saved()
