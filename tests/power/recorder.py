"""A directory shown again, whose every change is written down before it is answered.

`python -m tests.power.recorder DIRECTORY MOUNTPOINT LOG`; prints `ready` when it answers. The log is a row of
msgpack lists: what was done to which file (numbered as they were made) or name, in the order of the disk.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgpack
import pyfuse3
import trio

FOREVER_S = 3600.0


@contextmanager
def errno_reply() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise pyfuse3.FUSEError(exc.errno or errno.EIO) from exc


class Recorder(pyfuse3.Operations):
    """Files by path; a number names a file for ever, also after its last name."""

    def __init__(self, directory: str, log: int) -> None:
        super().__init__()
        self._root = os.fsencode(directory)
        self._log = log
        self._paths: dict[int, bytes] = {pyfuse3.ROOT_INODE: b""}
        self._numbers: dict[bytes, int] = {b"": pyfuse3.ROOT_INODE}
        self._last = pyfuse3.ROOT_INODE
        self._open: dict[int, int] = {}

    def _record(self, *record: object) -> None:
        os.write(self._log, msgpack.packb(record))

    def _real(self, path: bytes) -> bytes:
        return os.path.join(self._root, path)

    def _below(self, parent: int, name: bytes) -> bytes:
        return os.path.join(self._paths[parent], name)

    def _entry(self, path: bytes) -> pyfuse3.EntryAttributes:
        found = os.lstat(self._real(path))
        if path not in self._numbers:
            self._last += 1
            self._numbers[path], self._paths[self._last] = self._last, path
        return self._attributes(self._numbers[path], found)

    def _attributes(self, number: int, found: os.stat_result) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_atime_ns", "st_mtime_ns"):
            setattr(entry, name, getattr(found, name))
        entry.st_ctime_ns, entry.st_ino, entry.st_blksize = found.st_ctime_ns, number, 4096
        entry.attr_timeout = entry.entry_timeout = FOREVER_S
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        with errno_reply():
            return self._entry(self._below(parent_inode, name))

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        with errno_reply():
            fh = next((fh for fh, number in self._open.items() if number == inode), None)
            found = os.fstat(fh) if fh is not None else os.lstat(self._real(self._paths[inode]))
            return self._attributes(inode, found)

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
                self._record("truncate", inode, attr.st_size)
                os.truncate(fh if fh is not None else self._real(self._paths[inode]), attr.st_size)
            return await self.getattr(inode, ctx)

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        with errno_reply():
            path = self._below(parent_inode, name)
            os.mkdir(self._real(path), mode)
            self._record("mkdir", path)
            return self._entry(path)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        with errno_reply():
            path = self._below(parent_inode, name)
            fh = os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
            entry = self._entry(path)
            self._open[fh] = entry.st_ino
            self._record("create", path, entry.st_ino)
            return pyfuse3.FileInfo(fh=fh), entry

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        with errno_reply():
            fh = os.open(self._real(self._paths[inode]), os.O_RDWR)
            self._open[fh] = inode
            return pyfuse3.FileInfo(fh=fh, keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        with errno_reply():
            return os.pread(fh, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        with errno_reply():
            self._record("write", self._open[fh], off, buf)
            return os.pwrite(fh, buf, off)

    async def fsync(self, fh: int, datasync: bool) -> None:
        self._record("fsync", self._open[fh])

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        self._record("fsyncdir", self._paths[fh])

    async def release(self, fh: int) -> None:
        del self._open[fh]
        os.close(fh)

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        with errno_reply():
            path = self._below(parent_inode, name)
            os.unlink(self._real(path))
            self._record("unlink", path)
            self._numbers.pop(path, None)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        with errno_reply():
            old, new = self._below(parent_inode_old, name_old), self._below(parent_inode_new, name_new)
            os.rename(self._real(old), self._real(new))
            self._record("rename", old, new)
            number = self._numbers.pop(old, None)
            if number is not None:
                self._numbers[new], self._paths[number] = number, new

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        names = sorted(os.listdir(self._real(self._paths[fh])))
        for number, name in enumerate(names[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._entry(os.path.join(self._paths[fh], name)), number):
                break

    async def releasedir(self, fh: int) -> None:
        return None

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return pyfuse3.StatvfsData()


def main(arguments: Sequence[str]) -> None:
    directory, mountpoint, log = arguments
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pyfuse3.init(Recorder(directory, descriptor), mountpoint, set(pyfuse3.default_options) | {"fsname=recorder"})
    print("ready", flush=True)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main(sys.argv[1:])
