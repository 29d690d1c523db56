"""When is a commit safe from a power loss: one sync of the WAL for all who wait."""

from __future__ import annotations

import trio

from fusecache.namespace.database import Database
from fusecache.types import Seq


class Durability:
    """Syncs the WAL in a thread; concurrent callers share a sync (group commit)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)

    async def reached(self, seq: Seq) -> None:
        """Return when everything up to `seq` survives a power loss.

        Who comes while a sync runs waits for the next one, which then covers all who came.
        A cancelled caller leaves a sync that may still happen.
        """
        while self._database.synced_seq < seq:
            async with self._turn:
                if self._database.synced_seq < seq:
                    await trio.to_thread.run_sync(self._database.sync, limiter=self._limiter)

    async def checkpoint(self) -> None:
        """Move the WAL into the database, if it has grown."""
        await trio.to_thread.run_sync(self._database.checkpoint, limiter=self._limiter)
