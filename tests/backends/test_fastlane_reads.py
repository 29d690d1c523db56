"""What the fast lane reads, and which answers it doesn't believe: then the other lane asks, and says what is wrong."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio

from fusecache.backends.base import Backend
from fusecache.backends.options import S3Options
from fusecache.backends.s3 import open_s3
from fusecache.errors import BackendUnavailable, NoSuchObject, PreconditionFailed, StoreRefused, Throttled
from fusecache.types import ETag, Extent
from tests.backends.helpers import key
from tests.servers import ACCESS_KEY, SECRET_KEY

BODY = bytes(range(100))
WANTED = Extent(10, 20)
PARTIAL = {"Content-Range": "bytes 10-29/100", "ETag": '"e"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}


class Server:
    """Answers each GET in the same way, and notes which lane asked."""

    def __init__(self) -> None:
        self.status = 206
        self.headers = dict(PARTIAL)
        self.body = BODY[10:30]
        self.length = 20
        self.lanes: list[str] = []
        self.asked: list[tuple[str | None, str | None]] = []
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def running(self) -> Iterator[str]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.gate.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the name is http.server's
                told.lanes.append("slow" if "Botocore" in self.headers["User-Agent"] else "fast")
                told.asked.append((self.headers["Range"], self.headers["If-Match"]))
                told.arrived.set()
                told.gate.wait(timeout=30)
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(told.length))
                self.end_headers()
                self.wfile.write(told.body)
                self.close_connection = told.length != len(told.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
                pass

        return Handler

    def refuses(self, status: int, code: str) -> None:
        self.status, self.headers = status, {}
        self.body = f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode()
        self.length = len(self.body)


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


async def test_a_read_is_one_request_of_that_range_and_version(server: Server) -> None:
    async with opened(server, sse="AES256") as store:  # which only a PUT has to say
        assert bytes(await store.get(key("a"), WANTED, if_match=ETag("e"))) == BODY[10:30]
    assert (server.lanes, server.asked) == (["fast"], [("bytes=10-29", '"e"')])


async def test_a_store_that_is_to_be_paid_for_is_asked_in_the_other_way(server: Server) -> None:
    async with opened(server, requester_pays=True) as store:
        assert bytes(await store.get(key("a"), WANTED, if_match=ETag("e"))) == BODY[10:30]
    assert server.lanes == ["slow"]


async def test_a_body_that_ends_early_is_no_body(server: Server) -> None:
    server.body = BODY[10:25]
    async with opened(server) as store:
        with pytest.raises(BackendUnavailable):
            await store.get(key("a"), WANTED, if_match=ETag("e"))
    assert server.lanes == ["fast"]


async def test_another_version_is_not_read_though_the_server_knows_no_conditions(server: Server) -> None:
    server.headers["ETag"] = '"f"'
    async with opened(server) as store:
        with pytest.raises(PreconditionFailed):
            await store.get(key("a"), WANTED, if_match=ETag("e"))
        assert not store.capabilities.conditional_read


@pytest.mark.parametrize("told", ["bytes 11-30/100", "bytes 10-30/100"])
async def test_another_range_is_not_believed(server: Server, told: str) -> None:
    server.headers["Content-Range"] = told
    server.body, server.length = BODY[10:31], 21
    async with opened(server) as store:
        with pytest.raises(StoreRefused):
            await store.get(key("a"), WANTED, if_match=ETag("e"))


async def test_all_of_the_object_is_not_taken_for_a_part(server: Server) -> None:
    server.status, server.body, server.length = 200, BODY, 100
    del server.headers["Content-Range"]
    async with opened(server) as store:
        with pytest.raises((StoreRefused, BackendUnavailable)):
            await store.get(key("a"), WANTED, if_match=ETag("e"))


@pytest.mark.parametrize(
    ("status", "code", "error", "lanes"),
    [
        (412, "PreconditionFailed", PreconditionFailed, ["fast"]),
        (500, "InternalError", BackendUnavailable, ["fast"]),
        (503, "SlowDown", Throttled, ["fast"]),
        (404, "NoSuchKey", NoSuchObject, ["fast", "slow"]),
    ],
)
async def test_what_is_refused(server: Server, status: int, code: str, error: type, lanes: list[str]) -> None:
    server.refuses(status, code)
    async with opened(server) as store:
        with pytest.raises(error):
            await store.get(key("a"), WANTED, if_match=ETag("e"))
    assert server.lanes == lanes


async def test_who_does_not_want_to_wait_is_free_at_once(server: Server) -> None:
    server.gate.clear()
    async with opened(server) as store:
        with trio.move_on_after(30) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: store.get(key("a"), WANTED, if_match=None))
                await trio.to_thread.run_sync(server.arrived.wait, 30)
                patience.cancel()
        assert patience.cancelled_caught
        server.gate.set()
