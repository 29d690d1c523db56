"""Stands in front of a store, passes requests on and writes them down, and does to them what the rules say."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple
from xml.sax.saxutils import unescape

import trio

from tests.faults.framing import Head, has_body, parse
from tests.faults.operations import Operation, operation_of
from tests.faults.rules import Dark, Do, Judge, Rules, Verdict
from tests.faults.streams import Closed, Stream, connect

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEY = re.compile(rb"<Key>([^<]*)</Key>")


class Record(NamedTuple):
    """A request that has ended."""

    at_s: float
    """When its head was there, by the system's monotonic clock."""
    operation: str
    kind: str
    key: str
    status: int
    """As whoever asked has seen it; 0: the connection ended first."""
    fate: str
    """What a rule did to it; "" where it was passed on."""
    sent_bytes: int
    """Of its body."""
    received_bytes: int
    """Of the answer's body."""
    took_s: float
    deleted: Sequence[str]
    """The keys that a DeleteObjects names."""


@dataclass(slots=True)
class _Exchange:
    """One request, as far as it has come."""

    head: Head
    operation: Operation
    verdict: Verdict
    at_s: float
    status: int = 0
    sent: int = 0
    received: int = 0
    told: bytes = b""
    """The body of a request that names its keys there."""

    async def listened(self, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Give the body on, and keep it if it names keys."""
        async with aclosing(body) as pieces:
            async for data in pieces:
                if self.operation.name == "DeleteObjects":
                    self.told += data
                yield data


class Proxy:
    """Passes each connection on to one of its own, a request at a time; reads only the bodies of DeleteObjects."""

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port`: of the store."""
        self._store = (host, port)
        self._judge = Judge()
        self._changed = trio.Event()
        self._port = 0
        self._is_listening = False
        self.records: list[Record] = []

    async def follow(self, rules: Rules) -> None:
        """Judge by these from now on; whether anybody listens fits them when this returns."""
        self._judge.follow(rules)
        self._change()
        while self._is_listening is (rules.dark is Dark.REFUSES):
            await self._changed.wait()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a port of the loopback interface, which is told, until cancelled."""
        while True:
            listener = await self._listen()
            self._is_listening = True
            self._change()
            with trio.CancelScope() as connected:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.serve_listeners, self._serve, [listener])
                    if task_status is not trio.TASK_STATUS_IGNORED:
                        task_status.started(self._port)
                        task_status = trio.TASK_STATUS_IGNORED
                    await self._until(lambda dark: dark is Dark.REFUSES)
                    connected.cancel()
            self._is_listening = False
            self._change()
            await self._until(lambda dark: dark is not Dark.REFUSES)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _until(self, holds: Callable[[Dark], bool]) -> None:
        while not holds(self._judge.rules.dark):
            await self._changed.wait()

    async def _listen(self) -> trio.SocketListener:
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await sock.bind(("127.0.0.1", self._port))
        sock.listen(256)
        self._port = int(sock.getsockname()[1])
        return trio.SocketListener(sock)

    async def _serve(self, stream: trio.SocketStream) -> None:
        client, store = Stream(stream), None
        try:
            while True:
                raw = await client.head()
                if store is None:
                    store = await connect(*self._store)
                if not await self._exchange(client, store, parse(raw)):
                    break
        except Closed:
            pass
        finally:
            client.reset()
            if store is not None:
                store.close()

    async def _exchange(self, client: Stream, store: Stream, head: Head) -> bool:
        """Carry out one request; False: the connection has ended with it."""
        await self._until(lambda dark: dark is not Dark.SWALLOWS)
        method, target, _ = head.first
        operation = operation_of(method, target, is_copy=head.is_copy, token=head.token)
        now = time.monotonic()
        exchange = _Exchange(head, operation, self._judge.judge(operation, now), now)
        try:
            return await self._carry_out(client, store, exchange)
        finally:
            self.records.append(
                Record(
                    now, operation.name, operation.kind, operation.key, exchange.status,
                    exchange.verdict.do.value if exchange.verdict.do else "", exchange.sent, exchange.received,
                    time.monotonic() - now, [unescape(key.decode()) for key in _KEY.findall(exchange.told)],
                )
            )  # fmt: skip

    async def _carry_out(self, client: Stream, store: Stream, exchange: _Exchange) -> bool:
        verdict = exchange.verdict
        if verdict.do is Do.DROP_BEFORE:
            return False
        if exchange.head.expects:
            await client.send(_CONTINUE)
        if verdict.do is Do.ANSWER:
            return await _answer(client, exchange)
        if verdict.do is Do.DELAY:
            await trio.sleep(verdict.delay_s)
        if verdict.do is Do.CUT_REQUEST:
            await _send_half(client, store, exchange)
            return False
        await store.send(exchange.head.raw)
        exchange.sent = await _pass(exchange.listened(client.body(exchange.head)), store)
        answer = parse(await store.head())
        while answer.status < 200:
            answer = parse(await store.head())
        await self._until(lambda dark: dark is not Dark.SWALLOWS)
        if verdict.do is Do.DROP_AFTER:
            return False
        await client.send(answer.raw)
        exchange.status = answer.status
        if not has_body(answer, exchange.head.first[0]):
            return not answer.closes
        body = store.body(answer, until_closed=True)
        half = (answer.length or 2) // 2 if verdict.do is Do.CUT_ANSWER else None
        exchange.received = await _pass(body, client, at_most=half)
        is_framed = answer.is_chunked or answer.length is not None
        return half is None and is_framed and not answer.closes


async def _pass(body: AsyncGenerator[bytes, None], to: Stream | None, *, at_most: int | None = None) -> int:
    """Send a body on, or nowhere, and return how many bytes that were."""
    count = 0
    async with aclosing(body) as pieces:
        async for data in pieces:
            if at_most is not None:
                data = data[: at_most - count]
            if to is not None:
                await to.send(data)
            count += len(data)
            if count == at_most:
                break
    return count


async def _answer(client: Stream, exchange: _Exchange) -> bool:
    """Take the body, throw it away, and answer as the verdict says."""
    verdict, head = exchange.verdict, exchange.head
    exchange.sent = await _pass(client.body(head), None)
    text = f"<Code>{verdict.code}</Code><Message>by rule</Message><RequestId>0</RequestId><HostId>0</HostId>"
    body = b"" if head.first[0] == "HEAD" else f'<?xml version="1.0" encoding="UTF-8"?><Error>{text}</Error>'.encode()
    retry = "" if verdict.retry_after_s is None else f"Retry-After: {verdict.retry_after_s:g}\r\n"
    first = f"HTTP/1.1 {verdict.status} Refused\r\n{retry}Content-Type: application/xml\r\n"
    await client.send(f"{first}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    exchange.status = verdict.status
    return not head.closes


async def _send_half(client: Stream, store: Stream, exchange: _Exchange) -> None:
    await store.send(exchange.head.raw)
    half = (exchange.head.length or 2) // 2
    exchange.sent = await _pass(client.body(exchange.head), store, at_most=half)
    store.reset()
