"""Kernel requests in, `FileSystem` calls out: holds no state, decides nothing."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from fusecache.errors import FusecacheError, InvalidArgument
from fusecache.fs.attrs import Changes
from fusecache.fs.errno import errno_of
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.names import Entry
from fusecache.namespace.records import Place
from fusecache.namespace.tree import Owner
from fusecache.types import HandleNo, InodeNo

log = logging.getLogger(__name__)

_MAX_NAME = 255
_CAPABILITY = b"security.capability"
_BLOCK = 512  # the unit of st_blocks, whatever the disk's


class errno_reply:  # noqa: N801 - a class, as every request passes it: a generator costs 1.5 µs more
    """Turns what the block raises into the errno of this request; what nobody expected is EIO, and a bug."""

    __slots__ = ("_request", "_target")

    def __init__(self, request: str, target: object) -> None:
        self._request = request
        self._target = target

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(exc, FusecacheError):
            log.log(exc.level, "%s(%s): %s: %s", self._request, self._target, type(exc).__name__, exc)
            raise pyfuse3.FUSEError(errno_of(exc)) from exc
        if isinstance(exc, Exception):
            log.error("%s(%s) failed in a way nobody foresaw", self._request, self._target, exc_info=exc)
            raise pyfuse3.FUSEError(errno.EIO) from exc


class FuseOperations(pyfuse3.Operations):
    """Translates between pyfuse3 and a `FileSystem`."""

    supports_dot_lookup = False
    enable_writeback_cache = False  # the first promise: what write(2) returned is in the backing file

    def __init__(self, filesystem: FileSystem, *, entry_timeout_s: float | None, attr_timeout_s: float | None) -> None:
        """Timeouts, where given, replace what the file system would let the kernel believe."""
        super().__init__()
        self._fs = filesystem
        self._entry_timeout_s = entry_timeout_s
        self._attr_timeout_s = attr_timeout_s

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        with errno_reply("lookup", name):
            return self._attributes(await self._fs.lookup(InodeNo(parent_inode), name))

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for ino, _ in inode_list:
            self._fs.forget(InodeNo(ino))

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        with errno_reply("getattr", inode):
            return self._attributes(await self._fs.getattr(InodeNo(inode)))

    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        with errno_reply("setattr", inode):
            return self._attributes(await self._fs.setattr(InodeNo(inode), _changes(attr, fields, ctx)))

    async def mkdir(self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext) -> EntryAttributes:
        with errno_reply("mkdir", name):
            owner = _owner(stat.S_IFDIR, mode, ctx)
            return self._attributes(await self._fs.mkdir(Place(InodeNo(parent_inode), name), owner))

    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        with errno_reply("mknod", name):
            owner = _owner(stat.S_IFMT(mode), mode, ctx)
            return self._attributes(await self._fs.mknod(Place(InodeNo(parent_inode), name), owner, rdev))

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        with errno_reply("symlink", name):
            owner = Owner(stat.S_IFLNK | 0o777, ctx.uid, ctx.gid)
            return self._attributes(await self._fs.symlink(Place(InodeNo(parent_inode), name), target, owner))

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        with errno_reply("link", new_name):
            return self._attributes(await self._fs.link(InodeNo(inode), Place(InodeNo(new_parent_inode), new_name)))

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        with errno_reply("readlink", inode):
            return await self._fs.readlink(InodeNo(inode))

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        with errno_reply("unlink", name):
            await self._fs.unlink(Place(InodeNo(parent_inode), name))

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        with errno_reply("rmdir", name):
            await self._fs.rmdir(Place(InodeNo(parent_inode), name))

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        with errno_reply("rename", name_old):
            old, new = Place(InodeNo(parent_inode_old), name_old), Place(InodeNo(parent_inode_new), name_new)
            if flags == pyfuse3.RENAME_EXCHANGE:
                await self._fs.exchange(old, new)
            elif flags in (0, pyfuse3.RENAME_NOREPLACE):
                await self._fs.rename(old, new, replace=not flags)
            else:
                raise InvalidArgument(f"rename flags {flags:#x} are not supported")

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        with errno_reply("opendir", inode):
            return await self._fs.opendir(InodeNo(inode))

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        with errno_reply("readdir", fh):
            position = start_id
            while entries := await self._fs.readdir(HandleNo(fh), position):
                for each in entries:
                    if not pyfuse3.readdir_reply(token, each.name, self._attributes(each.entry), each.position):
                        return
                    position = each.position

    async def releasedir(self, fh: FileHandleT) -> None:
        with errno_reply("releasedir", fh):
            self._fs.releasedir(HandleNo(fh))

    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        with errno_reply("fsyncdir", fh):
            await self._fs.fsyncdir()

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        with errno_reply("create", name):
            owner = _owner(stat.S_IFREG, mode, ctx)
            number, entry = await self._fs.create(Place(InodeNo(parent_inode), name), owner, flags)
            return _file_info(number), self._attributes(entry)

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        with errno_reply("open", inode):
            return _file_info(await self._fs.open(InodeNo(inode), flags, drops_set_id=ctx.uid != 0))

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        with errno_reply("read", fh):
            return await self._fs.read(HandleNo(fh), off, size)

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        with errno_reply("write", fh):
            return await self._fs.write(HandleNo(fh), off, buf)

    async def flush(self, fh: FileHandleT) -> None:
        with errno_reply("flush", fh):
            self._fs.flush(HandleNo(fh))
            await self._fs.arrived(HandleNo(fh))

    async def release(self, fh: FileHandleT) -> None:
        with errno_reply("release", fh):
            self._fs.release(HandleNo(fh))

    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        with errno_reply("fsync", fh):
            await self._fs.fsync(HandleNo(fh))
            await self._fs.arrived(HandleNo(fh))

    # --- extended attributes ---

    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        if name == _CAPABILITY:  # before every write(2): pyfuse3 can't negotiate HANDLE_KILLPRIV_V2
            raise pyfuse3.FUSEError(errno.ENODATA)
        with errno_reply("getxattr", inode):
            return await self._fs.xattrs.get(InodeNo(inode), name)

    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        with errno_reply("setxattr", inode):
            await self._fs.xattrs.set(InodeNo(inode), name, value)

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        with errno_reply("listxattr", inode):
            return [XAttrNameT(name) for name in await self._fs.xattrs.list(InodeNo(inode))]

    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        with errno_reply("removexattr", inode):
            await self._fs.xattrs.remove(InodeNo(inode), name)

    async def access(self, inode: InodeT, mode: ModeT, ctx: RequestContext) -> bool:
        """Never asked: mounts have default_permissions, and the kernel judges by mode and owner."""
        with errno_reply("access", inode):
            await self._fs.getattr(InodeNo(inode))
            return True

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        with errno_reply("statfs", ""):
            return _statvfs(self._fs.statfs())

    def _attributes(self, entry: Entry) -> EntryAttributes:
        inode, timeout_s, _ = entry
        attributes = EntryAttributes()
        attributes.st_ino = inode.ino
        attributes.st_mode = ModeT(inode.mode)
        attributes.st_nlink = inode.nlink
        attributes.st_uid = inode.uid
        attributes.st_gid = inode.gid
        attributes.st_rdev = inode.rdev
        attributes.st_size = inode.size
        attributes.st_blocks = -(-inode.size // _BLOCK)
        attributes.st_atime_ns = inode.atime_ns
        attributes.st_mtime_ns = inode.mtime_ns
        attributes.st_ctime_ns = inode.ctime_ns
        attributes.entry_timeout = timeout_s if self._entry_timeout_s is None else self._entry_timeout_s
        attributes.attr_timeout = timeout_s if self._attr_timeout_s is None else self._attr_timeout_s
        return attributes


def _owner(kind: int, mode: int, ctx: RequestContext) -> Owner:
    return Owner(kind | stat.S_IMODE(mode) & ~ctx.umask, ctx.uid, ctx.gid)


def _changes(attr: EntryAttributes, fields: SetattrFields, ctx: RequestContext) -> Changes:
    """Read a SETATTR; one without any field comes before the write of somebody who may not keep set-id bits."""
    changes = Changes(
        mode=attr.st_mode if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        atime_ns=attr.st_atime_ns if fields.update_atime else None,
        mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
    )
    return replace(changes, drops_set_id=changes == Changes() or (fields.update_size and ctx.uid != 0))


def _file_info(number: HandleNo) -> FileInfo:
    """The page cache may be kept from one open to the next: another version is another inode."""
    return FileInfo(fh=FileHandleT(number), keep_cache=True)


def _statvfs(disk: os.statvfs_result) -> StatvfsData:
    data = StatvfsData()
    for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail"):
        setattr(data, name, getattr(disk, name))
    data.f_namemax = _MAX_NAME
    return data
