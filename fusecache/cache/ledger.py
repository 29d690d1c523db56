"""What the open contents count together, in O(1)."""

from __future__ import annotations

from collections import Counter

from fusecache.types import ObjectKey, StoreNo

_Source = tuple[StoreNo, ObjectKey] | None


class Ledger:
    """Disk space, damage, and which objects are still being read from. Belongs to the loop."""

    def __init__(self, *, used_bytes: int) -> None:
        self.used_bytes = used_bytes
        """Disk space of all contents."""
        self.bad_blocks = 0
        """Blocks that did not match their hash since the start."""
        self._readers: Counter[tuple[StoreNo, ObjectKey]] = Counter()

    def __repr__(self) -> str:
        return f"<Ledger {self.used_bytes} bytes, {self._readers.total()} readers, {self.bad_blocks} bad>"

    def reads(self, source: _Source, *, instead_of: _Source) -> _Source:
        """Note that an open content lacks blocks that only `source` has, and no longer some that the other has.

        Return `source`.
        """
        if source == instead_of:
            return source
        if source is not None:
            self._readers[source] += 1
        if instead_of is not None:
            self._readers[instead_of] -= 1
            if not self._readers[instead_of]:
                del self._readers[instead_of]
        return source

    def readers(self, source: tuple[StoreNo, ObjectKey]) -> int:
        """How many open contents lack blocks that only `source` has."""
        return self._readers[source]
