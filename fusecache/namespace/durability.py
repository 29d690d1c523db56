"""When is a commit safe from a power loss: one sync of the WAL for all who wait."""

from __future__ import annotations

import trio

from fusecache.namespace.database import Database
from fusecache.types import Seq

_PASSES = 2
"""Each moves what was committed during the one before; what the last one leaves is moved on the loop."""


class Durability:
    """Syncs the WAL in a thread; concurrent callers share a sync (group commit)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: trio.Event | None = None
        """Set, for all who wait, when the sync that runs now has ended."""
        self._limiter = trio.CapacityLimiter(1)
        self._checkpoints = trio.CapacityLimiter(1)
        """Apart: a sync does not wait for what may take a second."""

    async def reached(self, seq: Seq) -> None:
        """Return when everything up to `seq` survives a power loss.

        Who comes while a sync runs waits for the next one, which then covers all who came.
        A cancelled caller leaves a sync that may still happen.
        """
        while self._database.synced_seq < seq:
            if self._running is None:
                await self._sync()
            else:
                await self._running.wait()

    async def _sync(self) -> None:
        self._running = ended = trio.Event()
        loop = trio.lowlevel.current_trio_token()

        def sync() -> None:
            try:
                self._database.sync()
            finally:
                loop.run_sync_soon(ended.set)  # who waits needs no step of the scheduler after the one who syncs

        try:
            self._database.before_sync()
            await trio.to_thread.run_sync(sync, limiter=self._limiter)
        finally:
            self._running = None
            ended.set()

    async def checkpoint(self) -> None:
        """Move the WAL into the database, if it has grown."""
        for _ in range(_PASSES):
            await trio.to_thread.run_sync(self._database.checkpoint, limiter=self._checkpoints)
        self._database.end_checkpoint()
