"""The least pyfuse3 file system that keeps bytes: what the transport itself costs. The baseline of the others.

Files are real files of one directory, written and read at once; names are flat; nothing is cached or journalled.
Run as `python -m bench.passthrough_min DIRECTORY MOUNTPOINT`; prints `ready` when it answers.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyfuse3
import trio

FOREVER_S = 3600.0


@contextmanager
def errno_reply() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise pyfuse3.FUSEError(exc.errno or errno.EIO) from exc


class Passthrough(pyfuse3.Operations):
    """One directory of files, shown again. Inode numbers are handed out as names are looked up."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = os.fsencode(directory)
        self._names: dict[int, bytes] = {pyfuse3.ROOT_INODE: b""}
        self._inodes: dict[bytes, int] = {b"": pyfuse3.ROOT_INODE}

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self._directory, name)

    def _attributes(self, ino: int) -> pyfuse3.EntryAttributes:
        found = os.lstat(self._path(self._names[ino]))
        entry = pyfuse3.EntryAttributes()
        for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_atime_ns", "st_mtime_ns"):
            setattr(entry, name, getattr(found, name))
        entry.st_ctime_ns, entry.st_ino, entry.st_blksize = found.st_ctime_ns, ino, 4096
        entry.attr_timeout = entry.entry_timeout = FOREVER_S
        return entry

    def _entry(self, name: bytes) -> pyfuse3.EntryAttributes:
        if name not in self._inodes:
            ino = len(self._names) + 1
            self._inodes[name], self._names[ino] = ino, name
        return self._attributes(self._inodes[name])

    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        with errno_reply():
            os.lstat(self._path(name))
            return self._entry(name)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        with errno_reply():
            return self._attributes(inode)

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        with errno_reply():
            if fields.update_size:
                os.truncate(self._path(self._names[inode]), attr.st_size)
            return self._attributes(inode)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        with errno_reply():
            fh = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
            return pyfuse3.FileInfo(fh=fh), self._entry(name)

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        with errno_reply():
            return pyfuse3.FileInfo(fh=os.open(self._path(self._names[inode]), os.O_RDWR), keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        with errno_reply():
            return os.pread(fh, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        with errno_reply():
            return os.pwrite(fh, buf, off)

    async def flush(self, fh: int) -> None:
        return None

    async def release(self, fh: int) -> None:
        os.close(fh)

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        with errno_reply():
            os.unlink(self._path(name))
            self._names.pop(self._inodes.pop(name))

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return pyfuse3.StatvfsData()


def main(arguments: Sequence[str]) -> None:
    directory, mountpoint = arguments
    options = set(pyfuse3.default_options) | {"fsname=passthrough_min"}
    pyfuse3.init(Passthrough(directory), mountpoint, options)
    print("ready", flush=True)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main(sys.argv[1:])
