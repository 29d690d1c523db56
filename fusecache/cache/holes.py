"""fallocate(2): space for a file in advance, and holes where bytes were. Python has only the half of it."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_ZERO_RANGE = 0x10


def reserve(fd: int, offset: int, length: int) -> None:
    """Take disk space for that range; the file stays as long as it is, and reads as before.

    Raises:
        OSError: ENOSPC; EOPNOTSUPP where the file system cannot.
    """
    _fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length)


def punch(fd: int, offset: int, length: int) -> None:
    """Make that range zeros that take no space. Raises as `reserve`."""
    _fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(fd, mode, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
