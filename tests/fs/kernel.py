"""A kernel for the direct transport: asks through a socket that keeps messages apart, as /dev/fuse does."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.answers import Answers
from fusecache.fs.transport.direct.calls import Calls
from fusecache.fs.transport.direct.handshake import Agreement
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.fs.transport.direct.passthrough import Backings
from fusecache.fs.transport.direct.replies import Replies
from fusecache.fs.transport.direct.server import BUFFER_BYTES, Server
from fusecache.types import ROOT_INO
from tests.fs.harness import World

PATIENCE_S = 20.0
PAGE = 4096
AGREED = Agreement(45, 1 << 17, 0)
Answer = tuple[int, bytes]
"""An errno, 0 for none, and a body."""


class Kernel:
    """Sends requests and sorts the answers."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._numbers = itertools.count(2, 2)
        self._sent: dict[int, bytes] = {}
        self._answers: dict[int, Answer] = {}

    def send(
        self,
        opcode: int,
        nodeid: int = ROOT_INO,
        body: bytes = b"",
        *,
        uid: int = 0,
        length: int = -1,
        is_again: bool = False,
    ) -> int:
        """Ask, and return the request's number. `length`: told instead of the true one; `is_again`: as if resent."""
        unique = next(self._numbers) | (abi.FUSE_UNIQUE_RESEND if is_again else 0)
        size = abi.fuse_in_header.size + len(body)
        header = abi.fuse_in_header.pack(size if length < 0 else length, opcode, unique, nodeid, uid, uid, 1, 0, 0)
        self._sent[unique] = header + body
        self._end.send(header + body)
        return unique

    def send_raw(self, message: bytes) -> None:
        self._end.send(message)

    def send_again(self, unique: int, by: Kernel) -> int:
        """Ask what `by` has asked of a daemon that is no more, and return the number under which it is asked now."""
        again = unique | abi.FUSE_UNIQUE_RESEND
        length, opcode, _, *rest = abi.fuse_in_header.unpack_from(by._sent[unique])
        header = abi.fuse_in_header.pack(length, opcode, again, *rest)
        self._end.send(header + by._sent[unique][abi.fuse_in_header.size :])
        return again

    def interrupt(self, unique: int) -> None:
        self.send(Opcode.INTERRUPT, body=abi.fuse_interrupt_in.pack(unique))

    async def answer(self, unique: int) -> Answer:
        """Wait for the answer to one request."""
        with trio.fail_after(PATIENCE_S):
            while unique not in self._answers:
                await trio.lowlevel.wait_readable(self._end)
                self._take()
        return self._answers.pop(unique)

    async def ask(self, opcode: int, nodeid: int = ROOT_INO, body: bytes = b"", *, uid: int = 0) -> Answer:
        return await self.answer(self.send(opcode, nodeid, body, uid=uid))

    async def told(self, opcode: int, nodeid: int = ROOT_INO, body: bytes = b"") -> bytes:
        """Ask for what has to succeed."""
        number, answer = await self.ask(opcode, nodeid, body)
        assert not number, f"{Opcode(opcode).name}: {os.strerror(number)}"
        return answer

    def unasked(self) -> dict[int, Answer]:
        """Return the answers that nobody has taken so far."""
        while True:
            try:
                self._take()
            except BlockingIOError:
                return self._answers

    def _take(self) -> None:
        message = self._end.recv(BUFFER_BYTES)
        length, error, unique = abi.fuse_out_header.unpack_from(message)
        assert length == len(message), "an answer of another length than told"
        assert unique not in self._answers, "a second answer"
        self._answers[unique] = (-error, message[abi.fuse_out_header.size :])

    # --- requests in words ---

    async def lookup(self, name: bytes, parent: int = ROOT_INO) -> int:
        """Return the inode number."""
        return int(abi.fuse_entry_out.unpack_from(await self.told(Opcode.LOOKUP, parent, name + b"\0"))[0])

    async def create(self, name: bytes, parent: int = ROOT_INO, flags: int = os.O_RDWR) -> tuple[int, int]:
        """Return the inode number and the handle."""
        body = abi.fuse_create_in.pack(flags, 0o100644, 0o022, 0) + name + b"\0"
        answer = await self.told(Opcode.CREATE, parent, body)
        ino = abi.fuse_entry_out.unpack_from(answer)[0]
        return ino, abi.fuse_open_out.unpack(answer[-abi.fuse_open_out.size :])[0]

    async def open(self, ino: int, flags: int = os.O_RDONLY) -> int:
        return int(abi.fuse_open_out.unpack(await self.told(Opcode.OPEN, ino, abi.fuse_open_in.pack(flags, 0)))[0])

    async def write(self, ino: int, number: int, offset: int, data: bytes, flags: int = 0) -> int:
        body = abi.fuse_write_in.pack(number, offset, len(data), flags, 0, 0, 0) + data
        return int(abi.fuse_write_out.unpack(await self.told(Opcode.WRITE, ino, body))[0])

    def send_read(self, ino: int, number: int, offset: int = 0, size: int = PAGE) -> int:
        return self.send(Opcode.READ, ino, abi.fuse_read_in.pack(number, offset, size, 0, 0, 0, 0))

    async def read(self, ino: int, number: int, offset: int = 0, size: int = PAGE) -> bytes:
        error, data = await self.answer(self.send_read(ino, number, offset, size))
        assert not error, os.strerror(error)
        return data

    async def close(self, ino: int, number: int) -> None:
        await self.told(Opcode.FLUSH, ino, abi.fuse_flush_in.pack(number, 0, 0, 0))
        await self.told(Opcode.RELEASE, ino, abi.fuse_release_in.pack(number, 0, 0, 0))


@asynccontextmanager
async def a_kernel(world: World, *, most_waiting: int = 1000, logbook: Logbook | None = None) -> AsyncIterator[Kernel]:
    """Serve a world for the block; what answers has to be alive at its end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BUFFER_BYTES)
        answers, backings = Answers(entry_timeout_s=None, attr_timeout_s=None), Backings(theirs.fileno())
        calls = Calls(world.fs, answers, backings, logbook or Logbook.begin(AGREED))
        kernel = Kernel(ours)
        async with trio.open_nursery() as nursery:
            server = Server(theirs.fileno(), calls, Replies(world.fs, calls), most_waiting=most_waiting)
            nursery.start_soon(server.serve)
            yield kernel
            assert await kernel.ask(Opcode.IOCTL) == (errno.ENOTTY, b"")
            nursery.cancel_scope.cancel()
