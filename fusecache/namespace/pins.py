"""What people have pinned: paths below which nothing is given up to make room, until they are unpinned."""

from __future__ import annotations

from fusecache.errors import Stale
from fusecache.namespace.database import Database
from fusecache.namespace.marked import Marked
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo


class Pins(Marked):
    """The pinned keys. A pin is of a path, as a rule is: what is created there or renamed to it is pinned, too."""

    def __init__(self, database: Database, tables: Tables) -> None:
        super().__init__(database, "pinned")
        self._t = tables

    def is_pinned(self, ino: InodeNo) -> bool:
        """Whether a file is pinned by one of its names, as they are now."""
        if not self._keys:
            return False
        try:
            keys = [self._t.directories.home_key(row.place) for row in self._t.dentries.of_inode(ino)]
        except Stale:
            return False  # its directory was removed: it has no path any more
        return any(map(self.covers, keys))
