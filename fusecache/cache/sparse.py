"""A sparse file that is opened when it is first needed, and counted while it grows."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from fusecache.cache.folders import Folders
from fusecache.cache.ledger import Ledger
from fusecache.errors import FusecacheError, NoSpace, OutOfRange

STAT_BLOCK = 512
"""Unit of st_blocks (stat(2))."""


class ContentLost(FusecacheError):
    """Bytes that should be in the content store are not there, or its disk fails: EIO."""

    level = logging.ERROR


class SparseFile:
    """One file of the content store. A file of which nothing is expected is made when first touched."""

    __slots__ = ("_charged", "_folders", "_ledger", "_may_create", "_removed", "_void", "fd", "path")

    def __init__(self, path: str, ledger: Ledger, folders: Folders, *, may_create: bool, void: bool) -> None:
        """`void`: what may be in it is not trusted, so it is emptied when opened."""
        self.path = path
        self.fd = -1
        """The descriptor; -1 until `open`."""
        self._ledger = ledger
        self._folders = folders
        self._may_create = may_create or void
        self._void = void
        self._removed = False
        self._charged = 0

    @property
    def untouched(self) -> bool:
        """Whether no byte of it has been needed, nor is there any to be emptied."""
        return self.fd < 0 and self._may_create and not self._void

    def open(self) -> int:
        """Open it and return its length.

        Raises:
            ContentLost: it is absent, though it should hold bytes.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if self._may_create else 0)
        try:
            fd = os.open(self.path, flags, 0o600)
        except OSError as exc:
            raise self.translated(exc) from exc
        try:
            stat = os.fstat(fd)
            if self._void and stat.st_size:
                os.ftruncate(fd, 0)
        except OSError as exc:
            os.close(fd)
            raise self.translated(exc) from exc
        self.fd = fd
        if self._may_create and not stat.st_size:
            self._folders.made(self.path)  # if it was there, and empty, this costs a sync too much
        self._charged = stat.st_blocks * STAT_BLOCK
        return 0 if self._void else stat.st_size

    def pread(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self.fd, length, offset)
        except OSError as exc:
            raise self.translated(exc) from exc

    def pwrite(self, offset: int, data: bytes | memoryview) -> int:
        """Write, perhaps less than all on a full disk.

        Raises:
            NoSpace: nothing was written.
        """
        try:
            return os.pwrite(self.fd, data, offset)
        except OSError as exc:
            raise self.translated(exc) from exc

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self.fd, size)
        except OSError as exc:
            raise self.translated(exc) from exc

    def sync(self) -> None:
        """Make its bytes survive a power loss. Blocks."""
        try:
            os.fdatasync(self.fd)
        except OSError as exc:
            raise self.translated(exc) from exc

    def begin_anew(self, token: int) -> None:
        """Empty it, and keep the bytes beside under the number of their sync: a power loss may call for them."""
        try:
            os.rename(self.path, kept_path(self.path, token))  # noqa: PTH104 - an application waits in open(2)
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
            os.dup2(fd, self.fd, inheritable=False)  # who has the number finds an empty file, not somebody else's
            os.close(fd)
        except OSError as exc:
            raise self.translated(exc) from exc
        self._folders.made(self.path)
        self._charged = 0

    def unlink(self) -> None:
        """Remove the name; the bytes of an open file live until `close`."""
        self._removed = True
        Path(self.path).unlink(missing_ok=True)

    def charge(self, *, closing: bool = False) -> None:
        """Bring the count of used disk space up to date."""
        if self.fd < 0:
            return
        now = 0 if closing and self._removed else os.fstat(self.fd).st_blocks * STAT_BLOCK
        self._ledger.used_bytes += now - self._charged
        self._charged = now

    def close(self) -> None:
        if self.fd < 0:
            return
        self.charge(closing=True)
        os.close(self.fd)
        self.fd = -1

    def translated(self, exc: OSError) -> FusecacheError:
        """Return what a local disk's refusal means to the caller."""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(f"the cache disk is full: {self.path}")
        if exc.errno in (errno.EFBIG, errno.EINVAL, errno.EOVERFLOW):
            return OutOfRange(f"beyond what the cache disk's file system can hold: {self.path}")
        return ContentLost(f"{self.path}: {exc.strerror}")


def kept_path(path: str, token: int) -> str:
    """Where the bytes are that a content file had before it was emptied, as they were at that sync."""
    return f"{path}~{token:x}"
