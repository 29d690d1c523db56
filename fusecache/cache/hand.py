"""The hand of a clock: goes round the clean contents, and passes over once what was used since it came by."""

from __future__ import annotations

from fusecache.cache.index import ContentIndex
from fusecache.types import InodeNo

_REMEMBERED = 100_000
"""Used ones, some 10 MiB; of more nobody is passed over."""


class Hand:
    """Finds what was not used for longest, about, without a list of everything."""

    def __init__(self, index: ContentIndex) -> None:
        self._index = index
        self._at = InodeNo(0)
        self._used: set[InodeNo] = set()
        self.rounds = 0
        """How often it came to the end."""

    def used(self, ino: InodeNo) -> None:
        if len(self._used) >= _REMEMBERED:
            self._used.clear()
        self._used.add(ino)

    def turn(self, count: int) -> list[InodeNo]:
        """Return those of the next `count` that were not used, maybe none: after two rounds, none is left."""
        passed = self._index.after(self._at, count=count)
        self._at = passed[-1] if len(passed) == count else InodeNo(0)
        self.rounds += not self._at
        unused = [ino for ino in passed if ino not in self._used]
        self._used.difference_update(passed)
        return unused
