"""Removes what stays here by a rule (`write-mode = local`) and was not changed for the rule's `local-ttl`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from fusecache.errors import FusecacheError, NotFound, Stale
from fusecache.fs.stale import TellStale
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Place
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_EVERY_S = 60.0
_PAGE = 250
"""Files looked at between two chances for others."""


class Expiry:
    """Unlinks old files, as an application would. Nothing that is open, and nothing that the store has ever had."""

    def __init__(
        self,
        namespace: Namespace,
        unlink: Callable[[Place], Awaitable[None]],
        *,
        is_open: Callable[[InodeNo], bool],
        wall_ns: Callable[[], int],
        stale: TellStale,
    ) -> None:
        self._ns = namespace
        self._t = namespace.tables
        self._unlink = unlink
        self._is_open = is_open
        self._wall_ns = wall_ns
        self._stale = stale

    async def run(self) -> None:
        """Look once a minute, until cancelled; at nothing where no rule has a time."""
        while self._ns.policies.has_local_ttl:
            await trio.sleep(_EVERY_S)
            try:
                await self.remove_old()
            except FusecacheError as exc:
                log.warning("old local files are not removed, and are looked at again: %s", exc)
        await trio.sleep_forever()

    async def remove_old(self) -> None:
        """Remove what is old now."""
        last = 0
        while page := self._t.tasks.local_files(after_task=last, count=_PAGE):
            last = page[-1][0]
            for _, ino in page:
                for row in self._old_names(ino):
                    await self._remove(row)
            await trio.lowlevel.checkpoint()

    async def _remove(self, row: Dentry) -> None:
        try:
            await self._unlink(row.place)
        except NotFound:  # by somebody else, meanwhile
            return
        self._stale(row.place)
        log.info("%r was not changed for its time and is removed: it was to stay local", row.name)

    def _old_names(self, ino: InodeNo) -> list[Dentry]:
        """The names of a file that is to go; none if it is still wanted."""
        try:
            inode, rows = self._t.inodes.get(ino), self._t.dentries.of_inode(ino)
            ttls_s = [self._ns.policies.local_ttl_s(row.place) for row in rows]
        except Stale:
            return []
        if self._is_open(ino) or inode.is_special or any(row.key is not None for row in rows):
            return []
        known_s = [ttl_s for ttl_s in ttls_s if ttl_s is not None]
        if len(known_s) < len(rows) or not rows:
            return []
        return rows if inode.ctime_ns + int(max(known_s) * 1e9) <= self._wall_ns() else []
