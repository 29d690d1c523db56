"""What goes on behind the requests, so that a power loss costs little: contents are deleted late, and synced early."""

from __future__ import annotations

import contextlib
import logging

import trio

from fusecache.cache.contents import Contents
from fusecache.errors import FusecacheError, Stale
from fusecache.fs.files import Files
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_EVERY_S = 1.0
_MAX_CARRIED = 4096
"""Files whose bytes the database may have: 64 MiB at most, and mostly in the store before they are that many."""
_BATCH = 200
"""Files deleted between two looks at other requests: each takes microseconds, large ones milliseconds."""


class Upkeep:
    """Deletes the files of what was removed, syncs what no power loss would spare, and unloads the database."""

    def __init__(self, namespace: Namespace, contents: Contents, durability: Durability, files: Files) -> None:
        self._ns = namespace
        self._seals = namespace.tables.seals
        self._contents = contents
        self._durability = durability
        self._files = files

    async def run(self) -> None:
        """Do all of it every second, until cancelled or the namespace is degraded."""
        while self._ns.database.degraded is None:
            await trio.sleep(_EVERY_S)
            try:
                await self.seal()
                await self.unload()
                await self.sweep()
            except FusecacheError as exc:
                log.warning("the upkeep of the cache failed, and is tried again: %s", exc)
        await trio.sleep_forever()

    async def seal(self) -> None:
        """Sync the files that were closed, and of which nobody knows a hash."""
        self._files.unsealed |= self._files.mapped
        self._files.mapped.clear()
        while self._files.unsealed:
            ino = next(iter(self._files.unsealed))
            del self._files.unsealed[ino]
            await self._seal(ino)

    async def unload(self) -> None:
        """Sync the files whose bytes went with the rows, those of long ago, so that the rows need them no more."""
        carried = self._files.carried
        for ino in list(carried)[: max(0, len(carried) - _MAX_CARRIED)]:
            del carried[ino]
            if self._files.is_open(ino):
                carried[ino] = None  # its turn comes after the others
            elif self._seals.carried(ino) is not None:
                await self._seal(ino)

    async def _seal(self, ino: InodeNo) -> None:
        with contextlib.suppress(Stale):  # removed meanwhile
            await self._files.seal(ino)

    async def sweep(self) -> None:
        """Delete the content files of what is gone, once no power loss can bring it back."""
        while doomed := self._seals.doomed(_BATCH):
            await self._durability.reached(self._ns.database.seq)
            for ino, token in doomed:
                if token:
                    self._contents.remains.forget_kept(ino, token)
                else:
                    self._contents.remove(ino)
            with self._ns.database.transaction():
                self._seals.swept(doomed)
            await trio.lowlevel.checkpoint()
