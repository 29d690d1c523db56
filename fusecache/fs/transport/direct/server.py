"""Reads what the kernel asks, has it carried out, and answers.

One task reads. It carries out what it has read by itself, and most requests are answered without ever waiting, so
without a switch of tasks. A request that has to wait keeps its task, and another task goes on with reading.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from select import POLLIN, poll
from typing import Any

import trio

from fusecache.errors import FusecacheError
from fusecache.fs.errno import errno_of
from fusecache.fs.transport.direct.abi import (
    Opcode,
    fuse_in_header,
    fuse_interrupt_in,
    fuse_out_header,
    fuse_release_in,
)
from fusecache.fs.transport.direct.calls import Call, Calls, Header, Malformed, Refused
from fusecache.fs.transport.direct.closing import Closing
from fusecache.fs.transport.direct.handshake import MAX_WRITE
from fusecache.fs.transport.direct.patience import Patience
from fusecache.fs.transport.direct.replies import Replies
from fusecache.fs.transport.stepping import rest
from fusecache.nurseries import unwrapped
from fusecache.types import HandleNo

log = logging.getLogger(__name__)

BUFFER_BYTES = MAX_WRITE + 4096
"""The kernel refuses to be read with less than its largest request. Memory is taken for what arrives only."""

_IDLE_WORKERS = 8
_TURN_S = 0.001
"""So long the rest of the process may have to wait while requests come one after the other."""

_UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})
_UNINTERRUPTIBLE = frozenset({Opcode.RENAME, Opcode.RENAME2})
"""What waits after it was done: EINTR would say that it was not."""
_GONE = (errno.ENODEV, errno.ECONNABORTED)


class Server:
    """Answers one connection. Whatever a request does, it is answered, and the loop goes on."""

    def __init__(self, fd: int, calls: Calls, replies: Replies, *, most_waiting: int = 1000) -> None:
        """`fd`: of /dev/fuse, non-blocking, INIT is answered. When `most_waiting` requests wait, no more are read."""
        self._fd = fd
        self._patience = Patience(_looking_at(fd))
        self._calls = calls
        self._replies = replies
        self._closing = Closing(calls, self._reply)
        self._most_waiting = most_waiting
        self._ended = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._reader: trio.lowlevel.Task | None = None
        """Who reads the next request, or handles one that has not had to wait so far."""
        self._idle: list[trio.lowlevel.Task] = []
        self._workers = 0
        self._interruptible: dict[int, trio.CancelScope] = {}
        """Requests that wait, by their `unique`."""

    def __repr__(self) -> str:
        return f"<Server of /dev/fuse {self._fd}: {len(self._interruptible)} wait>"

    async def serve(self, *, hand_over: trio.Event | None = None) -> bool:
        """Answer until the connection ends: somebody has unmounted, or aborted it.

        When `hand_over` is set return False: what is answered without waiting was, and what waits has no answer. The
        next process will be asked for that again.
        """
        try:
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    if hand_over is not None:
                        nursery.start_soon(self._end_at, hand_over)
                    self._hire()
                    await self._ended.wait()
                    nursery.cancel_scope.cancel()
        finally:
            if is_over := hand_over is None or not hand_over.is_set():
                self._closing.carry_out()
        return is_over

    async def _end_at(self, event: trio.Event) -> None:
        await event.wait()
        self._ended.set()

    # --- turns ---

    def _hire(self) -> None:
        """Have somebody read."""
        assert self._nursery is not None
        if self._idle:
            self._reader = self._idle.pop()
            trio.lowlevel.reschedule(self._reader)
        elif self._workers <= self._most_waiting:
            self._workers += 1
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Read and carry out, again and again."""
        buffer = memoryview(bytearray(BUFFER_BYTES))
        task = trio.lowlevel.current_task()
        self._reader = self._reader or task
        try:
            while not self._ended.is_set() and await self._turn(task):
                with trio.CancelScope() as interruptible:
                    await self._requests(task, buffer, interruptible)
        finally:
            self._workers -= 1

    async def _turn(self, task: trio.lowlevel.Task) -> bool:
        """Wait for the turn to read; False: enough others do."""
        if self._reader is None:
            self._reader = task
        elif self._reader is not task:
            if len(self._idle) >= _IDLE_WORKERS:
                return False
            self._idle.append(task)
            await trio.lowlevel.wait_task_rescheduled(self._abort_of(task))
        return True

    def _abort_of(self, task: trio.lowlevel.Task) -> Callable[[object], trio.lowlevel.Abort]:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        return abort

    # --- requests ---

    async def _requests(self, task: trio.lowlevel.Task, buffer: memoryview, scope: trio.CancelScope) -> None:
        """Carry out what comes, as long as it is this task's turn."""
        began = time.perf_counter()
        while self._reader is task:
            length = await self._receive(buffer)
            if length < 0:
                self._ended.set()
                return
            await self._answer(buffer[:length], scope)
            if (now := time.perf_counter()) - began > _TURN_S:
                await trio.lowlevel.checkpoint()
                began = now

    async def _receive(self, buffer: memoryview) -> int:
        """Read one request and return its length; -1: the connection is no more."""
        while True:
            try:
                if self._patience.has_come():
                    return os.readv(self._fd, [buffer])
            except BlockingIOError:
                self._closing.carry_out()
            except OSError as exc:
                if exc.errno in _GONE:
                    return -1
                if exc.errno not in (errno.ENOENT, errno.EINTR):  # it was interrupted before we had read it
                    raise
                continue
            if not self._closing.carry_out():  # and look again: that took a moment
                await trio.lowlevel.wait_readable(self._fd)

    async def _answer(self, message: memoryview, scope: trio.CancelScope) -> None:
        """Carry one request out and answer it."""
        if len(message) < fuse_in_header.size:
            log.warning("the kernel sent %d bytes, which are no request", len(message))
            return
        who = Header._make(fuse_in_header.unpack_from(message))
        body = message[fuse_in_header.size :]
        if who.opcode == Opcode.INTERRUPT:
            self._interrupt(body)
            return
        call = self._calls.by_opcode.get(who.opcode)
        if call is None or who.length != len(message):
            if who.opcode not in _UNANSWERED:
                self._reply(who, errno.ENOSYS if call is None else errno.EIO, b"")
            return

        if who.opcode == Opcode.RELEASE and len(body) >= fuse_release_in.size:
            self._closing.put_off(who, HandleNo(fuse_release_in.unpack_from(body)[0]))
            return
        self._closing.before(who)
        carried_out = self._carried_out(call, who, body)
        try:
            trap = carried_out.send(None)
        except StopIteration as end:
            number, answer = end.value
        else:
            number, answer = await self._waited_for(carried_out, trap, who, scope)
        if who.opcode not in _UNANSWERED:
            self._reply(who, number, answer)

    async def _waited_for(
        self, carried_out: Coroutine[Any, Any, tuple[int, bytes]], trap: object, who: Header, scope: trio.CancelScope
    ) -> tuple[int, bytes]:
        """Go on with a request that has to wait, while somebody else reads."""
        if who.opcode not in _UNINTERRUPTIBLE:
            self._interruptible[who.unique] = scope
        self._reader = None
        self._hire()
        try:
            number, answer = await rest(carried_out, trap)
            return number, answer
        except trio.Cancelled:
            if scope.cancel_called:  # else it is this process that ends
                self._reply(who, errno.EINTR, b"")
            raise
        finally:
            self._interruptible.pop(who.unique, None)

    def _interrupt(self, body: memoryview) -> None:
        """Somebody does not want to wait any more. What is not waiting has been answered already."""
        with suppress(struct.error):
            scope = self._interruptible.get(fuse_interrupt_in.unpack_from(body)[0])
            if scope is not None:
                scope.cancel()

    def _reply(self, who: Header, number: int, answer: bytes) -> None:
        header = fuse_out_header.pack(fuse_out_header.size + len(answer), -number, who.unique)
        try:
            os.writev(self._fd, [header, answer])
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, *_GONE):  # else nobody waits for it any more
                log.exception("the kernel does not take the answer to %s", who)
            if not number:
                self._take_back(who, answer)
        self._replies.given(who)

    def _take_back(self, who: Header, answer: bytes) -> None:
        """Nobody has got the answer."""
        try:
            self._calls.unanswered(who, answer)
        except FusecacheError as exc:
            log.log(exc.level, "%s(%s) was not answered: %s", _name(who), who.nodeid, exc)

    async def _carried_out(self, call: Call, who: Header, body: memoryview) -> tuple[int, bytes]:
        """Return an errno, 0 for none, and the body of the answer."""
        try:
            return 0, await (self._replies.of(who) or call)(who, body)
        except FusecacheError as exc:
            if log.isEnabledFor(exc.level):  # a name that is not there is told to nobody, and thousands of times
                log.log(exc.level, "%s(%s): %s: %s", _name(who), who.nodeid, type(exc).__name__, exc)
            return errno_of(exc), b""
        except Refused as exc:
            return exc.number, b""
        except (Malformed, OverflowError) as exc:  # the second: a number as no file system has
            log.warning("%s(%s) is malformed: %s", _name(who), who.nodeid, exc)
        except Exception:
            log.exception("%s(%s) failed in a way nobody foresaw", _name(who), who.nodeid)
        return errno.EIO, b""


def _looking_at(fd: int) -> Callable[[], bool]:
    """Return what tells whether there is something to be read, or an end; cheaper than a read in vain."""
    poller = poll()
    poller.register(fd, POLLIN)
    return lambda: bool(poller.poll(0))


def _name(who: Header) -> str:
    return Opcode(who.opcode).name.lower()
