"""Bytes for readers: out of the cache, into which they are fetched; or past it, when it cannot take or give them."""

from __future__ import annotations

import logging
import os

import trio

from fusecache.cache.blocks import span
from fusecache.cache.content import Content
from fusecache.cache.contents import Contents
from fusecache.cache.partial import lacking
from fusecache.cache.sparse import ContentLost
from fusecache.errors import NoSpace
from fusecache.fs.absent import Absent
from fusecache.fs.handles import Handle, OpenFile, is_for_writing
from fusecache.types import Extent

log = logging.getLogger(__name__)

_PAST_S = 1.0
"""How long nothing is fetched into a cache that could not take it: else all would be fetched twice."""


class Reading:
    """Reads, and counts what was here. Belongs to the loop."""

    def __init__(self, contents: Contents, absent: Absent) -> None:
        self._contents = contents
        self._absent = absent
        self._past_until = -1.0

    def opened(self, file: OpenFile, flags: int) -> None:
        """Note an open, before it does anything."""
        if flags & os.O_TRUNC:
            return
        self._contents.eviction.opened(file.ino, is_here=file.content.is_here)
        if file.backed and not is_for_writing(flags):
            self._contents.traffic.read(file.content.size, is_hit=True)

    def completed(self, file: OpenFile, flags: int, *, was_here: bool) -> None:
        """The kernel reads by itself what was just made whole, or `was_here`."""
        if file.backed and not is_for_writing(flags):
            self._contents.traffic.read(file.content.size, is_hit=was_here)

    async def read(self, handle: Handle, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer only at the end of the file.

        What the cache has no room for, and what its disk lost of a clean file, comes from the store and is not kept.

        Raises:
            Stale: the version that was opened is gone from the store, and not whole here.
            ContentLost: the disk lost what the store doesn't have.
        """
        content = handle.file.content
        extent = Extent(offset, min(length, max(0, content.size - offset)))
        is_disk_good = True
        try:
            is_hit = content.whole or lacking(content, extent) is None
            self._contents.traffic.read(extent.length, is_hit=is_hit)
            if is_hit or trio.current_time() >= self._past_until:
                if not content.whole:
                    await self._absent.read(handle, extent)
                return content.pread(offset, length)
        except NoSpace:
            self._past_until = trio.current_time() + _PAST_S
        except ContentLost as exc:
            if not content.clean:
                raise
            log.warning("%r is read from the store: %s", content, exc)
            self._past_until, is_disk_good = trio.current_time() + _PAST_S, False
        return await self._past(content, extent, is_disk_good=is_disk_good)

    async def _past(self, content: Content, extent: Extent, *, is_disk_good: bool) -> bytes:
        """Put together what is here and what is not; once more if what it is made of has changed meanwhile."""
        while True:
            base, parts = content.base, []
            for part in _parts(content, extent):
                is_here = lacking(content, part) is None  # now: pieces go while others are waited for
                if is_here and (is_disk_good or not content.clean):
                    parts.append(content.pread(*part))
                else:
                    parts.append(bytes(await self._absent.past(content, part)))
            if content.base == base:
                return b"".join(parts)[: max(0, content.size - extent.offset)]


def _parts(content: Content, extent: Extent) -> list[Extent]:
    """Return what `extent` consists of: in turns what is here now and what is not, and what no object has."""
    end = 0 if content.base is None else min(extent.end, content.base.size)
    found: list[tuple[bool, Extent]] = []
    position = extent.offset
    for block_no in span(extent, end, content.block_size):
        stop = min(end, (block_no + 1) * content.block_size)
        part, position = Extent(position, stop - position), stop
        is_here = lacking(content, part) is None
        if found and found[-1][0] == is_here:
            before = found.pop()[1]
            part = Extent(before.offset, stop - before.offset)
        found.append((is_here, part))
    rest = [Extent(position, extent.end - position)] if position < extent.end else []
    return [part for _, part in found] + rest
