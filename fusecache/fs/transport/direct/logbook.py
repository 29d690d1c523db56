"""What a next process has to know of a connection: in memory that outlives this one, and not the machine.

A slot of 64 bytes for what was agreed on in INIT, and one for each handle that the kernel has. A slot is written by one
system call and lies in one page, so a kill leaves the old one or the new one; its checksum tells if it was something
else. It is written before the answer that it is about: who is asked again finds what the first answer would have been.
"""

from __future__ import annotations

import enum
import heapq
import os
import zlib
from struct import Struct
from typing import Any, NamedTuple

from fusecache.errors import MountError
from fusecache.fs.left import Left, LeftDirectory, LeftFile
from fusecache.fs.transport.direct.abi import FUSE_UNIQUE_RESEND
from fusecache.fs.transport.direct.handshake import Agreement
from fusecache.fs.transport.direct.shown import Shown
from fusecache.types import HandleNo, InodeNo

_SLOT_BYTES = 64
_SUM = Struct("=I")
_AGREED = Struct("=8sIIQ")  # magic, minor, max_readahead, features
_MAGIC = b"fusecac2"
"""Whose last digit is the version of all of this."""
_OPENED = Struct("=IIiIQQQ")  # kind, flags, backing_id, unused, unique, number, ino
_EMPTY = bytes(_SLOT_BYTES)


class Kind(enum.IntEnum):
    """What a handle is of: their numbers have nothing to do with each other. 0 is an empty slot."""

    FILE = 1
    DIRECTORY = 2


class Opened(NamedTuple):
    """A handle that the kernel was, or is to be, told."""

    kind: Kind
    flags: int
    backing_id: int
    """0: the kernel asks for the bytes."""
    unique: int
    """The request that it answers."""
    number: HandleNo
    ino: InodeNo


class Logbook:
    """Belongs to the loop. What it is about has happened when it is told, and is not answered yet."""

    def __init__(self, fd: int, names_fd: int, agreement: Agreement) -> None:
        self.descriptors = (fd, names_fd)
        """To be kept by somebody who outlives this process."""
        self.agreement = agreement
        self._fd = fd
        self._shown = Shown(names_fd)
        self._slots: dict[tuple[Kind, HandleNo], int] = {}
        self._directories: dict[HandleNo, InodeNo] = {}
        """Which directory is open by that number."""
        self._opened: dict[int, Opened] = {}
        """What was found, by its slot."""
        self._free: list[int] = []
        self._count = 1
        self._find()

    def __repr__(self) -> str:
        return f"<Logbook of {len(self._slots)} handles>"

    @classmethod
    def begin(cls, agreement: Agreement) -> Logbook:
        """A new one, for a connection that has begun so."""
        fd, names_fd = (os.memfd_create(f"fusecache-{what}", os.MFD_CLOEXEC) for what in ("handles", "names"))
        said = _AGREED.pack(_MAGIC, agreement.minor, agreement.max_readahead, agreement.features)
        os.pwrite(fd, _with_sum(said), 0)
        return cls(fd, names_fd, agreement)

    @classmethod
    def found(cls, fd: int, names_fd: int) -> Logbook:
        """The one of an earlier process.

        Raises:
            MountError: this is none, or of another version.
        """
        said = _checked(os.pread(fd, _SLOT_BYTES, 0), _AGREED)
        if said is None or said[0] != _MAGIC:
            raise MountError(
                "what an earlier daemon left of this mount is not understood: unmount it, then mount again"
            )
        return cls(fd, names_fd, Agreement(*said[1:]))

    def opened(self, opened: Opened) -> None:
        """The kernel is about to be told a handle."""
        slot = heapq.heappop(self._free) if self._free else self._count
        self._count = max(self._count, slot + 1)
        kind, flags, backing_id, unique, number, ino = opened
        said = _OPENED.pack(kind, flags, backing_id, 0, unique & ~FUSE_UNIQUE_RESEND, number, ino)
        os.pwrite(self._fd, _with_sum(said), slot * _SLOT_BYTES)
        self._slots[opened.kind, opened.number] = slot
        if kind is Kind.DIRECTORY:
            self._directories[number] = ino

    def closed(self, kind: Kind, number: HandleNo) -> None:
        """The kernel has it no more. Not known: nothing happens."""
        slot = self._slots.pop((kind, number), None)
        if slot is None:
            return
        os.pwrite(self._fd, _EMPTY, slot * _SLOT_BYTES)
        self._opened.pop(slot, None)
        heapq.heappush(self._free, slot)
        if kind is Kind.DIRECTORY and (ino := self._directories.pop(number)) not in self._directories.values():
            self._shown.closed(ino)

    def shown_count(self, ino: InodeNo) -> int:
        """How many names of a directory are known here."""
        return self._shown.count(ino)

    def shown(self, ino: InodeNo, names: list[bytes]) -> None:
        """An open directory is about to show so many names more, to whoever reads it."""
        self._shown.add(ino, names)

    def left(self) -> Left:
        """Return what an earlier process had open."""
        names = self._shown.found()
        ones = list(self._opened.values())
        return Left(
            tuple(LeftFile(o.number, o.ino, o.flags, o.backing_id > 0) for o in ones if o.kind is Kind.FILE),
            tuple(LeftDirectory(o.number, o.ino, tuple(names.get(o.ino, ()))) for o in ones if o.kind is not Kind.FILE),
        )

    def backing_ids(self) -> list[tuple[InodeNo, int]]:
        """Return which files the kernel has, once for each of its handles that an earlier process opened."""
        return [(each.ino, each.backing_id) for each in self._opened.values() if each.backing_id > 0]

    def unanswered(self, unique: int) -> Opened | None:
        """Return what an earlier process opened for a request that is asked again: nobody was told of it."""
        if not unique & FUSE_UNIQUE_RESEND:
            return None
        asked = unique & ~FUSE_UNIQUE_RESEND
        return next((each for each in self._opened.values() if each.unique == asked), None)

    def _find(self) -> None:
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        self._count = max(1, -(-len(data) // _SLOT_BYTES))
        for slot in range(1, self._count):
            found = _checked(data[slot * _SLOT_BYTES :][:_SLOT_BYTES], _OPENED)
            if found is None or found[0] not in (Kind.FILE, Kind.DIRECTORY):
                self._free.append(slot)  # it was never answered, or is closed
                continue
            kind, flags, backing_id, _, unique, number, ino = found
            self._opened[slot] = Opened(Kind(kind), flags, backing_id, unique, HandleNo(number), InodeNo(ino))
            self._slots[Kind(kind), HandleNo(number)] = slot
            if kind == Kind.DIRECTORY:
                self._directories[HandleNo(number)] = InodeNo(ino)
        for closed in self._shown.found().keys() - self._directories.values():
            self._shown.closed(closed)  # a kill came between


def _with_sum(said: bytes) -> bytes:
    return (said + _SUM.pack(zlib.crc32(said))).ljust(_SLOT_BYTES, b"\0")


def _checked(slot: bytes, layout: Struct) -> tuple[Any, ...] | None:
    """Return what a slot says; None if it is empty, or was not written as a whole."""
    said = slot[: layout.size]
    if len(slot) < layout.size + _SUM.size or _SUM.unpack_from(slot, layout.size)[0] != zlib.crc32(said):
        return None
    return layout.unpack(said)
