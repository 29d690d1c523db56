"""Room on the disk that is the namespace's alone: blocks beyond the ends of its files, taken in advance.

When contents have filled the disk, commits go on in them: without that, nothing could be removed or recorded as sent.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, fallocate(2)
_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Ballast:
    """Keeps some bytes ahead of the end of each file; none if that is 0 or the file system has no fallocate."""

    def __init__(self, sizes: Mapping[Path, int]) -> None:
        """The files exist. Their descriptors stay open to the end: closing one would drop SQLite's POSIX locks."""
        self._sizes = [size for size in sizes.values() if size]
        self._files = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path, size in sizes.items() if size]
        self._reserved = [0] * len(self._files)
        self._ends = [0] * len(self._files)
        self._is_short = False

    def reserve(self, *, again: bool = False) -> None:
        """Take the blocks for where the files end now; `again`: SQLite may have given them back. Blocks."""
        for number, fd in enumerate(self._files):
            end = os.fstat(fd).st_size
            if again or end < self._ends[number] or end + self._sizes[number] // 2 > self._reserved[number]:
                self._take(number, fd, end)
            self._ends[number] = end

    def close(self) -> None:
        """Close the files; SQLite gives the blocks back when it cuts them."""
        for fd in self._files:
            os.close(fd)

    def _take(self, number: int, fd: int, end: int) -> None:
        size = self._sizes[number]
        if _fallocate(fd, _KEEP_SIZE, end, size) == 0:
            self._reserved[number], self._is_short = end + size, False
            return
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS):
            self._reserved[number] = 1 << 62
        elif not self._is_short:
            self._is_short = True
            log.warning("the disk is full: the namespace has no reserve of its own (%s)", os.strerror(code))
