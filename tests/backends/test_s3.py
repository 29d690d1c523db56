"""What is S3's alone: the promises of the adapter that no other store can keep or break."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from fusecache.backends.base import Backend
from fusecache.backends.options import S3Options
from fusecache.backends.s3 import open_s3
from fusecache.backends.sources import BytesSource, FileRange
from fusecache.errors import (
    AccessDenied,
    BackendUnavailable,
    ConfigError,
    NoSuchStore,
    PreconditionFailed,
    StoreRefused,
    TransientBackendError,
)
from fusecache.types import ETag, Extent
from tests.backends.helpers import WRONG, copy_in_parts, key, names, put, read
from tests.conftest import new_bucket
from tests.servers import S3Server, free_port

MIB = 1 << 20


def options(server: S3Server, bucket: str, prefix: str = "") -> S3Options:
    return S3Options(bucket=bucket, prefix=prefix, endpoint_url=server.endpoint_url, force_path_style=True)


async def test_keys_are_below_the_prefix(s3_server: S3Server, bucket: str) -> None:
    """An independent client sees the prefix; we see neither it nor what is beside it."""
    client = s3_server.client()
    client.put_object(Bucket=bucket, Key="x/yz/beside", Body=b"")
    client.put_object(Bucket=bucket, Key="x/y/theirs é", Body=b"theirs")
    async with open_s3(options(s3_server, bucket, "x/y/")) as store:
        await put(store, "ours", b"ours", mode="1")
        assert await names(store) == ["ours", "theirs é"]
        assert await read(store, "theirs é") == b"theirs"
        assert store.capabilities.max_key_bytes == 1024 - len("x/y/")
        assert store.url == f"s3://{bucket}/x/y"
    answer = client.get_object(Bucket=bucket, Key="x/y/ours")
    assert (answer["Body"].read(), {k.lower(): v for k, v in answer["Metadata"].items()}) == (b"ours", {"mode": "1"})


async def test_no_such_bucket(s3_server: S3Server) -> None:
    async with open_s3(options(s3_server, "no-such-bucket-here")) as store:
        with pytest.raises(NoSuchStore, match="no-such-bucket-here"):
            await store.check()
        with pytest.raises(NoSuchStore):
            await put(store, "a")


async def test_what_a_bucket_that_is_gone_does_not_show_is_not_absent(s3_server: S3Server) -> None:
    """A HEAD answers 404 there, too: nobody may take that for the end of an object."""
    async with open_s3(options(s3_server, "no-such-bucket-here")) as store:
        with pytest.raises(NoSuchStore):
            await store.head(key("a"))
        with pytest.raises(NoSuchStore):
            await store.delete([key("a")], if_match=[WRONG])
        with pytest.raises(NoSuchStore):
            await store.copy(key("a"), key("b"), if_match=WRONG, size=1, metadata=None)
        assert await store.glance(key("a")) is None, "who writes there is told"


async def test_nobody_listens(moto: S3Server) -> None:
    nowhere = replace(options(moto, "bucket"), endpoint_url=f"http://127.0.0.1:{free_port()}")
    async with open_s3(nowhere) as store:
        with pytest.raises(BackendUnavailable, match=r"cannot connect to http://127\.0\.0\.1"):
            await store.check()
        with pytest.raises(BackendUnavailable):
            await put(store, "a", b"x" * MIB)


@pytest.mark.parametrize("s3_server", ["rclone", "versitygw"], indirect=True)
async def test_wrong_credentials(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on moto, which lets everybody in."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with open_s3(options(s3_server, bucket)) as store:
        with pytest.raises(AccessDenied, match="credentials"):
            await store.check()


async def test_no_credentials(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with open_s3(options(moto, "bucket")) as store:
        with pytest.raises(AccessDenied, match="environment, the profile and the instance role"):
            await store.check()


@pytest.mark.parametrize(("endpoint_url", "profile"), [("not a url", None), (None, "no-such-profile")])
async def test_wrong_configuration(moto: S3Server, endpoint_url: str | None, profile: str | None) -> None:
    with pytest.raises(ConfigError, match=endpoint_url or profile):
        async with open_s3(S3Options(bucket="b", endpoint_url=endpoint_url, profile=profile)):
            pass


async def test_ignored_conditions_are_found_out(s3_server: S3Server, bucket: str) -> None:
    """By `check`, or else by the first answer that should not have come; and until then assumed.

    Those of writes are found out by the first one: reading does not need them.
    """
    async with open_s3(options(s3_server, bucket)) as store:
        await put(store, "a")
        assert store.capabilities.conditional_read
        with pytest.raises(PreconditionFailed):
            await store.get(key("a"), Extent(0, 1), if_match=WRONG)
        kept = s3_server.name != "rclone"
        assert store.capabilities.conditional_read == kept
    async with open_s3(options(s3_server, bucket)) as store:
        await store.check()
        assert (store.capabilities.conditional_read, store.capabilities.conditional_write) == (kept, True)


async def test_markers_are_kept_or_refused(s3_server: S3Server, bucket: str) -> None:
    async with open_s3(options(s3_server, bucket)) as store:
        if s3_server.name != "rclone":
            await put(store, "dir/", b"")
            await put(store, "other/", b"")
            assert await names(store) == ["dir/", "other/"]
            return
        for name in "dir/", "other/":
            with pytest.raises(StoreRefused, match="no directory markers"):
                await put(store, name, b"")
        assert await names(store) == []
        await put(store, "dir/child")


async def test_a_copy_in_parts(s3_server: S3Server, bucket: str) -> None:
    """It still has everything of its source."""
    body = os.urandom(12 * MIB)
    client = s3_server.client()
    client.put_object(Bucket=bucket, Key="a", Body=body, ContentType="text/x-test", Metadata={"mode": "1"})
    async with open_s3(options(s3_server, bucket)) as store:
        info = await store.head(key("a"))
        if s3_server.name == "rclone":
            with pytest.raises(StoreRefused, match="cannot copy parts"):
                await copy_in_parts(store, info, "b", None)
            assert not store.capabilities.multipart_copy
            assert await names(store) == ["a"]
            return
        etag = await copy_in_parts(store, info, "b", None)
        await copy_in_parts(store, info, "c", {"mode": "2"})
        assert await read(store, "b") == body
        assert (await store.head(key("b"))).etag == etag
        assert store.capabilities.multipart_copy
    for name, mode in ("b", "1"), ("c", "2"):
        head = client.head_object(Bucket=bucket, Key=name)
        assert (head["ContentType"], head["Metadata"]) == ("text/x-test", {"mode": mode})
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")


async def test_copies_keep_what_the_source_has(moto: S3Server) -> None:
    """Content headers, class, encryption and tags, at once and by parts."""
    moto.create_bucket("copies")
    client = moto.client()
    kept = {"ContentType": "text/x", "CacheControl": "no-store", "StorageClass": "STANDARD_IA"}
    client.put_object(
        Bucket="copies", Key="a", Body=b"x" * 6 * MIB, Tagging="k=v%20w", ServerSideEncryption="AES256", **kept
    )
    for is_in_parts in False, True:
        async with open_s3(options(moto, "copies")) as store:
            if is_in_parts:
                await copy_in_parts(store, await store.head(key("a")), "b", {"m": "1"})
            else:
                await store.copy(key("a"), key("b"), if_match=None, size=6 * MIB, metadata={"m": "1"})
        head = client.head_object(Bucket="copies", Key="b")
        assert {name: head[name] for name in kept} == kept
        assert (head["Metadata"], head["ServerSideEncryption"]) == ({"m": "1"}, "AES256")
        assert client.get_object_tagging(Bucket="copies", Key="b")["TagSet"] == [{"Key": "k", "Value": "v w"}]


async def test_a_copy_of_what_has_the_name_of_a_directory_and_bytes(moto: S3Server) -> None:
    """It is no marker. Most servers that keep files refuse to have one."""
    bucket = new_bucket(moto)
    moto.client().put_object(Bucket=bucket, Key="d/", Body=b"theirs")
    async with open_s3(options(moto, bucket)) as store:
        etag = (await store.head(key("d/"))).etag
        await store.copy(key("d/"), key("e/"), if_match=etag, size=6, metadata=None)
        assert await read(store, "e/") == b"theirs"


async def test_a_copy_of_what_was_just_put_is_like_any_other(s3_server: S3Server, bucket: str) -> None:
    """The one made without a HEAD of the source, and the one made by somebody who has to ask."""
    wishes = {"storage_class": "STANDARD_IA", "sse": "AES256"} if s3_server.name == "moto" else {}
    described = replace(options(s3_server, bucket), **wishes)
    async with open_s3(described) as store, open_s3(described) as other:
        etag = await store.put(key("a"), BytesSource(b"x"), metadata={"mode": "33188"})
        await store.copy(key("a"), key("b"), if_match=etag, size=1, metadata={"m": "1"})
        await other.copy(key("a"), key("c"), if_match=etag, size=1, metadata={"m": "1"})
    with closing(s3_server.client()) as client:
        heads = [client.head_object(Bucket=bucket, Key=each) for each in "bc"]
        for head in heads:
            for varying in ("LastModified", "ResponseMetadata"):
                del head[varying]
        assert heads[0] == heads[1]


async def test_what_was_put_and_then_replaced_by_somebody_else_is_not_copied(moto: S3Server) -> None:
    """By a server that would do so, as it ignores the condition on the source of a copy."""
    moto.create_bucket("replaced")
    async with open_s3(options(moto, "replaced")) as store:
        etag = await store.put(key("a"), BytesSource(b"ours"), metadata={})
        with closing(moto.client()) as client:
            client.put_object(Bucket="replaced", Key="a", Body=b"theirs")
        with pytest.raises(PreconditionFailed):
            await store.copy(key("a"), key("b"), if_match=etag, size=4, metadata={"m": "1"})
        assert [info.key for info in (await store.list("", delimiter=None)).objects] == ["a"]


async def test_new_objects_get_what_the_user_wants(moto: S3Server) -> None:
    moto.create_bucket("wishes")
    wanted = replace(options(moto, "wishes"), sse="AES256", storage_class="STANDARD_IA", requester_pays=True)
    async with open_s3(wanted) as store:
        await put(store, "a")
        upload_id = await store.start_multipart(key("b"), metadata={})
        etag = await store.put_part(key("b"), upload_id, 1, BytesSource(b"x"))
        await store.complete_multipart(key("b"), upload_id, [etag])
    for name in "a", "b":
        head = moto.client().head_object(Bucket="wishes", Key=name)
        assert (head["StorageClass"], head["ServerSideEncryption"]) == ("STANDARD_IA", "AES256")


@pytest.mark.slow
@pytest.mark.parametrize("s3_server", ["rclone", "versitygw"], indirect=True)
async def test_a_large_put_stays_out_of_memory(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    """On servers in processes of their own: what grows here is ours."""
    local = tmp_path / "body"
    with local.open("wb") as file:
        file.truncate(64 * MIB)
    async with open_s3(options(s3_server, bucket)) as store:
        await put(store, "warm", b"x" * MIB)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await store.put(key("a"), FileRange(local, 0, 64 * MIB), metadata={})
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < 20 * MIB
        assert (await store.head(key("a"))).size == 64 * MIB


class Answering:
    """A server that gives the same answer to everything and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.request_count = 0

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Backend]:
        """Serve, and open a store on it."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        endpoint_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            async with open_s3(S3Options(bucket="b", endpoint_url=endpoint_url)) as store:
                yield store
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.request_count += 1
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(self._answer)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b'HTTP/1.1 206 OK\r\nETag: "e"\r\nContent-Length: 10\r\n\r\nshort', BackendUnavailable),
        (b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 20\r\n\r\n' + b"x" * 20, StoreRefused),
        (b'HTTP/1.1 206 OK\r\nETag: "other"\r\nContent-Length: 10\r\n\r\n' + b"x" * 10, PreconditionFailed),
        (b"HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", TransientBackendError),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno backend", BackendUnavailable),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", BackendUnavailable),
        (b"garbage\r\n\r\n", BackendUnavailable),
        (b"", BackendUnavailable),
    ],
    ids=["truncated", "range-ignored", "other-version", "slow-down", "404-of-a-proxy", "500", "garbage", "hang-up"],
)
async def test_bad_answers(moto: S3Server, answer: bytes, error: type[Exception]) -> None:
    """Each is an error of ours, of one request: only the caller retries."""
    server = Answering(answer)
    async with server.store() as store:
        with trio.fail_after(5), pytest.raises(error) as caught:
            await store.get(key("a"), Extent(0, 10), if_match=ETag("e"))
    assert server.request_count == 1
    if isinstance(caught.value, TransientBackendError) and b"Retry-After" in answer:
        assert caught.value.retry_after_s == 7.0
