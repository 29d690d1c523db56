"""What a content hashes to, found out while its bytes are written. Pure."""

from __future__ import annotations

import xxhash


class Digest:
    """The xxh3_64 of bytes that are written in order, from the first on; unknown once they are not."""

    __slots__ = ("_end", "_state")

    def __init__(self, *, empty: bool) -> None:
        """`empty`: there are no bytes yet. Of others nothing is known."""
        self._state: xxhash.xxh3_64 | None = xxhash.xxh3_64() if empty else None
        self._end = 0

    def wrote(self, offset: int, data: bytes | memoryview) -> None:
        if self._state is None:
            return
        if offset != self._end:
            self._state = None
            return
        self._state.update(data)
        self._end += len(data)

    def cut(self, size: int) -> None:
        """The content was cut, or extended by zeros, to `size`."""
        if not size:
            self._state, self._end = xxhash.xxh3_64(), 0
        elif size != self._end:
            self._state = None

    def value(self, size: int) -> bytes | None:
        """Return the hash of all `size` bytes, None if it isn't known."""
        return self._state.digest() if self._state is not None and self._end == size else None
