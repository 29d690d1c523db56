"""The daemon's side of the control socket: framing, credentials and bounds; what is answered comes from outside."""

from __future__ import annotations

import array
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from fusecache.control.client import peer_of
from fusecache.control.protocol import (
    ANSWER_S,
    CONNECTIONS,
    HEARTBEAT_S,
    LINE_BYTES,
    ControlError,
    decode,
    encode,
    error_reply,
)
from fusecache.errors import FusecacheError

log = logging.getLogger(__name__)
_SO_PEERGROUPS = 59  # asm-generic/socket.h; the socket module has no name for it
_GROUPS_BYTES = 1024  # the most that socket.getsockopt takes: 256 groups


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel noted it when the connection was made."""

    pid: int
    uid: int
    gids: tuple[int, ...]


Message = dict[str, object]
Answer = Callable[[Peer, Message, Callable[[Message], None]], Awaitable[Message]]
"""Carries out one request; may tell progress as often as it likes: a client gets the newest, now and then."""


class ControlServer:
    """Serves one request a connection. A slow, silent or vanished client costs nobody else anything."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._connections = 0
        self._idle = trio.Event()
        self._idle.set()

    async def serve(self, listener: socket.socket) -> None:
        """Answer until cancelled; `listener` is bound and listening, and is closed at the end."""
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        await trio.serve_listeners(self._connection, [accepting])  # goes on after EMFILE, too

    async def idle(self) -> None:
        """Return when every request that was begun has its answer."""
        await self._idle.wait()

    async def _connection(self, stream: trio.SocketStream) -> None:
        with self._counted():
            async with stream:
                try:
                    await self._exchange(stream)
                except (trio.BrokenResourceError, trio.TooSlowError):
                    log.debug("a client of the control socket went away")

    async def _exchange(self, stream: trio.SocketStream) -> None:
        try:
            request = decode(await _line(stream))  # read even if refused: an unread request resets the reply
            if self._connections > CONNECTIONS:
                raise ControlError("too many clients at once: try again", kind="busy")
            reply: Message = {"result": await self._carried_out(stream, _peer(stream), request)}
        except ControlError as exc:
            reply = error_reply(exc)
        except FusecacheError as exc:
            reply = error_reply(ControlError(str(exc) or type(exc).__name__, kind=type(exc).__name__))
        except (trio.BrokenResourceError, trio.TooSlowError):
            raise
        except Exception:
            log.exception("a control request failed")
            reply = error_reply(ControlError("the daemon failed at it; its log says more", kind="bug"))
        await _send(stream, reply)

    async def _carried_out(self, stream: trio.SocketStream, peer: Peer, request: Message) -> Message:
        """Run the request with progress beside it; a client that hangs up cancels it."""
        told: list[Message] = [{}]  # the newest only: progress is no queue
        result: list[Message] = []
        failure: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heartbeat, stream, told, nursery.cancel_scope)
            nursery.start_soon(_hang_up, stream, nursery.cancel_scope)
            try:
                result.append(await self._answer(peer, request, lambda message: told.__setitem__(0, message)))
            except Exception as exc:  # kept out of the nursery: its group would hide which one it is
                failure.append(exc)
            nursery.cancel_scope.cancel()
        if failure:
            raise failure[0]
        if not result:
            raise trio.BrokenResourceError("the client hung up")
        return result[0]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._connections += 1
        if self._connections == 1:
            self._idle = trio.Event()
        try:
            yield
        finally:
            self._connections -= 1
            if self._connections == 0:
                self._idle.set()


@contextmanager
def listening(
    path: Path, *, mode: int, found: int | None = None, stays: Callable[[], bool] = lambda: False
) -> Iterator[socket.socket]:
    """Listen at `path` in the block, or go on with what was `found`; then the file goes, unless it `stays` for the
    next process, or is somebody else's by now.

    Device numbers are used again, and so is the path: what is there at first is a leftover, and at the end, when the
    mount is gone, perhaps another daemon's.
    """
    with listen(path, mode=mode) if found is None else socket.socket(fileno=found) as listener:
        made = path.stat().st_ino  # which nobody gets as long as this listens
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                if not stays() and path.stat().st_ino == made:
                    path.unlink()


def listen(path: Path, *, mode: int) -> socket.socket:
    """Return a socket that listens at `path`. Nobody finds one there that does not listen yet."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(fresh))
        fresh.chmod(mode)
        listener.listen(CONNECTIONS)
        fresh.rename(path)
    except OSError:
        listener.close()
        raise
    return listener


async def _line(stream: trio.SocketStream) -> bytes:
    """Return the request's line; who sends none in time, or too much, is an error."""
    received = b""
    with trio.fail_after(ANSWER_S):
        while not received.endswith(b"\n"):
            piece = await stream.receive_some(LINE_BYTES)
            if not piece:
                raise trio.BrokenResourceError("the client hung up")
            received += piece
            if len(received) > LINE_BYTES:
                raise ControlError(f"a request has at most {LINE_BYTES} bytes", kind="protocol")
    return received


async def _send(stream: trio.SocketStream, message: Message) -> None:
    with trio.fail_after(ANSWER_S):
        await stream.send_all(encode(message))


async def _heartbeat(stream: trio.SocketStream, told: list[Message], scope: trio.CancelScope) -> None:
    """Tell the newest progress. Shielded while sending: half a line would spoil the answer after it."""
    try:
        while True:
            await trio.sleep(HEARTBEAT_S)
            with trio.CancelScope(shield=True):
                await _send(stream, {"progress": told[0]})
    except (trio.BrokenResourceError, trio.TooSlowError):
        scope.cancel()


async def _hang_up(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """End the request when the client is gone. What it sends after its line is not read any further."""
    try:
        if await stream.receive_some(1):
            return
    except trio.BrokenResourceError:
        pass
    scope.cancel()


def _peer(stream: trio.SocketStream) -> Peer:
    """SO_PEERGROUPS rather than /proc/PID/status: a process id may be somebody else's by now."""
    pid, uid, gid = peer_of(stream.getsockopt)
    groups = array.array("I")
    try:
        groups.frombytes(stream.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES))
    except OSError:
        log.warning("user %d is in more groups than can be asked for: only his own counts", uid)
    return Peer(pid, uid, (gid, *groups))
