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
from fusecache.types import HandleNo

_BEGIN = Struct("=Q")
_RECORD = Struct("=IIQI")  # what, bytes of names, number, the checksum of all of it
_CLOSED, _MORE, _ALL = 1, 2, 3
_IDLE_BYTES = 1 << 20
"""So much may be of directories that were closed."""


class Shown:
    """Belongs to the loop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._counts: dict[HandleNo, int] = {}
        self._bytes: dict[HandleNo, int] = {}
        self._begin = _BEGIN.size
        if said := os.pread(fd, _BEGIN.size, 0):
            (self._begin,) = _BEGIN.unpack(said)
        else:
            os.pwrite(fd, _BEGIN.pack(self._begin), 0)
        self._end = self._begin
        for what, number, data in self._records():
            self._note(what, number, data)
        os.ftruncate(fd, self._end)
        self._punched = _BEGIN.size

    def __repr__(self) -> str:
        return f"<Shown {self._end - self._begin} bytes, {sum(self._bytes.values())} of them in use>"

    def count(self, number: HandleNo) -> int:
        """How many names of a directory are here."""
        return self._counts.get(number, 0)

    def add(self, number: HandleNo, names: list[bytes]) -> None:
        """The directory shows these next."""
        if not names:
            return
        self._append(_MORE, number, b"\0".join(names))

    def closed(self, number: HandleNo) -> None:
        """It shows no more. Unknown: nothing happens."""
        if number not in self._bytes:
            return
        if len(self._bytes) == 1:
            self._forget(number)
            self._cut(self._end)
            return
        self._append(_CLOSED, number, b"")
        used = sum(self._bytes.values())
        if self._end - self._begin - used > used + _IDLE_BYTES:
            self._rewrite()

    def found(self) -> dict[HandleNo, list[bytes]]:
        """Return the names by directory."""
        names: dict[HandleNo, list[bytes]] = {}
        for what, number, data in self._records():
            if what != _MORE:
                names.pop(number, None)
            if what != _CLOSED:
                names.setdefault(number, []).extend(data.split(b"\0"))
        return names

    def _append(self, what: int, number: HandleNo, data: bytes) -> None:
        head = _RECORD.pack(what, len(data), number, _sum(what, number, data))
        os.pwrite(self._fd, head + data, self._end)
        self._note(what, number, data)

    def _note(self, what: int, number: HandleNo, data: bytes) -> None:
        length = _RECORD.size + len(data)
        self._end += length
        if what != _MORE:
            self._forget(number)
        if what != _CLOSED:
            self._bytes[number] = self._bytes.get(number, 0) + length
            self._counts[number] = self._counts.get(number, 0) + data.count(b"\0") + 1

    def _forget(self, number: HandleNo) -> None:
        self._bytes.pop(number, None)
        self._counts.pop(number, None)

    def _rewrite(self) -> None:
        """Write what is in use once more, behind the rest, which goes."""
        begin = self._end
        for number, names in self.found().items():
            self._append(_ALL, number, b"\0".join(names))
        self._cut(begin)

    def _cut(self, begin: int) -> None:
        os.pwrite(self._fd, _BEGIN.pack(begin), 0)
        self._begin = begin
        if begin - self._punched >= _IDLE_BYTES:  # less is not worth the call
            holes.punch(self._fd, self._punched, begin - self._punched)
            self._punched = begin

    def _records(self) -> Iterator[tuple[int, HandleNo, bytes]]:
        """What was written as a whole."""
        offset = self._begin
        while len(head := os.pread(self._fd, _RECORD.size, offset)) == _RECORD.size:
            what, length, number, checksum = _RECORD.unpack(head)
            data = os.pread(self._fd, length, offset + _RECORD.size)
            if len(data) != length or _sum(what, number, data) != checksum:
                return
            yield what, HandleNo(number), data
            offset += _RECORD.size + length


def _sum(what: int, number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(b"%d of %d" % (what, number)))
