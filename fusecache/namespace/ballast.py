"""Room on the disk that is the namespace's alone: blocks beyond the ends of its files, taken in advance.

When contents have filled the disk, commits go on in them: without that, nothing could be removed or recorded as sent.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, fallocate(2)
_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Ballast:
    """Keeps `size` bytes ahead of the end of each file; none if `size` is 0 or the file system has no fallocate."""

    def __init__(self, paths: list[Path], *, size: int) -> None:
        """The files exist. Their descriptors stay open to the end: closing one would drop SQLite's POSIX locks."""
        self._size = size
        self._files = [os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in paths] if size else []
        self._reserved = [0] * len(self._files)
        self._ends = [0] * len(self._files)
        self._is_short = False

    def reserve(self, *, again: bool = False) -> None:
        """Take the blocks for where the files end now; `again`: SQLite may have given them back. Blocks."""
        for number, fd in enumerate(self._files):
            end = os.fstat(fd).st_size
            if again or end < self._ends[number] or end + self._size // 2 > self._reserved[number]:
                self._take(number, fd, end)
            self._ends[number] = end

    def close(self) -> None:
        """Close the files; SQLite gives the blocks back when it cuts them."""
        for fd in self._files:
            os.close(fd)

    def _take(self, number: int, fd: int, end: int) -> None:
        if _fallocate(fd, _KEEP_SIZE, end, self._size) == 0:
            self._reserved[number], self._is_short = end + self._size, False
            return
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS):
            self._reserved[number] = 1 << 62
        elif not self._is_short:
            self._is_short = True
            log.warning("the disk is full: the namespace has no reserve of its own (%s)", os.strerror(code))
