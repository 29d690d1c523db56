"""The names that open directories have shown, for a next process: it goes on after them, and shows none twice.

A log of records, each about a directory: its next names, all of its names so far, or that it was closed, as its number
is used again. The first eight bytes say where the log begins: what is before that is no longer needed. One write moves
that, and each record is one write, so a kill leaves at most half a record at the end, of which nobody was told.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from struct import Struct

from fusecache.cache import holes
from fusecache.types import InodeNo

_BEGIN = Struct("=Q")
_RECORD = Struct("=IIQI")  # what, bytes of names, ino, the checksum of all of it
_CLOSED, _MORE, _ALL = 1, 2, 3
_IDLE_BYTES = 1 << 20
"""So much may be of directories that were closed."""


class Shown:
    """Belongs to the loop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._counts: dict[InodeNo, int] = {}
        self._bytes: dict[InodeNo, int] = {}
        self._begin = _BEGIN.size
        if said := os.pread(fd, _BEGIN.size, 0):
            (self._begin,) = _BEGIN.unpack(said)
        else:
            os.pwrite(fd, _BEGIN.pack(self._begin), 0)
        self._end = self._begin
        for what, ino, data in self._records():
            self._note(what, ino, data)
        os.ftruncate(fd, self._end)
        self._punched = _BEGIN.size

    def __repr__(self) -> str:
        return f"<Shown {self._end - self._begin} bytes, {sum(self._bytes.values())} of them in use>"

    def count(self, ino: InodeNo) -> int:
        """How many names of a directory are here."""
        return self._counts.get(ino, 0)

    def add(self, ino: InodeNo, names: list[bytes]) -> None:
        """The directory shows these next."""
        if not names:
            return
        self._append(_MORE, ino, b"\0".join(names))

    def closed(self, ino: InodeNo) -> None:
        """It shows no more. Unknown: nothing happens."""
        if ino not in self._bytes:
            return
        if len(self._bytes) == 1:
            self._forget(ino)
            self._cut(self._end)
            return
        self._append(_CLOSED, ino, b"")
        used = sum(self._bytes.values())
        if self._end - self._begin - used > used + _IDLE_BYTES:
            self._rewrite()

    def found(self) -> dict[InodeNo, list[bytes]]:
        """Return the names by directory."""
        names: dict[InodeNo, list[bytes]] = {}
        for what, ino, data in self._records():
            if what != _MORE:
                names.pop(ino, None)
            if what != _CLOSED:
                names.setdefault(ino, []).extend(data.split(b"\0"))
        return names

    def _append(self, what: int, ino: InodeNo, data: bytes) -> None:
        head = _RECORD.pack(what, len(data), ino, _sum(what, ino, data))
        os.pwrite(self._fd, head + data, self._end)
        self._note(what, ino, data)

    def _note(self, what: int, ino: InodeNo, data: bytes) -> None:
        length = _RECORD.size + len(data)
        self._end += length
        if what != _MORE:
            self._forget(ino)
        if what != _CLOSED:
            self._bytes[ino] = self._bytes.get(ino, 0) + length
            self._counts[ino] = self._counts.get(ino, 0) + data.count(b"\0") + 1

    def _forget(self, ino: InodeNo) -> None:
        self._bytes.pop(ino, None)
        self._counts.pop(ino, None)

    def _rewrite(self) -> None:
        """Write what is in use once more, behind the rest, which goes."""
        begin = self._end
        for ino, names in self.found().items():
            self._append(_ALL, ino, b"\0".join(names))
        self._cut(begin)

    def _cut(self, begin: int) -> None:
        os.pwrite(self._fd, _BEGIN.pack(begin), 0)
        self._begin = begin
        if begin - self._punched >= _IDLE_BYTES:  # less is not worth the call
            holes.punch(self._fd, self._punched, begin - self._punched)
            self._punched = begin

    def _records(self) -> Iterator[tuple[int, InodeNo, bytes]]:
        """What was written as a whole."""
        offset = self._begin
        while len(head := os.pread(self._fd, _RECORD.size, offset)) == _RECORD.size:
            what, length, ino, checksum = _RECORD.unpack(head)
            data = os.pread(self._fd, length, offset + _RECORD.size)
            if len(data) != length or _sum(what, ino, data) != checksum:
                return
            yield what, InodeNo(ino), data
            offset += _RECORD.size + length


def _sum(what: int, ino: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(b"%d of %d" % (what, ino)))
