"""A TCP connection as messages are read from it: a head, then a body that is never held as a whole."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator

import trio

from tests.faults.framing import END, Chunks, Head

_CHUNK = 256 << 10


class Closed(Exception):
    """The other side has ended the connection, or reset it."""


class Stream:
    """One side of what is passed on."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._ahead = b""

    async def head(self) -> bytes:
        """Return the next head.

        Raises:
            Closed: there is none.
        """
        data = self._ahead
        while (end := data.find(END)) < 0:
            data += await self._receive()
        self._ahead = data[end + len(END) :]
        return data[: end + len(END)]

    async def body(self, head: Head, *, until_closed: bool = False) -> AsyncGenerator[bytes, None]:
        """Give the body of `head` in pieces as they come.

        Raises:
            Closed: before its end.
        """
        if head.is_chunked:
            chunks = Chunks()
            end = None
            while end is None:
                data = await self._next()
                end = chunks.feed(data)
                if end is not None:
                    data, self._ahead = data[:end], data[end:]
                yield data
        elif head.length is not None:
            left = head.length
            while left:
                data = await self._next()
                data, self._ahead = data[:left], data[left:]
                left -= len(data)
                yield data
        elif until_closed:
            while True:
                try:
                    data = await self._next()
                except Closed:
                    return
                yield data

    async def send(self, data: bytes) -> None:
        """Send everything.

        Raises:
            Closed: nobody takes it.
        """
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise Closed from exc

    def reset(self) -> None:
        """End the connection at once, so that the other side meets ECONNRESET."""
        sock = self._stream.socket
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    def close(self) -> None:
        """End the connection after what was sent."""
        self._stream.socket.close()

    async def _next(self) -> bytes:
        data, self._ahead = self._ahead, b""
        return data or await self._receive()

    async def _receive(self) -> bytes:
        try:
            data = await self._stream.receive_some(_CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise Closed from exc
        if not data:
            raise Closed
        return bytes(data)


async def connect(host: str, port: int) -> Stream:
    """Return a connection.

    Raises:
        Closed: nobody listens.
    """
    sock = trio.socket.socket()
    try:
        await sock.connect((host, port))
    except OSError as exc:
        sock.close()
        raise Closed from exc
    return Stream(trio.SocketStream(sock))
