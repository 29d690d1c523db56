"""Carries out what puts findings right. Nothing here can take the only copy of anything."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from fusecache.backends.base import Backend
from fusecache.cache.blocks import hash_block
from fusecache.cache.contents import Base, Content, Contents
from fusecache.doctor.files import content_path
from fusecache.doctor.findings import Abort, Refetch, Remedy, SetAside
from fusecache.errors import FusecacheError
from fusecache.namespace.durability import Durability
from fusecache.namespace.records import Inode
from fusecache.namespace.tables import Tables
from fusecache.types import Body, Extent, InodeNo

log = logging.getLogger(__name__)


class NotNeeded(FusecacheError):
    """What was found is no longer so, or not as it seemed."""


class Repairer:
    """Belongs to the loop, as its parts do: what it decides and does without waiting, nobody comes between."""

    def __init__(
        self,
        cache: Path,
        tables: Tables,
        contents: Contents,
        durability: Durability,
        backend: Backend,
        *,
        replaced: Callable[[InodeNo, Extent], None],
    ) -> None:
        """`replaced` is told of bytes that are others than whoever has read them believes."""
        self._cache = cache
        self._tables = tables
        self._contents = contents
        self._durability = durability
        self._backend = backend
        self._replaced = replaced

    async def carry_out(self, remedy: Remedy) -> str:
        """Put one thing right; return why that couldn't be done, or nothing."""
        try:
            match remedy:
                case SetAside():
                    await self._set_aside(remedy)
                case Refetch():
                    await self._refetch(remedy)
                case Abort():
                    await self._backend.abort_multipart(remedy.key, remedy.upload_id)
        except (FusecacheError, OSError) as exc:
            return str(exc) or type(exc).__name__
        log.info("doctor: carried out %s", remedy)
        return ""

    async def _set_aside(self, remedy: SetAside) -> None:
        """Move it out of the content store: that no row knows it doesn't make it worthless."""
        # What unlinked it may still be lost with the power, and the file would be missed then.
        await self._durability.reached(self._tables.database.seq)
        if _find(self._tables, remedy.ino) is not None:
            raise NotNeeded(f"inode {remedy.ino} is there")
        path = content_path(self._cache, remedy.ino).with_name(remedy.name)
        target = self._cache / "aside" / remedy.name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if target.exists():
            raise NotNeeded(f"{target} is there already")
        path.rename(target)
        for folder in (target.parent, path.parent):
            _sync(folder)

    async def _refetch(self, remedy: Refetch) -> None:
        """Fetch the block and put it in place, if it is still that version's and still wrong."""
        inode = self._tables.inodes.get(remedy.ino)
        if inode.base is None or inode.base_size is None:
            raise NotNeeded("it was written to")
        content = self._contents.open(
            inode.ino,
            size=inode.size,
            base=Base(*inode.base, size=inode.base_size),
            local_blocks=inode.blocks,
            changed=inode.changed,
        )
        try:
            if content.base is None:
                raise NotNeeded("it was written to")
            if content.block_size != remedy.block_size:
                raise NotNeeded(f"it was cached with --block-size {remedy.block_size}: say so")
            base, offset = content.base, remedy.block_no * content.block_size
            length = content.block_length(remedy.block_no)
            data = await self._backend.get(base.key, Extent(offset, length), if_match=base.etag)
            if hash_block(data) != remedy.digest:
                raise NotNeeded(f"{base.key} has other bytes there, too, than were fetched once")
            _put_in_place(content, base, offset, data)
            self._replaced(inode.ino, Extent(offset, length))
        finally:
            content.close()


def _put_in_place(content: Content, base: Base, offset: int, data: Body) -> None:
    """Without an await point: an application's write comes before, and is seen, or after."""
    if not content.clean or content.base != base:
        raise NotNeeded("it was written to")
    if content.pread(offset, len(data)) != bytes(data):
        os.pwrite(content.fd(), data, offset)


def _find(tables: Tables, ino: int) -> Inode | None:
    row = tables.database.connection.execute("SELECT ino FROM inode WHERE ino = ?", (ino,)).fetchone()
    return None if row is None else tables.inodes.get(row[0])


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
