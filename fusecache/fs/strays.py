"""What a killed process has cached in its last second, and all that was cached if the index was lost.

Nobody vouches for it, so nobody reads it, and nobody would give it up either: it is looked for behind the requests, and
deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from fusecache.cache.contents import Contents
from fusecache.errors import FusecacheError, Stale
from fusecache.fs.walk import has_bytes
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_START_S = 5.0
"""A mount that has just begun has other things to do."""
_PAUSE_S = 0.02
"""Between two folders of the content store, of 256."""


class Strays:
    """Files of clean inodes that the index does not know. What the store lacks is none, nor what belongs to no inode:
    that is for the upkeep, and for people."""

    def __init__(
        self, tables: Tables, contents: Contents, *, give_up: Callable[[Sequence[InodeNo]], Awaitable[int]]
    ) -> None:
        """`give_up` deletes those of some files that the store has and nobody needs; it returns how much that frees."""
        self._t = tables
        self._contents = contents
        self._give_up = give_up

    async def run(self) -> None:
        """Do it once, if there may be any. A cancellation leaves the rest to the next start."""
        if self._contents.knows_all:
            return
        await trio.sleep(_START_S)
        try:
            await self.sweep()
        except (FusecacheError, OSError) as exc:
            log.warning("what nobody vouches for in the cache is looked for at the next start: %s", exc)

    async def sweep(self) -> None:
        """Count what there is, and delete what is a stray."""
        await self._contents.recount()
        count = freed = 0
        for numbers in self._contents.places.folders():
            if strays := [ino for ino in numbers if self._is_stray(ino)]:
                count, freed = count + len(strays), freed + await self._give_up(strays)
            await trio.sleep(_PAUSE_S)
        self._contents.knows_all = True
        if count:
            log.info("%d cached files that nobody vouches for, %d bytes of them deleted", count, freed)

    def _is_stray(self, ino: InodeNo) -> bool:
        """Whether it is one; from now on the index knows it, as a file of which nothing is here."""
        try:
            inode = self._t.inodes.get(ino)
        except Stale:
            return False
        if not has_bytes(inode) or inode.base is None or inode.blocks is not None or inode.base_size != inode.size:
            return False
        return self._contents.adopt(ino, inode.size, inode.base)
