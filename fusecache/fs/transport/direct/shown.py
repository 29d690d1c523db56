"""The names that open directories have shown, for a next process: it goes on after them, and shows none twice.

A log: each record is a directory's next names. The first eight bytes say where it begins: what is before that is no
longer needed. One write moves that, so a kill leaves the old log or the new one, and at the end perhaps half a record,
of which nobody was told.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from struct import Struct

from fusecache.cache import holes
from fusecache.types import HandleNo

_BEGIN = Struct("=Q")
_RECORD = Struct("=QII")  # number, bytes of names, their checksum
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
        for number, data in self._records():
            self._note(number, data)
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
        self._append(number, b"\0".join(names))

    def closed(self, number: HandleNo) -> None:
        """It shows no more. Unknown: nothing happens."""
        if self._bytes.pop(number, None) is None:
            return
        del self._counts[number]
        used = sum(self._bytes.values())
        if not used:
            self._cut(self._end)
        elif self._end - self._begin - used > used + _IDLE_BYTES:
            self._rewrite()

    def found(self) -> dict[HandleNo, list[bytes]]:
        """Return the names by directory."""
        names: dict[HandleNo, list[bytes]] = {}
        for number, data in self._records():
            names.setdefault(number, []).extend(data.split(b"\0"))
        return names

    def _append(self, number: HandleNo, data: bytes) -> None:
        os.pwrite(self._fd, _RECORD.pack(number, len(data), zlib.crc32(data)) + data, self._end)
        self._note(number, data)

    def _note(self, number: HandleNo, data: bytes) -> None:
        length = _RECORD.size + len(data)
        self._end += length
        self._bytes[number] = self._bytes.get(number, 0) + length
        self._counts[number] = self._counts.get(number, 0) + data.count(b"\0") + 1

    def _rewrite(self) -> None:
        """Write what is in use once more, behind the rest, which goes."""
        begin, kept = self._end, [(n, data) for n, data in self._records() if n in self._bytes]
        self._bytes, self._counts = {}, {}
        for number, data in kept:
            self._append(number, data)
        self._cut(begin)

    def _cut(self, begin: int) -> None:
        os.pwrite(self._fd, _BEGIN.pack(begin), 0)
        self._begin = begin
        if begin - self._punched >= _IDLE_BYTES:  # less is not worth the call
            holes.punch(self._fd, self._punched, begin - self._punched)
            self._punched = begin

    def _records(self) -> Iterator[tuple[HandleNo, bytes]]:
        """What was written as a whole."""
        offset = self._begin
        while len(head := os.pread(self._fd, _RECORD.size, offset)) == _RECORD.size:
            number, length, checksum = _RECORD.unpack(head)
            data = os.pread(self._fd, length, offset + _RECORD.size)
            if not data or len(data) != length or zlib.crc32(data) != checksum:
                return
            yield HandleNo(number), data
            offset += _RECORD.size + length
