"""Kernel requests in, `FileSystem` calls out: holds no state, decides nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from struct import Struct
from typing import Any, NamedTuple

from fusecache.errors import InvalidArgument, OutOfRange
from fusecache.fs.attrs import Changes
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.streams import Stream
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.answers import LEAST_NAME_BYTES, Answers, packed_names, statfs
from fusecache.fs.transport.direct.handshake import MAX_WRITE
from fusecache.fs.transport.direct.logbook import Kind, Logbook, Opened
from fusecache.fs.transport.direct.passthrough import Backings
from fusecache.fs.transport.direct.settings import setting_of
from fusecache.namespace.records import Place
from fusecache.namespace.tree import Owner
from fusecache.types import Extent, HandleNo, InodeNo

_NS = 1_000_000_000
_NOTHING = b""
_NODES = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
"""What mknod(2) makes."""
_MAX_COPY = 64 << 20
"""A copy may be shorter than asked for; so it can be interrupted, and its answer has 32 bits."""


class Header(NamedTuple):
    """Who asks for what (struct fuse_in_header)."""

    length: int
    opcode: int
    unique: int
    nodeid: InodeNo
    uid: int
    gid: int
    pid: int
    extensions: int
    padding: int


class Malformed(Exception):
    """The kernel would not send this. Only its sender gets an error."""


class Refused(Exception):
    """Answered with an errno by the transport itself."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


Call = Callable[[Header, memoryview], Awaitable[bytes]]


class Calls:
    """One method an opcode: reads the body, calls the file system, and returns the body of the answer.

    They raise what the file system raises, and Malformed for a body that is none.
    """

    def __init__(self, filesystem: FileSystem, answers: Answers, backings: Backings, logbook: Logbook) -> None:
        self._fs = filesystem
        self._backings = backings
        self._logbook = logbook
        self._answers = answers
        self.by_opcode: dict[int, Call] = {
            int(opcode): getattr(self, opcode.name.lower()) for opcode in Opcode if hasattr(self, opcode.name.lower())
        }
        """The others are answered with ENOSYS: the kernel does not ask again, or does it in another way."""

    # --- names ---

    async def lookup(self, who: Header, body: memoryview) -> bytes:
        return self._answers.entry(await self._fs.lookup(who.nodeid, _name(body)))

    async def mknod(self, who: Header, body: memoryview) -> bytes:
        mode, rdev, umask, _ = _read(abi.fuse_mknod_in, body)
        if stat.S_IFMT(mode) not in _NODES:
            raise Malformed(f"a node of mode {mode:o}")
        place = Place(who.nodeid, _name(body[abi.fuse_mknod_in.size :]))
        return self._answers.entry(await self._fs.mknod(place, _owner(stat.S_IFMT(mode), mode, umask, who), rdev))

    async def mkdir(self, who: Header, body: memoryview) -> bytes:
        mode, umask = _read(abi.fuse_mkdir_in, body)
        place = Place(who.nodeid, _name(body[abi.fuse_mkdir_in.size :]))
        return self._answers.entry(await self._fs.mkdir(place, _owner(stat.S_IFDIR, mode, umask, who)))

    async def symlink(self, who: Header, body: memoryview) -> bytes:
        name, target = _names(body)
        owner = Owner(stat.S_IFLNK | 0o777, who.uid, who.gid)
        return self._answers.entry(await self._fs.symlink(Place(who.nodeid, name), target, owner))

    async def link(self, who: Header, body: memoryview) -> bytes:
        (ino,) = _read(abi.fuse_link_in, body)
        place = Place(who.nodeid, _name(body[abi.fuse_link_in.size :]))
        return self._answers.entry(await self._fs.link(InodeNo(ino), place))

    async def unlink(self, who: Header, body: memoryview) -> bytes:
        await self._fs.unlink(Place(who.nodeid, _name(body)))
        return _NOTHING

    async def rmdir(self, who: Header, body: memoryview) -> bytes:
        await self._fs.rmdir(Place(who.nodeid, _name(body)))
        return _NOTHING

    async def rename(self, who: Header, body: memoryview) -> bytes:
        (newdir,) = _read(abi.fuse_rename_in, body)
        return await self._rename(who, newdir, 0, body[abi.fuse_rename_in.size :])

    async def rename2(self, who: Header, body: memoryview) -> bytes:
        newdir, flags, _ = _read(abi.fuse_rename2_in, body)
        return await self._rename(who, newdir, flags, body[abi.fuse_rename2_in.size :])

    async def _rename(self, who: Header, newdir: int, flags: int, names: memoryview) -> bytes:
        name_old, name_new = _names(names)
        old, new = Place(who.nodeid, name_old), Place(InodeNo(newdir), name_new)
        if flags == abi.RENAME_EXCHANGE:
            await self._fs.exchange(old, new)
        elif flags in (0, abi.RENAME_NOREPLACE):
            await self._fs.rename(old, new, replace=not flags)
        else:
            raise InvalidArgument(f"rename flags {flags:#x} are not supported")
        return _NOTHING

    async def forget(self, who: Header, body: memoryview) -> bytes:
        self._fs.forget(who.nodeid)
        return _NOTHING

    async def batch_forget(self, who: Header, body: memoryview) -> bytes:
        count, _ = _read(abi.fuse_batch_forget_in, body)
        ones = body[abi.fuse_batch_forget_in.size :]
        if len(ones) != count * abi.fuse_forget_one.size:
            raise Malformed("another number of inodes than told")
        for ino, _ in abi.fuse_forget_one.iter_unpack(ones):
            self._fs.forget(InodeNo(ino))
        return _NOTHING

    # --- inodes ---

    async def getattr(self, who: Header, body: memoryview) -> bytes:
        return self._answers.attributes(await self._fs.getattr(who.nodeid))

    async def setattr(self, who: Header, body: memoryview) -> bytes:
        return self._answers.attributes(await self._fs.setattr(who.nodeid, _changes(body, who)))

    async def readlink(self, who: Header, body: memoryview) -> bytes:
        return await self._fs.readlink(who.nodeid)

    async def getxattr(self, who: Header, body: memoryview) -> bytes:
        size, _ = _read(abi.fuse_getxattr_in, body)
        return _sized(await self._fs.xattrs.get(who.nodeid, _name(body[abi.fuse_getxattr_in.size :])), size)

    async def listxattr(self, who: Header, body: memoryview) -> bytes:
        size, _ = _read(abi.fuse_getxattr_in, body)
        names = await self._fs.xattrs.list(who.nodeid)
        return _sized(b"".join(name + b"\0" for name in names), size)

    async def setxattr(self, who: Header, body: memoryview) -> bytes:
        if (asked := setting_of(body, self._logbook.agreement)) is None:
            raise Malformed("an attribute of another size than told")
        name, value, create, replaces, drops = asked
        set_one = self._fs.xattrs.set
        await set_one(who.nodeid, name, value, create=create, replace=replaces, drops_set_gid=drops)
        return _NOTHING

    async def removexattr(self, who: Header, body: memoryview) -> bytes:
        await self._fs.xattrs.remove(who.nodeid, _name(body))
        return _NOTHING

    async def statfs(self, who: Header, body: memoryview) -> bytes:
        return statfs(self._fs.statfs())

    # --- directories ---

    async def opendir(self, who: Header, body: memoryview) -> bytes:
        number = await self._fs.opendir(who.nodeid)
        self._opened_as(who, Opened(Kind.DIRECTORY, 0, 0, who.unique, number, who.nodeid))
        flags = abi.FOPEN_CACHE_DIR
        stream = self._fs.streams.get(number)
        if stream.is_told():  # else the kernel drops what it has of an earlier listing
            flags |= abi.FOPEN_KEEP_CACHE
            self._note_shown(stream)  # it may go on from any name of that
        return abi.fuse_open_out.pack(number, flags, 0)

    async def readdir(self, who: Header, body: memoryview) -> bytes:
        number, position, size, *_ = _read(abi.fuse_read_in, body)
        stream, size = self._fs.streams.get(HandleNo(number)), min(size, MAX_WRITE)
        names = await stream.shown(position, max(1, size // LEAST_NAME_BYTES))
        self._note_shown(stream)
        return packed_names(names, size)

    async def readdirplus(self, who: Header, body: memoryview) -> bytes:
        number, start, size, *_ = _read(abi.fuse_read_in, body)
        stream, size = self._fs.streams.get(HandleNo(number)), min(size, MAX_WRITE)
        position, answer = start, bytearray()
        is_full = False
        while not is_full and (entries := await self._fs.readdir(HandleNo(number), position)):
            for each in entries:
                packed = self._answers.name_and_entry(each)
                if is_full := len(answer) + len(packed) > size:
                    break
                answer += packed
                position = each.position
        stream.tell(start, position if is_full else None)
        self._note_shown(stream)
        return bytes(answer)

    def _note_shown(self, stream: Stream) -> None:
        self._logbook.shown(stream.ino, stream.known(self._logbook.shown_count(stream.ino)))

    async def releasedir(self, who: Header, body: memoryview) -> bytes:
        self._close(Kind.DIRECTORY, _handle(body))
        return _NOTHING

    async def fsyncdir(self, who: Header, body: memoryview) -> bytes:
        await self._fs.fsyncdir()
        return _NOTHING

    # --- files ---

    async def create(self, who: Header, body: memoryview) -> bytes:
        flags, mode, umask, _ = _read(abi.fuse_create_in, body)
        place = Place(who.nodeid, _name(body[abi.fuse_create_in.size :]))
        number, entry = await self._fs.create(place, _owner(stat.S_IFREG, mode, umask, who), flags)
        return self._answers.entry(entry) + self._opened(who, flags, number, entry.inode.ino)

    async def tmpfile(self, who: Header, body: memoryview) -> bytes:
        flags, mode, umask, _ = _read(abi.fuse_create_in, body)
        number, entry = await self._fs.tmpfile(who.nodeid, _owner(stat.S_IFREG, mode, umask, who), flags)
        return self._answers.entry(entry) + self._opened(who, flags, number, entry.inode.ino)

    async def open(self, who: Header, body: memoryview) -> bytes:
        flags, open_flags = _read(abi.fuse_open_in, body)
        drops = bool(open_flags & abi.FUSE_OPEN_KILL_SUIDGID) or who.uid != 0
        return self._opened(who, flags, await self._fs.open(who.nodeid, flags, drops_set_id=drops), who.nodeid)

    async def read(self, who: Header, body: memoryview) -> bytes:
        number, offset, size, *_ = _read(abi.fuse_read_in, body)
        return await self._fs.read(HandleNo(number), offset, min(size, MAX_WRITE))

    async def write(self, who: Header, body: memoryview) -> bytes:
        number, offset, size, flags, *_ = _read(abi.fuse_write_in, body)
        data = body[abi.fuse_write_in.size :]
        if len(data) != size:
            raise Malformed("a write of another size than told")
        if flags & abi.FUSE_WRITE_KILL_SUIDGID:
            await self._fs.setattr(who.nodeid, Changes(drops_set_id=True))
        return abi.fuse_write_out.pack(await self._fs.write(HandleNo(number), offset, data), 0)

    async def flush(self, who: Header, body: memoryview) -> bytes:
        number = _handle(body)
        self._fs.flush(number)
        await self._fs.arrived(number)
        return _NOTHING

    async def release(self, who: Header, body: memoryview) -> bytes:
        self._close(Kind.FILE, _handle(body))
        return _NOTHING

    async def fsync(self, who: Header, body: memoryview) -> bytes:
        number = _handle(body)
        await self._fs.fsync(number)
        await self._fs.arrived(number)
        return _NOTHING

    async def fallocate(self, who: Header, body: memoryview) -> bytes:
        number, offset, length, mode, _ = _read(abi.fuse_fallocate_in, body)
        await self._fs.ranges.allocate(HandleNo(number), Extent(offset, length), mode)
        return _NOTHING

    async def lseek(self, who: Header, body: memoryview) -> bytes:
        number, offset, whence, _ = _read(abi.fuse_lseek_in, body)
        return abi.fuse_lseek_out.pack(self._fs.ranges.seek(HandleNo(number), offset, whence))

    async def copy_file_range(self, who: Header, body: memoryview) -> bytes:
        source, offset, _, target, target_offset, length, _ = _read(abi.fuse_copy_file_range_in, body)
        length = min(length, _MAX_COPY)
        count = await self._fs.copying.copy(HandleNo(source), offset, HandleNo(target), target_offset, length)
        return abi.fuse_write_out.pack(count, 0)

    async def ioctl(self, who: Header, body: memoryview) -> bytes:
        raise Refused(errno.ENOTTY)

    def _opened(self, who: Header, flags: int, number: HandleNo, ino: InodeNo) -> bytes:
        """The page cache may be kept from one open to the next: another version is another inode."""
        backing_id = self._backed(number, ino)
        self._opened_as(who, Opened(Kind.FILE, flags, backing_id, who.unique, number, ino))
        if not backing_id:
            return abi.fuse_open_out.pack(number, abi.FOPEN_KEEP_CACHE, 0)
        return abi.fuse_open_out.pack(number, abi.FOPEN_PASSTHROUGH | abi.FOPEN_NOFLUSH, backing_id)

    def _backed(self, number: HandleNo, ino: InodeNo) -> int:
        """Return the id of the file that the kernel is to read and write by itself; 0: it asks."""
        fd = self._fs.backing(number)
        if fd is None:
            return 0
        try:
            return self._backings.open(ino, fd)
        except OSError as exc:
            self._fs.refuse_backing(number, exc)
            return 0

    def _opened_as(self, who: Header, opened: Opened) -> None:
        """Write down what is about to be answered. What it was opened as for the same request before, nobody has."""
        before = self._logbook.unanswered(who.unique)
        self._logbook.opened(opened)
        if before is not None:
            self._close(before.kind, before.number)

    def _close(self, kind: Kind, number: HandleNo) -> None:
        """The kernel has a handle no more; also one that was closed before, by who could not answer that."""
        if kind is Kind.FILE:
            self.release_all([number])
        else:
            self._logbook.closed(kind, number)
            self._fs.releasedir(number)

    def release_all(self, numbers: Sequence[HandleNo]) -> None:
        """RELEASE for all of them, with one commit."""
        for ino in self._fs.release_all(numbers):
            self._backings.close(ino)
        for number in numbers:
            self._logbook.closed(Kind.FILE, number)

    def unanswered(self, who: Header, answer: bytes) -> None:
        """Nobody waits any more for what was answered: what it opened is closed."""
        if who.opcode in (Opcode.OPEN, Opcode.CREATE, Opcode.TMPFILE):
            self._close(Kind.FILE, HandleNo(abi.fuse_open_out.unpack(answer[-abi.fuse_open_out.size :])[0]))
        elif who.opcode == Opcode.OPENDIR:
            self._close(Kind.DIRECTORY, HandleNo(abi.fuse_open_out.unpack(answer)[0]))


def _read(layout: Struct, body: memoryview) -> tuple[Any, ...]:
    """Read what the body begins with."""
    if len(body) < layout.size:
        raise Malformed(f"{len(body)} bytes where {layout.size} or more belong")
    return layout.unpack_from(body)


def _name(body: memoryview) -> bytes:
    """Read a name that ends the body."""
    name = bytes(body[:-1])
    if not name or body[-1] or b"\0" in name or b"/" in name:
        raise Malformed("a name that does not end where the request does")
    return name


def _names(body: memoryview) -> tuple[bytes, bytes]:
    """Read two names, or a name and a target."""
    parts = bytes(body).split(b"\0")
    if len(parts) != 3 or parts[2] or not parts[0] or not parts[1]:
        raise Malformed("not two names")
    return parts[0], parts[1]


def _handle(body: memoryview) -> HandleNo:
    """Read what RELEASE, FLUSH and FSYNC begin with."""
    return HandleNo(_read(abi.fuse_fsync_in, body)[0])


def _owner(kind: int, mode: int, umask: int, who: Header) -> Owner:
    return Owner(kind | stat.S_IMODE(mode), who.uid, who.gid, umask)


def _sized(value: bytes, size: int) -> bytes:
    """Return the value, or how long it is to somebody who has no room for it yet."""
    if not size:
        return abi.fuse_getxattr_out.pack(len(value), 0)
    if len(value) > size:
        raise OutOfRange(f"{len(value)} bytes do not fit in {size}")
    return value


def _changes(body: memoryview, who: Header) -> Changes:
    """Read a SETATTR; one without any field comes before the write of somebody who may not keep set-id bits."""
    fields = _read(abi.fuse_setattr_in, body)
    valid, size = fields[0], fields[3]
    atime_s, mtime_s, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = fields[5:]
    changes = Changes(
        mode=mode if valid & abi.FATTR_MODE else None,
        uid=uid if valid & abi.FATTR_UID else None,
        gid=gid if valid & abi.FATTR_GID else None,
        size=size if valid & abi.FATTR_SIZE else None,
        atime_ns=atime_s * _NS + atime_ns if valid & abi.FATTR_ATIME else None,
        mtime_ns=mtime_s * _NS + mtime_ns if valid & abi.FATTR_MTIME else None,
    )
    is_cut_by_others = changes.size is not None and who.uid != 0
    drops = changes == Changes() or is_cut_by_others or bool(valid & abi.FATTR_KILL_SUIDGID)
    return replace(changes, drops_set_id=drops)
