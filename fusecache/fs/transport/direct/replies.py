"""Requests that are sent once more, as a daemon was killed before it answered: none is carried out twice."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable

from fusecache.fs.filesystem import FileSystem
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.calls import Call, Calls, Header
from fusecache.namespace.records import Place
from fusecache.types import InodeNo


class Again(enum.Enum):
    """What becomes of a request that is sent again: it may have been carried out, in part, or not at all."""

    NEVER_SENT = enum.auto()
    """Nobody waits for an answer, or it is the first of all."""
    READS = enum.auto()
    """Carried out again: it changes nothing."""
    SAME = enum.auto()
    """Carried out again, which ends in the same state: until it is answered, the kernel holds the inode's lock."""
    OPENS = enum.auto()
    """Carried out again. What the first one opened, nobody has: whoever keeps what is open closes that."""
    CLOSES = enum.auto()
    """Carried out again. If it was closed already, nothing happens."""
    ONCE = enum.auto()
    """It would fail, or undo what it did: what was done, the namespace knows (`Requests`), and the answer is made
    from that."""


KINDS = {
    Opcode.LOOKUP: Again.READS,
    Opcode.FORGET: Again.NEVER_SENT,
    Opcode.GETATTR: Again.READS,
    Opcode.SETATTR: Again.SAME,
    Opcode.READLINK: Again.READS,
    Opcode.SYMLINK: Again.ONCE,
    Opcode.MKNOD: Again.ONCE,
    Opcode.MKDIR: Again.ONCE,
    Opcode.UNLINK: Again.ONCE,
    Opcode.RMDIR: Again.ONCE,
    Opcode.RENAME: Again.ONCE,
    Opcode.LINK: Again.ONCE,
    Opcode.OPEN: Again.OPENS,  # O_TRUNC: as if it had come a moment later
    Opcode.READ: Again.READS,
    Opcode.WRITE: Again.SAME,  # O_APPEND: the kernel says where
    Opcode.STATFS: Again.READS,
    Opcode.RELEASE: Again.CLOSES,
    Opcode.FSYNC: Again.SAME,
    Opcode.SETXATTR: Again.ONCE,  # XATTR_CREATE
    Opcode.GETXATTR: Again.READS,
    Opcode.LISTXATTR: Again.READS,
    Opcode.REMOVEXATTR: Again.ONCE,
    Opcode.FLUSH: Again.SAME,
    Opcode.INIT: Again.NEVER_SENT,
    Opcode.OPENDIR: Again.OPENS,
    Opcode.READDIR: Again.READS,
    Opcode.RELEASEDIR: Again.CLOSES,
    Opcode.FSYNCDIR: Again.SAME,
    Opcode.GETLK: Again.READS,  # this and the next two are the kernel's own affair
    Opcode.SETLK: Again.READS,
    Opcode.SETLKW: Again.READS,
    Opcode.ACCESS: Again.READS,
    Opcode.CREATE: Again.ONCE,
    Opcode.INTERRUPT: Again.NEVER_SENT,
    Opcode.BMAP: Again.READS,
    Opcode.DESTROY: Again.NEVER_SENT,
    Opcode.IOCTL: Again.READS,  # refused
    Opcode.POLL: Again.READS,
    Opcode.NOTIFY_REPLY: Again.NEVER_SENT,
    Opcode.BATCH_FORGET: Again.NEVER_SENT,
    Opcode.FALLOCATE: Again.SAME,
    Opcode.READDIRPLUS: Again.READS,
    Opcode.RENAME2: Again.ONCE,
    Opcode.LSEEK: Again.READS,
    Opcode.COPY_FILE_RANGE: Again.SAME,  # of what the source has then
    Opcode.SYNCFS: Again.SAME,
    Opcode.TMPFILE: Again.OPENS,  # the first file has no name, and nobody has it open
    Opcode.STATX: Again.READS,
}
"""Of every opcode, also of those that are answered with ENOSYS."""

_NUMBER = abi.FUSE_UNIQUE_RESEND - 1
"""What a request is known by, however often it is sent."""
_NOTHING = b""


class Replies:
    """Answers what was carried out by a daemon that did not live to answer it."""

    def __init__(self, filesystem: FileSystem, calls: Calls) -> None:
        self._fs = filesystem
        self._calls = calls
        self._requests = filesystem.requests
        self._made: dict[int, Call] = {
            Opcode.SYMLINK: self._entry_at(lambda body: body[: bytes(body).index(0) + 1]),  # the target is behind it
            Opcode.MKNOD: self._entry_at(lambda body: body[abi.fuse_mknod_in.size :]),
            Opcode.MKDIR: self._entry_at(lambda body: body[abi.fuse_mkdir_in.size :]),
            Opcode.LINK: self._entry_at(lambda body: body[abi.fuse_link_in.size :]),
            Opcode.CREATE: self._created,
            Opcode.UNLINK: _nothing,
            Opcode.RMDIR: _nothing,
            Opcode.RENAME: self._renamed,
            Opcode.RENAME2: self._renamed,
            Opcode.SETXATTR: _nothing,
            Opcode.REMOVEXATTR: _nothing,
        }

    def of(self, request: Header) -> Call | None:
        """What makes the answer to a request that this task begins with, if it was carried out; None: it has to be.

        Until it is answered, the name that it is about is locked in the kernel: so what is there is what it has made.
        """
        number = request.unique & _NUMBER
        self._requests.begins(number)
        if number == request.unique:
            return None
        made = self._made.get(request.opcode)
        return made if made is not None and self._requests.is_done(number) else None

    def given(self, request: Header) -> None:
        """The request was answered: it is not sent again."""
        self._requests.answered(request.unique & _NUMBER)

    def _entry_at(self, name: Callable[[memoryview], memoryview]) -> Call:
        def made(who: Header, body: memoryview) -> Awaitable[bytes]:
            return self._calls.lookup(who, name(body))

        return made

    async def _created(self, who: Header, body: memoryview) -> bytes:
        flags, *_ = abi.fuse_create_in.unpack_from(body)
        entry = await self._calls.lookup(who, body[abi.fuse_create_in.size :])
        made = who._replace(nodeid=InodeNo(abi.fuse_entry_out.unpack_from(entry)[0]))
        return entry + await self._calls.open(made, memoryview(abi.fuse_open_in.pack(flags, 0)))

    async def _renamed(self, who: Header, body: memoryview) -> bytes:
        """It may be for a path whose renames wait for the store."""
        layout = abi.fuse_rename_in if who.opcode == Opcode.RENAME else abi.fuse_rename2_in
        newdir, *flags = layout.unpack_from(body)
        if abi.RENAME_EXCHANGE not in flags:  # that never waits
            _, name, _ = bytes(body[layout.size :]).split(b"\0")
            place = Place(InodeNo(newdir), name)
            await self._fs.renamed((await self._fs.lookup(*place)).inode.ino, place)
        return _NOTHING


async def _nothing(who: Header, body: memoryview) -> bytes:
    return _NOTHING
