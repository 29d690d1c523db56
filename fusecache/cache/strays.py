"""Content files that the index does not know: a crash, or damage, has lost their rows, so nobody would choose them."""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from fusecache.cache.layout import FAN_OUT
from fusecache.cache.ledger import Ledger
from fusecache.cache.places import Places, delete
from fusecache.types import InodeNo

_REST_S = 3600.0
"""After all directories were looked at, and none found: there may be some after a crash, hardly later."""


class Strays:
    """Looks for them, one directory at a time, when room is wanted."""

    def __init__(self, places: Places, ledger: Ledger, is_known: Callable[[InodeNo], bool]) -> None:
        self._places = places
        self._ledger = ledger
        self._is_known = is_known
        self._folder = 0
        self._found_at = 0
        """How many directories ago the last one was found."""
        self._rests_until = -1.0

    def next(self) -> list[InodeNo] | None:
        """Return those of the next directory, dirty ones among them; None: there are none, as far as is known."""
        if trio.current_time() < self._rests_until:
            return None
        found = [ino for ino in self._names() if not self._is_known(ino)]
        self._folder = (self._folder + 1) % FAN_OUT
        self._found_at = 0 if found else self._found_at + 1
        if self._found_at >= FAN_OUT:
            self._rests_until, self._found_at = trio.current_time() + _REST_S, 0
        return found

    def release(self, ino: InodeNo) -> int:
        """Delete the file of one that is clean, if it still is one; return how much of the disk that frees."""
        if self._is_known(ino):
            return 0
        used_bytes = self._ledger.used_bytes
        delete(self._places.path(ino), self._ledger)
        return used_bytes - self._ledger.used_bytes

    def _names(self) -> list[InodeNo]:
        try:
            names = [entry.name for entry in os.scandir(self._places.folder(self._folder))]
        except OSError:
            return []  # somebody deleted it
        return [InodeNo(int(name, 16)) for name in names if "~" not in name]  # else kept for a sync
