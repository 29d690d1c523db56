"""The lane of small objects: what it carries, and what it leaves to the other one."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio
from obstore.exceptions import GenericError

from fusecache.backends.base import Backend
from fusecache.backends.options import S3Options
from fusecache.backends.s3 import fastlane, open_s3
from fusecache.backends.sources import BytesSource
from fusecache.errors import AccessDenied, BackendUnavailable, PreconditionFailed, StoreRefused, Throttled
from tests.backends.helpers import key, put
from tests.servers import ACCESS_KEY, SECRET_KEY

SLOW = "Botocore"
"""In the User-Agent of the other lane."""


class Server:
    """Answers each PUT with the next of `answers` (the last one again and again), and notes which lane asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, dict[str, str]]] = [(200, "", {"ETag": '"e"'})]
        self.lanes: list[str] = []
        self.keys: list[str] = []
        self.gate = threading.Barrier(1)
        """Answers are given to so many at a time."""

    @contextmanager
    def running(self) -> Iterator[str]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:  # the name is http.server's
                self.rfile.read(int(self.headers["Content-Length"]))
                told.lanes.append("slow" if SLOW in self.headers["User-Agent"] else "fast")
                told.keys.append(self.path)
                told.gate.wait(timeout=30)
                status, code, headers = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
                body = f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode() if code else b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return Server()


@asynccontextmanager
async def opened(server: Server, **options: object) -> AsyncIterator[Backend]:
    with server.running() as url:
        wanted = S3Options(bucket="bucket", endpoint_url=url, force_path_style=True, **options)  # type: ignore[arg-type]  # as given
        async with open_s3(wanted) as store:
            yield store


async def test_small_objects_with_plain_names_are_fast(server: Server) -> None:
    async with opened(server) as store:
        await put(store, "year=2024/part-0.parquet", b"x")
        await put(store, "a b", b"x")
        await put(store, "large", b"x" * (1 << 20) + b"x")
    assert server.lanes == ["fast", "slow", "slow"]
    assert server.keys[0] == "/bucket/year%3D2024/part-0.parquet"


@pytest.mark.parametrize("name", ["..", "a/../b", "./a", "a//b", "/a", "a/."])
async def test_names_that_are_no_plain_paths_are_not(server: Server, name: str) -> None:
    async with opened(server) as store:
        await put(store, name, b"")
    assert server.lanes == ["slow"]


@pytest.mark.parametrize("wish", [{"sse": "AES256"}, {"storage_class": "STANDARD_IA"}, {"requester_pays": True}])
async def test_what_has_to_say_more_is_not(server: Server, wish: dict[str, object]) -> None:
    async with opened(server, **wish) as store:
        await put(store, "a", b"x")
    assert server.lanes == ["slow"]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (503, "SlowDown", Throttled),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", BackendUnavailable),
        (503, "ServiceUnavailable", BackendUnavailable),
        (412, "PreconditionFailed", PreconditionFailed),
        (400, "RequestTimeout", BackendUnavailable),
    ],
)
async def test_what_this_lane_understands(server: Server, status: int, code: str, error: type[Exception]) -> None:
    server.answers = [(status, code, {})]
    async with opened(server) as store:
        with pytest.raises(error, match=r"PUT s3://bucket/a: .*told so"):
            await put(store, "a", b"x")
    assert server.lanes == ["fast"]


@pytest.mark.parametrize(
    ("status", "code", "error", "slow"), [(403, "AccessDenied", AccessDenied, 1), (400, "Odd", StoreRefused, 2)]
)
async def test_other_refusals_are_heard_by_the_other_lane(
    server: Server, status: int, code: str, error: type[Exception], slow: int
) -> None:
    """An odd one may be about the checksum: it is asked once without one."""
    server.answers = [(status, code, {})]
    async with opened(server) as store:
        with pytest.raises(error):
            await put(store, "a", b"x")
    assert server.lanes == ["fast", *["slow"] * slow]


async def test_a_lane_that_cannot_be_opened_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of descriptors it reads no certificates, and takes that for a wrong configuration."""
    real = fastlane.S3Store

    def refused(*_: object, **__: object) -> None:
        raise GenericError("No CA certificates were loaded from the system")

    async with opened(server) as store:
        monkeypatch.setattr(fastlane, "S3Store", refused)
        await put(store, "a", b"x")
        monkeypatch.setattr(fastlane, "S3Store", real)
        await put(store, "a", b"x")
    assert server.lanes == ["slow", "fast"]


async def test_what_was_throttled_goes_the_other_way_once(server: Server) -> None:
    later = (503, "SlowDown", {"Retry-After": "7"})
    server.answers = [later, later, (200, "", {"ETag": '"e"'})]
    async with opened(server) as store:
        with pytest.raises(Throttled) as first:
            await put(store, "a", b"x")
        with pytest.raises(Throttled) as second:
            await put(store, "a", b"x")
        assert (first.value.retry_after_s, second.value.retry_after_s) == (0.0, 7.0)
        await put(store, "a", b"x")
    assert server.lanes == ["fast", "slow", "fast"]


async def test_no_answer_is_unavailable(server: Server) -> None:
    async with open_s3(S3Options(bucket="bucket", endpoint_url="http://127.0.0.1:1", force_path_style=True)) as store:
        with pytest.raises(BackendUnavailable):
            await store.put(key("a"), BytesSource(b"x"), metadata={})


async def test_there_are_as_many_at_once_as_connections(server: Server) -> None:
    server.gate = threading.Barrier(40)
    async with opened(server, max_connections=40) as store:
        async with trio.open_nursery() as nursery:
            for number in range(80):
                nursery.start_soon(put, store, f"k{number}")
    assert (server.lanes, server.gate.broken) == (80 * ["fast"], False)
