"""Backing files: what the kernel reads and writes by itself, without asking (Linux 6.9, as root)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl

from fusecache.fs.transport.direct import abi
from fusecache.types import InodeNo

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Backing:
    number: int
    opens: int = 0


class Backings:
    """The backing ids of one connection: one an inode, shared by all its opens, as the kernel demands."""

    def __init__(self, fd: int, left: Iterable[tuple[InodeNo, int]] = ()) -> None:
        """`left`: inodes and ids that an earlier process has answered opens with, once for each."""
        self._fd = fd
        self._of: dict[InodeNo, _Backing] = {}
        for ino, number in left:
            self._of.setdefault(ino, _Backing(number)).opens += 1

    def __repr__(self) -> str:
        return f"<Backings of {len(self._of)} inodes>"

    def open(self, ino: InodeNo, fd: int) -> int:
        """Return the id with which to answer one more open of an inode whose bytes are behind `fd`.

        It is registered for reading: so a lease on the file tells whether somebody still writes.

        Raises:
            OSError: the kernel does not take this file, or none.
        """
        backing = self._of.get(ino)
        if backing is None:
            readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                message = bytearray(abi.fuse_backing_map.pack(readable, 0, 0))
                backing = self._of[ino] = _Backing(ioctl(self._fd, abi.FUSE_DEV_IOC_BACKING_OPEN, message))
            finally:
                os.close(readable)
        backing.opens += 1
        return backing.number

    def close(self, ino: InodeNo) -> None:
        """One open less; an inode that has none keeps no file. Not backed: nothing happens."""
        backing = self._of.get(ino)
        if backing is None:
            return
        backing.opens -= 1
        if not backing.opens:
            del self._of[ino]
            with suppress(FileNotFoundError):  # closed by an earlier process, which could not answer that
                ioctl(self._fd, abi.FUSE_DEV_IOC_BACKING_CLOSE, abi.fuse_backing_id.pack(backing.number))
