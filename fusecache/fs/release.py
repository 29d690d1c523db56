"""Clean files are given up when the disk runs short: those that were not used for longest, as a clock tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from fusecache.cache.contents import Contents
from fusecache.errors import FusecacheError, Stale
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_EVERY_S = 0.1
_BATCH = 200
"""Files between two looks at other requests."""
_MAX_BATCHES = 50
"""Looked at in one go: most could go, but some wait for a copy or for who has them open."""


class Releaser:
    """Deletes local copies of what the store has. `wanted` gives how many bytes should go."""

    def __init__(
        self, namespace: Namespace, contents: Contents, durability: Durability, *, wanted: Callable[[], int]
    ) -> None:
        self._ns = namespace
        self._t = namespace.tables
        self._contents = contents
        self._durability = durability
        self._wanted = wanted

    async def run(self) -> None:
        """Make room whenever it is wanted, until cancelled or the namespace is degraded."""
        while self._ns.database.degraded is None:
            await trio.sleep(_EVERY_S)
            try:
                await self.make_room()
            except FusecacheError as exc:
                log.warning("clean files could not be given up, and will be: %s", exc)
        await trio.sleep_forever()

    async def make_room(self) -> int:
        """Give up as many files as are wanted, if there are; return how many bytes that freed."""
        released = 0
        if self._wanted():
            self._contents.flush_index()  # what became clean a moment ago is found, too
        for _ in range(_MAX_BATCHES):
            wanted = self._wanted()
            unused = self._contents.unused(_BATCH) if wanted else []
            if not unused:
                break
            released += await self._release(unused, wanted)
        return released

    async def _release(self, unused: Sequence[InodeNo], wanted: int) -> int:
        """A file goes only when no power loss can take back that the store has it: else the rows would want bytes
        that nobody has any more."""
        chosen = [inode for inode in map(self._expendable, unused) if inode is not None]
        await self._durability.reached(self._ns.database.seq)
        released = 0
        for inode in chosen:
            now = self._expendable(inode.ino)
            if now is None or now.base is None or (now.generation, now.base) != (inode.generation, inode.base):
                continue
            released += self._contents.release(inode.ino, now.base)
            if released >= wanted:
                break
        return released

    def _expendable(self, ino: InodeNo) -> Inode | None:
        """The inode, if all of its bytes are those of an object and nothing is left to be done about it."""
        try:
            inode = self._t.inodes.get(ino)
        except Stale:
            return None  # the upkeep deletes it
        is_clean = inode.base is not None and inode.blocks is None and inode.base_size == inode.size
        return inode if is_clean and inode.nlink and not self._t.tasks.all_of_inode(ino) else None
