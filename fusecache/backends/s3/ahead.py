"""Bodies that are read once: for the checksum that goes before them, and kept until they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fusecache.backends.base import Source

_SHARE = 0.25
"""Of the room, for one body at most: longer ones would leave nothing to the others, and gain the least."""


class Room:
    """How many bytes of bodies may be in memory. Sync, for the loop."""

    def __init__(self, size_bytes: int) -> None:
        self.free_bytes = size_bytes
        self._most_bytes = _SHARE * size_bytes

    def __repr__(self) -> str:
        return f"<Room {self.free_bytes} bytes free>"

    def has(self, size_bytes: int) -> bool:
        """Whether a body of that size may be kept now."""
        return size_bytes <= min(self.free_bytes, self._most_bytes)

    @contextmanager
    def body(self, source: Source) -> Iterator[Kept]:
        """Give `source` as the body of a request, and forget at the end what is kept of it."""
        kept = Kept(source, self)
        try:
            yield kept
        finally:
            kept.drop()


class Kept:
    """A source whose bytes are in memory from its reading ahead to the next pass, if there was room for all of them.

    Each chunk leaves as it is taken; another pass reads them again. One pass at a time.
    """

    def __init__(self, source: Source, room: Room) -> None:
        self._source = source
        self._room = room
        self._held_bytes = 0
        self._chunks: deque[bytes] = deque()

    @property
    def length(self) -> int:
        return self._source.length

    @property
    def is_here(self) -> bool:
        """Whether all that the next pass yields is in memory."""
        return 0 < self.length == self._held_bytes

    def ahead(self) -> Iterable[bytes]:
        """Return the bytes, to be read once, by any thread, before they are sent."""
        if self._held_bytes or not self._room.has(self.length):
            return self._source
        self._hold(self.length)
        return self._keeping()

    def __iter__(self) -> Iterator[bytes]:
        """Begin a pass, on the loop; one from memory stays there."""
        if self.is_here:
            return self._taken()
        self.drop()  # what an earlier pass has left
        return iter(self._source)

    def drop(self) -> None:
        """Forget what was not taken."""
        self._chunks.clear()
        self._hold(0)

    def _keeping(self) -> Iterator[bytes]:
        for chunk in self._source:
            self._chunks.append(chunk)
            yield chunk

    def _taken(self) -> Iterator[bytes]:
        while self._chunks:
            chunk = self._chunks.popleft()
            self._hold(self._held_bytes - len(chunk))
            yield chunk

    def _hold(self, size_bytes: int) -> None:
        self._room.free_bytes += self._held_bytes - size_bytes
        self._held_bytes = size_bytes
