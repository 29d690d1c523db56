"""A sparse file that is opened when it is first needed, and counted while it grows."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_RDLCK, F_SETLEASE, F_UNLCK, F_WRLCK, fcntl
from pathlib import Path

from fusecache.cache import holes
from fusecache.cache.descriptors import Descriptors
from fusecache.cache.folders import Folders
from fusecache.cache.ledger import Ledger
from fusecache.errors import FileTooBig, FusecacheError, NoSpace

STAT_BLOCK = 512
"""Unit of st_blocks (stat(2))."""
_CALL_BYTES = 64 << 10
"""Of what is fetched, in one call. Of larger ones the kernel makes larger pages, for which it takes memory that was not
used for long; in a virtual machine whose host has taken that back it costs half as much again: 2.2 ms a MiB for 1.5."""
_ABSENT = -1
"""In place of a descriptor, where there is no file."""


class ContentLost(FusecacheError):
    """Bytes that should be in the content store are not there, or its disk fails: EIO."""

    level = logging.ERROR


class SparseFile:
    """One file of the content store. A file of which nothing is expected is made when first touched."""

    __slots__ = (
        "_charged", "_descriptors", "_folders", "_holds", "_ledger", "_may_create", "_removed", "_void", "fd", "path",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        ledger: Ledger,
        folders: Folders,
        descriptors: Descriptors,
        *,
        may_create: bool,
        void: bool,
    ) -> None:
        """`void`: what may be in it is not trusted, so it is emptied when first opened."""
        self.path = path
        self.fd = -1
        """The descriptor; -1 until `open`, and again whenever others need one (`held`)."""
        self._ledger = ledger
        self._folders = folders
        self._descriptors = descriptors
        self._holds = 0
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
            fd = self._descriptors.open(self.path, flags)
        except OSError as exc:
            raise self.translated(exc) from exc
        try:
            stat = os.fstat(fd)
            if self._void and stat.st_size:
                os.ftruncate(fd, 0)
        except OSError as exc:
            self._descriptors.close(fd)
            raise self.translated(exc) from exc
        self.fd = fd
        if self._may_create and not stat.st_size:
            self._folders.made(self.path)  # if it was there, and empty, this costs a sync too much
        self._charged = stat.st_blocks * STAT_BLOCK
        length = 0 if self._void else stat.st_size
        self._may_create = self._void = False  # the next time it is what this made of it
        self._settle()
        return length

    @contextmanager
    def held(self) -> Iterator[None]:
        """In the block the descriptor stays as it is: for threads, and over await points."""
        self._holds += 1
        self._settle()
        try:
            yield
        finally:
            self._holds -= 1
            self._settle()

    def let_go(self) -> None:
        """Close the descriptor; the next use opens the file again."""
        self.charge()
        self._descriptors.close(self.fd)
        self.fd = -1

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
            written = os.pwrite(self.fd, data, offset)
        except OSError as exc:
            raise self.translated(exc) from exc
        self._charged += written  # as if all of it took new blocks, until `charge` looks
        self._ledger.used_bytes += written
        return written

    def fill(self, offset: int, data: bytes | memoryview) -> int:
        """Write what belonged there all the time: when something was written last, a recovery asks its times.

        Raises:
            As `pwrite`.
        """
        before = os.fstat(self.fd)
        written = 0
        view = memoryview(data)
        for start in range(0, len(view), _CALL_BYTES):
            piece = view[start : start + _CALL_BYTES]
            written += self.pwrite(offset + start, piece)
            if written < start + len(piece):
                break
        os.utime(self.fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        return written

    def zero(self, offset: int, data: bytes | memoryview) -> int:
        """Write zeros, as a hole where the disk can: they take no space. Raises as `pwrite`."""
        try:
            holes.punch(self.fd, offset, len(data))
            if os.fstat(self.fd).st_size < offset + len(data):
                os.ftruncate(self.fd, offset + len(data))
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:
                raise self.translated(exc) from exc
            return self.pwrite(offset, data)
        return len(data)

    def reserve(self, offset: int, length: int) -> None:
        """Take space for a range in advance, where the disk can. Raises NoSpace."""
        try:
            holes.reserve(self.fd, offset, length)
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:
                raise self.translated(exc) from exc
        self.charge()

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self.fd, size)
        except OSError as exc:
            raise self.translated(exc) from exc

    def punch(self, start: int, end: int) -> int:
        """Make a hole from byte `start` to `end`, and return how much of the disk that frees.

        Raises:
            ContentLost: this file system makes none.
        """
        self.charge()
        try:
            holes.punch(self.fd, start, end - start)
        except OSError as exc:
            raise self.translated(exc) from exc
        before = self._charged
        self.charge()
        return before - self._charged

    def sync(self) -> None:
        """Make its bytes survive a power loss. Blocks."""
        try:
            os.fdatasync(self.fd)
        except OSError as exc:
            raise self.translated(exc) from exc

    def begin_anew(self, token: int) -> None:
        """Empty it, and keep the bytes beside under the number of their sync: a power loss may call for them.

        Those are kept already if it was emptied before since that sync: what it has now was never synced.
        """
        kept = kept_path(self.path, token)
        if os.path.exists(kept):  # noqa: PTH110 - an application waits in open(2)
            self.truncate(0)
            return
        try:
            with self.held():
                os.rename(self.path, kept)  # noqa: PTH104 - likewise
                fd = self._descriptors.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL)
                os.dup2(fd, self.fd, inheritable=False)  # who has the number finds an empty file, not somebody else's
                self._descriptors.close(fd)
        except OSError as exc:
            raise self.translated(exc) from exc
        self._folders.made(self.path)
        self._charged = 0

    def is_quiet(self, *, for_readers: bool = False) -> bool:
        """Whether nobody can write to it: no descriptor, and no mapping that outlived one (fcntl(2), F_SETLEASE).

        `for_readers`: nor read it. One's own descriptor would be in the way, and is closed for it. False while `held`.
        """
        fd = self._leased(F_WRLCK if for_readers else F_RDLCK)
        if fd is not None and fd != _ABSENT:
            self._descriptors.close(fd)
        return fd is not None

    def quiet_bytes(self, length: int) -> bytes | None:
        """Return what it begins with if nobody can write to it, as `is_quiet` tells; None: somebody can."""
        fd = self._leased(F_RDLCK)
        if fd is None or fd == _ABSENT:
            return None if fd is None else b""
        try:
            return os.pread(fd, length, 0)
        except OSError as exc:
            raise self.translated(exc) from exc
        finally:
            self._descriptors.close(fd)

    def _leased(self, kind: int) -> int | None:
        """Return a descriptor for reading if such a lease was granted, which has ended by now; None: it was not."""
        if self._holds:
            return None
        if self.fd >= 0:
            self._descriptors.busy(self)
            self.let_go()
        try:
            fd = self._descriptors.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _ABSENT
        try:
            fcntl(fd, F_SETLEASE, kind)
            fcntl(fd, F_SETLEASE, F_UNLCK)
        except BaseException as exc:
            self._descriptors.close(fd)
            if isinstance(exc, BlockingIOError):
                return None
            raise
        return fd

    def unlink(self) -> None:
        """Remove the name; the bytes of an open file live until `close`."""
        self._removed = True
        self._settle()  # without a name it cannot be opened again
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
        self._descriptors.busy(self)
        self._descriptors.close(self.fd)
        self.fd = -1

    def _settle(self) -> None:
        """Say whether the descriptor may be closed at any moment."""
        if self.fd < 0:
            return
        if self._holds or self._removed:
            self._descriptors.busy(self)
        else:
            self._descriptors.idle(self)

    def translated(self, exc: OSError) -> FusecacheError:
        """Return what a local disk's refusal means to the caller."""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(f"the cache disk is full: {self.path}")
        if exc.errno in (errno.EFBIG, errno.EINVAL, errno.EOVERFLOW):
            return FileTooBig(f"beyond what the cache disk's file system can hold: {self.path}")
        return ContentLost(f"{self.path}: {exc.strerror}")


def kept_path(path: str, token: int) -> str:
    """Where the bytes are that a content file had before it was emptied, as they were at that sync."""
    return f"{path}~{token:x}"
