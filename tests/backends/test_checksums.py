"""What a store has made of a body is compared with what was sent, by the best that it can tell."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import anycrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.backends.base import Backend
from fusecache.backends.options import S3Options
from fusecache.backends.s3 import open_s3
from fusecache.backends.s3.checksums import Sum, put_together
from fusecache.backends.sources import BytesSource
from fusecache.errors import Miswritten, StoreRefused
from tests.backends.helpers import key, put
from tests.conftest import Servers, use_server
from tests.servers import ACCESS_KEY, SECRET_KEY, S3Server

CRC = anycrc.Model("CRC64-NVME")
LARGE = os.urandom((1 << 20) + 7)
"""Not for the lane of small objects."""


def crc(data: bytes) -> str:
    return b64encode(CRC.calc(data).to_bytes(8, "big")).decode()


def etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


@given(bodies=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_the_checksum_of_parts_is_that_of_the_whole(bodies: list[bytes]) -> None:
    whole = b"".join(bodies)
    assert put_together([Sum(len(each), CRC.calc(each)) for each in bodies]) == Sum(len(whole), CRC.calc(whole))


def test_of_parts_that_are_not_known_only_the_size_is() -> None:
    for sums in ([Sum(3), Sum(4, 1)], [Sum(3, 1), Sum(4)]):
        assert put_together(sums) == Sum(7)
    assert put_together([]) is None


class Liar:
    """Answers each request with the next of `answers`, the last again and again; notes the headers of requests."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.size, self.sizes_asked = len(LARGE), 0

    @contextmanager
    def running(self) -> Iterator[str]:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                liar.asked.append({name.lower(): value for name, value in self.headers.items()})
                status, headers = liar.answers.pop(0) if len(liar.answers) > 1 else liar.answers[0]
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_HEAD(self) -> None:
                liar.sizes_asked += 1
                self.send_response(200)
                self.send_header("ETag", '"e"')
                self.send_header("Content-Length", str(liar.size))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            thread.join()


@asynccontextmanager
async def opened(liar: Liar, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Backend]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with liar.running() as url:
        wanted = S3Options(bucket="bucket", endpoint_url=url, force_path_style=True, **options)
        async with open_s3(wanted) as store:
            yield store


def told(data: bytes, *, of: bytes | None = None) -> tuple[int, dict[str, str]]:
    return 200, {"ETag": etag(data), "x-amz-checksum-crc64nvme": crc(data if of is None else of)}


async def test_a_server_that_tells_another_checksum(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(Liar(told(LARGE), told(LARGE, of=b"other"), told(LARGE)), monkeypatch) as store:
        assert not store.capabilities.checksums
        await put(store, "a", LARGE)
        assert store.capabilities.checksums
        with pytest.raises(Miswritten, match=r"PUT s3://bucket/a: the store has CRC64NVME .* was sent"):
            await put(store, "a", LARGE)
        await put(store, "b", LARGE)
        assert not store.capabilities.checksums
    assert "it is sent again" in caplog.text


async def test_a_part_that_became_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(Liar(told(b"x", of=b"y")), monkeypatch) as store:
        with pytest.raises(Miswritten):
            await store.put_part(key("a"), "upload", 1, BytesSource(b"x"))


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["fast", "slow"])
async def test_etags_are_compared_where_they_were_md5s_before(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    liar = Liar((200, {"ETag": etag(body)}), (200, {"ETag": etag(b"other")}))
    async with opened(liar, monkeypatch) as store:
        await put(store, "a", body)
        with pytest.raises(Miswritten, match="MD5"):
            await put(store, "a", body)
    if body is LARGE:
        assert "x-amz-checksum-crc64nvme" in liar.asked[0]
        assert liar.asked[1]["content-md5"] == b64encode(md5(LARGE, usedforsecurity=False).digest()).decode()


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["fast", "slow"])
async def test_etags_that_are_no_md5s_say_nothing(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    liar = Liar((200, {"ETag": etag(b"of encrypted bytes")}), (200, {"ETag": etag(body)}), (200, {"ETag": '"e-1"'}))
    async with opened(liar, monkeypatch) as store:
        for _ in range(4):
            await put(store, "a", body)


@pytest.mark.parametrize("told", [{"ETag": etag(b"of encrypted bytes")}, {"ETag": '"e-1"'}], ids=["md5", "other"])
async def test_where_nothing_else_is_told_the_size_is_compared(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    liar = Liar((200, told))
    async with opened(liar, monkeypatch) as store:
        await put(store, "a", LARGE)
        assert liar.sizes_asked == 1
        liar.size -= 1
        with pytest.raises(Miswritten, match=f"the store has {len(LARGE) - 1} bytes"):
            await put(store, "a", LARGE)


async def test_a_bucket_that_is_encrypted_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One upload looks wrong, and is read back when it is found again; the next etags are believed to be no MD5s."""
    liar = Liar((200, {"ETag": etag(b"small")}), (200, {"ETag": etag(b"of encrypted bytes")}))
    async with opened(liar, monkeypatch) as store:
        await put(store, "a", b"small")
        with pytest.raises(Miswritten):
            await put(store, "a", b"small")
        await put(store, "a", b"small")


async def test_a_server_that_refuses_checksums_is_asked_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    liar = Liar((400, {}), (200, {"ETag": etag(LARGE)}))
    async with opened(liar, monkeypatch) as store:
        await put(store, "a", LARGE)
        await put(store, "a", LARGE)
    assert ["x-amz-checksum-crc64nvme" in asked for asked in liar.asked] == [True, False, False]


async def test_a_server_that_knows_them_refuses_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    liar = Liar(told(LARGE), (400, {}))
    async with opened(liar, monkeypatch) as store:
        await put(store, "a", LARGE)
        with pytest.raises(StoreRefused):
            await put(store, "a", LARGE)
    assert len(liar.asked) == 2


async def test_who_wants_none_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    liar = Liar((200, {"ETag": etag(b"other"), "x-amz-checksum-crc64nvme": crc(b"other")}))
    async with opened(liar, monkeypatch, checksums=False) as store:
        await put(store, "a", LARGE)
    assert not [name for name in liar.asked[0] if "checksum" in name or "md5" in name]


@pytest.fixture
def versitygw(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    return use_server(servers, "versitygw", monkeypatch)


async def test_a_real_server_has_the_checksum_of_the_whole(servers: Servers, versitygw: S3Server) -> None:
    """Of an upload in parts, too, and if another process has sent the first of them."""
    bucket, parts = servers.bucket("versitygw"), [os.urandom(5 << 20), os.urandom(100)]
    wanted = S3Options(bucket=bucket, prefix="sums/", endpoint_url=versitygw.endpoint_url, force_path_style=True)
    async with open_s3(wanted) as store:
        await put(store, "large", LARGE)
        upload = await store.start_multipart(key("parts"), metadata={})
        etags = [await store.put_part(key("parts"), upload, 1, BytesSource(parts[0]))]
    async with open_s3(wanted) as store:
        etags.append(await store.put_part(key("parts"), upload, 2, BytesSource(parts[1])))
        await store.complete_multipart(key("parts"), upload, etags)
    client = versitygw.client()
    for name, data in (("large", LARGE), ("parts", b"".join(parts))):
        head = client.head_object(Bucket=bucket, Key=f"sums/{name}", ChecksumMode="ENABLED")
        assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (crc(data), "FULL_OBJECT")
    client.close()
