"""Calls on one directory as values: a name and arguments, whatever is below it and open in it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Step = tuple[Any, ...]
"""The name of a call, and its arguments."""
Where = str | int
"""A path below the root, or the number of a slot that holds an open file."""

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
_AT_FDCWD = -100
_SET_BY_UTIME_NS = 1_500_000_000 * 10**9
"""Times before 2017 were set: no clock of a test shows them."""
_libc = ctypes.CDLL(None, use_errno=True)


class Facts(NamedTuple):
    """What must be the same on both sides."""

    mode: str
    uid: int
    gid: int
    nlink: int
    size: int | None
    set_mtime_ns: int | None
    target: str | None = None
    xattrs: dict[str, bytes] | None = None


class Stamp(NamedTuple):
    """What must change on both sides, or on neither."""

    ino: int
    mtime_ns: int
    ctime_ns: int


Look = dict[str, tuple[Facts, Stamp] | str]
"""Every path below a root, or the errno of who asked for it."""


def pattern(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


class Mapping(NamedTuple):
    memory: mmap.mmap
    fd: int


@dataclass
class Side:
    """One of the two directories, and what is open in it. Every method is a call."""

    root: str
    slots: dict[int, int] = field(default_factory=dict)
    maps: dict[int, Mapping] = field(default_factory=dict)

    def do(self, step: Step) -> object:
        """Return what the call returns, or its errno's name."""
        name, *arguments = step
        try:
            return getattr(self, name)(*arguments)
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]

    # --- open files ---

    def open(self, slot: int, path: str, flags: str, mode: int) -> None:
        """Whatever the slot held is closed first. Nobody waits for the other end of a fifo."""
        self.close(slot)
        number = sum(getattr(os, f"O_{flag}") for flag in flags.split())
        self.slots[slot] = os.open(self._path(path), number | os.O_NONBLOCK, mode)

    def close(self, slot: int) -> None:
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def read(self, slot: int, size: int) -> bytes:
        return os.read(self._fd(slot), size)

    def write(self, slot: int, size: int, seed: int) -> int:
        """Not to a fifo: the kernel carries that out alone, and tells FUSE nothing of its times."""
        fd = self._fd(slot)
        return 0 if stat.S_ISFIFO(os.fstat(fd).st_mode) else os.write(fd, pattern(size, seed))

    def seek(self, slot: int, offset: int, whence: int) -> int:
        """Of a regular file: the positions of a directory are its file system's own."""
        fd = self._fd(slot)
        return os.lseek(fd, offset, whence) if stat.S_ISREG(os.fstat(fd).st_mode) else 0

    def pread(self, slot: int, offset: int, size: int) -> bytes:
        return os.pread(self._fd(slot), size, offset)

    def pwrite(self, slot: int, offset: int, size: int, seed: int) -> int:
        return os.pwrite(self._fd(slot), pattern(size, seed), offset)

    def copy(self, source: int, target: int, offset: int, size: int) -> int:
        return os.copy_file_range(self._fd(source), self._fd(target), size, offset, offset)

    def allocate(self, slot: int, mode: int, offset: int, size: int) -> None:
        """Take space, or punch a hole, and set the times."""
        fd = self._fd(slot)
        if _libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(size)):
            raise OSError(ctypes.get_errno(), "fallocate")
        os.utime(fd)

    def fsync(self, slot: int) -> None:
        os.fsync(self._fd(slot))

    # --- mappings ---

    def map(self, slot: int) -> int:
        """Map a file, shared, as long as it is now; the mapping outlives the slot's descriptor."""
        self.unmap(slot)
        fd = self._fd(slot)
        size = os.fstat(fd).st_size
        if not size or not stat.S_ISREG(os.fstat(fd).st_mode):
            return 0
        self.maps[slot] = Mapping(mmap.mmap(fd, size), os.dup(fd))
        return size

    def store(self, slot: int, offset: int, size: int, seed: int) -> int:
        """Store and msync, if all of it is still there (behind the file's end is a SIGBUS), and set the times."""
        if slot not in self.maps or offset + size > self._mapped(slot):
            return 0
        memory, fd = self.maps[slot]
        memory[offset : offset + size] = pattern(size, seed)
        memory.flush()
        os.utime(fd)
        return size

    def load(self, slot: int, offset: int, size: int) -> bytes:
        return self.maps[slot].memory[offset : min(offset + size, self._mapped(slot))] if slot in self.maps else b""

    def unmap(self, slot: int) -> None:
        if slot in self.maps:
            memory, fd = self.maps.pop(slot)
            memory.close()
            os.close(fd)

    # --- names ---

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._path(path), mode)

    def mkfifo(self, path: str, mode: int) -> None:
        os.mkfifo(self._path(path), mode)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, self._path(path))

    def readlink(self, path: str) -> str:
        return os.readlink(self._path(path))

    def link(self, old: str, new: str) -> None:
        os.link(self._path(old), self._path(new), follow_symlinks=False)

    def unlink(self, path: str) -> None:
        os.unlink(self._path(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self._path(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._path(old), self._path(new))

    def rename_new(self, old: str, new: str) -> None:
        self._renameat2(old, new, RENAME_NOREPLACE)

    def exchange(self, old: str, new: str) -> None:
        self._renameat2(old, new, RENAME_EXCHANGE)

    def ls(self, where: Where) -> list[str]:
        return sorted(os.listdir(self._at(where)))

    # --- attributes ---

    def stat(self, where: Where) -> Facts:
        return facts(os.stat(self._at(where)))

    def truncate(self, where: Where, size: int) -> None:
        """Not to the size it has: POSIX wants new times then, and Linux's own file systems leave them."""
        status = os.stat(self._at(where))
        if status.st_size != size or not stat.S_ISREG(status.st_mode):
            os.truncate(self._at(where), size)

    def chmod(self, where: Where, mode: int) -> None:
        os.chmod(self._at(where), mode)

    def chown(self, where: Where, uid: int, gid: int) -> None:
        os.chown(self._at(where), uid, gid)

    def utime(self, where: Where, mtime_ns: int | None) -> None:
        if mtime_ns is None:
            os.utime(self._at(where))
        else:
            os.utime(self._at(where), ns=(10**18, mtime_ns))

    def setxattr(self, where: Where, name: str, size: int, flags: int) -> None:
        os.setxattr(self._at(where), name, pattern(size, size), flags)

    def getxattr(self, where: Where, name: str) -> bytes:
        return os.getxattr(self._at(where), name)

    def removexattr(self, where: Where, name: str) -> None:
        os.removexattr(self._at(where), name)

    # --- the whole of it ---

    def look(self) -> Look:
        found: Look = {}
        pending = [""]
        while pending:
            path = pending.pop()
            try:
                found[path] = seen = _seen(self._path(path))
                if seen[0].mode.startswith("d"):
                    pending.extend(os.path.join(path, name) for name in os.listdir(self._path(path)))
            except OSError as exc:
                found[path] = errno.errorcode[exc.errno or 0]
        return found

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """The bytes of every regular file."""
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield os.path.relpath(path, self.root), Path(path).read_bytes()

    def writable(self) -> set[int]:
        """The inodes that may be written through what is open."""
        fds = [*self.slots.values(), *(mapping.fd for mapping in self.maps.values())]
        writable = [fd for fd in fds if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY]
        return {os.fstat(fd).st_ino for fd in writable}

    def let_go(self) -> None:
        """Close everything, whatever that says."""
        for close in (self.unmap, self.close):
            for slot in {*self.slots, *self.maps}:
                with contextlib.suppress(OSError):
                    close(slot)

    def _mapped(self, slot: int) -> int:
        memory, fd = self.maps[slot]
        return min(len(memory), os.fstat(fd).st_size)

    def _at(self, where: Where) -> Where:
        return self._fd(where) if isinstance(where, int) else self._path(where)

    def _path(self, path: str) -> str:
        return os.path.join(self.root, path)

    def _fd(self, slot: int) -> int:
        if slot not in self.slots:
            raise OSError(errno.EBADF, "a free slot")
        return self.slots[slot]

    def _renameat2(self, old: str, new: str, flags: int) -> None:
        paths = os.fsencode(self._path(old)), os.fsencode(self._path(new))
        if _libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], flags):
            raise OSError(ctypes.get_errno(), "renameat2")


def facts(status: os.stat_result, target: str | None = None, xattrs: dict[str, bytes] | None = None) -> Facts:
    is_set = status.st_mtime_ns < _SET_BY_UTIME_NS
    return Facts(
        stat.filemode(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_nlink,
        None if stat.S_ISDIR(status.st_mode) else status.st_size,
        status.st_mtime_ns if is_set else None,
        target,
        xattrs,
    )


def _seen(path: str) -> tuple[Facts, Stamp]:
    status = os.lstat(path)
    target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
    names = os.listxattr(path, follow_symlinks=False)
    xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return facts(status, target, xattrs), Stamp(status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
