"""Copies from one open file to another: what is copied of an object is not sent again, the store copies it, too."""

from __future__ import annotations

import trio

from fusecache.cache.base import REUSED_BYTES
from fusecache.cache.changes import changed_map
from fusecache.cache.content import Base, Content
from fusecache.cache.contents import Contents
from fusecache.cache.summing import begin as begin_sums
from fusecache.errors import InvalidArgument
from fusecache.fs.files import Files
from fusecache.fs.space import Space
from fusecache.namespace.namespace import Namespace
from fusecache.types import HandleNo

_PIECE = 1 << 20


class Copying:
    """What copy_file_range(2) does. A cancellation leaves what was done so far."""

    def __init__(self, namespace: Namespace, contents: Contents, files: Files, space: Space) -> None:
        self._ns = namespace
        self._contents = contents
        self._files = files
        self._space = space

    async def copy(self, source: HandleNo, offset: int, target: HandleNo, target_offset: int, length: int) -> int:
        """Copy bytes from one open file to another and return how many: fewer at the end of the source.

        Raises:
            InvalidArgument: the ranges overlap in one file. NoSpace, Stale: nothing was copied.
        """
        if self._files.content(source) is self._files.content(target) and abs(offset - target_offset) < length:
            raise InvalidArgument("the ranges overlap")
        content, base = self._files.content(target), _version(self._files.content(source))
        done, changes = 0, content.changes
        while done < length:
            data = await self._files.read(source, offset + done, min(_PIECE, length - done))
            if not data:
                break
            if not self._space.admits(len(data)):
                await self._space.room(len(data), content.ino)
            done += await self._files.write(target, target_offset + done, data)
            changes += 1
            await trio.lowlevel.checkpoint()
        if done and offset == target_offset and base is not None:
            is_told = not self._files.is_written_unseen(content.ino)
            if not is_told or content.changes == changes:  # else somebody has written to it meanwhile
                self._derive(self._files.content(source), content, base, offset, offset + done, is_told=is_told)
        return done

    def _derive(self, source: Content, content: Content, base: Base, begin: int, end: int, *, is_told: bool) -> None:
        """Record where bytes come from that were copied to the same place, if all before them do, too."""
        if _version(source) != base or not _goes_on(content, base, begin):
            return
        begin_sums(source)
        self._contents.originals.derive(content, source, end=end, is_told=is_told)
        assert content.base is not None
        store, key, etag = base.label
        with self._ns.database.transaction():
            self._ns.tables.inodes.update(
                self._ns.tables.inodes.get(content.ino),
                base_store=store,
                base_key=key,
                base_etag=etag,
                base_size=content.base.size,
                blocks=content.block_map(),
                changed=changed_map(content),
            )
        content.map_saved()


def _version(source: Content) -> Base | None:
    """The version that all of the source is, if the store copies parts of such."""
    return source.base if source.clean and source.base is not None and source.base.size >= REUSED_BYTES else None


def _goes_on(content: Content, base: Base, begin: int) -> bool:
    """Whether nothing but what precedes has its place in the content from a version, and that is this one."""
    if content.base is None:
        return not begin
    is_begun = content.base.label == base.label and content.base.size == begin
    return is_begun and content.whole and not begin % content.block_size
