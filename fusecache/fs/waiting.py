"""Which calls return when the store has what they left, and the wait for that."""

from __future__ import annotations

from typing import Protocol

from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Place, TaskKind
from fusecache.types import InodeNo


class Drain(Protocol):
    """What waits: `persist/through.py`."""

    async def file(self, ino: InodeNo) -> None:
        """Return when the store has a file as it was last closed. Raises StoreUnreachable."""

    async def tree(self, ino: InodeNo) -> None:
        """Return when the store has what is below a directory. Raises StoreUnreachable."""


class Waiting:
    """Asks what the paths say. Where no path says so, a call costs nothing."""

    def __init__(self, namespace: Namespace, drain: Drain) -> None:
        self._tasks = namespace.tables.tasks
        self._policies = namespace.policies
        self._drain = drain

    async def closed(self, ino: InodeNo) -> None:
        """A descriptor that may write a file was closed or synced. Raises StoreUnreachable."""
        if self._policies.waits_for_store(ino):
            await self._drain.file(ino)

    async def renamed(self, ino: InodeNo, place: Place, *, is_dir: bool) -> None:
        """It is at `place` now, and what came out of staging with it arrives before the answer.

        What the store has already is copied there later. Raises StoreUnreachable.
        """
        if not self._policies.is_through(place):
            return
        if not is_dir:
            await self._drain.file(ino)
        elif self._tasks.of_inode(ino, TaskKind.ADOPT) is not None:
            await self._drain.tree(ino)
