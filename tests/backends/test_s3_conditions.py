"""What a condition costs on S3, and how what a server does with it is found out without harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from botocore.exceptions import ClientError

from fusecache.backends.options import S3Options
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.client import S3Client, open_client
from fusecache.backends.s3.store import S3Backend
from fusecache.backends.sources import BytesSource
from fusecache.errors import AccessDenied, BackendUnavailable, PreconditionFailed, Throttled
from fusecache.types import ETag, ObjectKey
from tests.backends.helpers import WRONG, key, names, put, read
from tests.servers import S3Server

SCRATCH = ".fusecache-tmp/probe"
Answer = dict[str, Any]


class Watched:
    """A client whose requests are counted, in front of which a server can be made to behave otherwise."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._counted: Counter[str] = Counter()
        self.refuse_put: Callable[[str], None] = lambda key: None
        self.delete_etags: Callable[[dict[str, str]], Answer | None] | None = None
        """Asked of each object of a batch that names an etag: its error, or None to have it deleted."""

    def since(self) -> dict[str, int]:
        """Return the requests since the last look."""
        seen, self._counted = self._counted, Counter()
        return dict(seen)

    def __getattr__(self, operation: str) -> Any:
        async def counted(**args: Any) -> Answer:
            self._counted[operation] += 1
            answer: Answer = await getattr(self._client, operation)(**args)
            return answer

        return counted

    async def put_object(self, **args: Any) -> Answer:
        self._counted["put_object"] += 1
        self.refuse_put(args["Key"])
        return await self._client.put_object(**args)

    async def delete_objects(self, **args: Any) -> Answer:
        self._counted["delete_objects"] += 1
        errors = []
        objects = []
        for each in args["Delete"]["Objects"]:
            error = self.delete_etags(each) if self.delete_etags and "ETag" in each else None
            if error is None:
                objects.append({"Key": each["Key"]})
            else:
                errors.append({"Key": each["Key"], **error})
        if objects:
            answer = await self._client.delete_objects(**args | {"Delete": {"Objects": objects, "Quiet": True}})
            errors += answer.get("Errors", [])
        return {"Errors": errors}


@asynccontextmanager
async def watched(server: S3Server, bucket: str) -> AsyncIterator[tuple[S3Backend, Watched]]:
    options = S3Options(
        bucket=bucket, prefix="p/", endpoint_url=server.endpoint_url, force_path_style=True, fast_lane=False
    )
    async with open_client(options) as client:
        watched = Watched(client)
        yield S3Backend(cast(S3Client, watched), options), watched


@pytest.fixture
def moto_bucket(moto: S3Server) -> str:
    name = "conditions"
    moto.create_bucket(name)
    client = moto.client()
    for entry in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=entry["Key"])
    return name


def keeping(server: S3Server, bucket: str) -> Callable[[dict[str, str]], Answer | None]:
    """Compare etags in a batch as AWS does, which none of the servers here does."""
    client = server.client()

    def refused(wanted: dict[str, str]) -> Answer | None:
        try:
            found = client.head_object(Bucket=bucket, Key=wanted["Key"])["ETag"]
        except ClientError:
            return None
        return None if found == wanted["ETag"] else {"Code": "PreconditionFailed", "Message": "no longer"}

    return refused


# --- PUT ---


async def test_a_conditional_put_is_one_request(s3_server: S3Server, bucket: str) -> None:
    """After the first of a mount; and where conditions are ignored, a look besides."""
    async with watched(s3_server, bucket) as (store, requests):
        first = await store.put(key("a"), BytesSource(b"1"), metadata={}, if_none_match=True)
        kept = s3_server.name != "rclone"
        probe = {"put_object": 2} if kept else {"put_object": 2, "delete_object": 1, "head_object": 1}
        assert requests.since() == probe
        assert store.capabilities.conditional_write == kept
        assert await names(store) == ["a"]
        requests.since()
        second = await store.put(key("a"), BytesSource(b"2"), metadata={}, if_match=first)
        await store.put(key("b"), BytesSource(b"1"), metadata={}, if_none_match=True)
        assert requests.since() == ({"put_object": 2} if kept else {"put_object": 2, "head_object": 2})
        for if_match in first, None:
            with pytest.raises(PreconditionFailed):
                await store.put(key("a"), BytesSource(b"3"), metadata={}, if_match=if_match, if_none_match=not if_match)
        assert requests.since() == ({"put_object": 2} if kept else {"head_object": 2})
        assert (await store.head(key("a"))).etag == second


async def test_an_unconditional_put_asks_nothing(moto: S3Server, moto_bucket: str) -> None:
    async with watched(moto, moto_bucket) as (store, requests):
        await put(store, "a")
        assert requests.since() == {"put_object": 1}


async def test_many_first_puts_make_one_probe(moto: S3Server, moto_bucket: str) -> None:
    async with watched(moto, moto_bucket) as (store, requests):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                body = BytesSource(b"x")
                nursery.start_soon(lambda n=number, b=body: store.put(key(f"{n}"), b, metadata={}, if_none_match=True))
        assert requests.since() == {"put_object": 9}


async def test_a_scratch_object_of_a_dead_run(s3_server: S3Server, bucket: str) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="p/" + SCRATCH, Body=b"")
    async with watched(s3_server, bucket) as (store, _):
        await store.put(key("a"), BytesSource(b"1"), metadata={}, if_none_match=True)
        assert store.capabilities.conditional_write == (s3_server.name != "rclone")
        assert await names(store) == ["a"]


async def test_a_refused_probe_settles_nothing(moto: S3Server, moto_bucket: str) -> None:
    """A transient error is the write's; a definite one leaves us looking, until the probe says something."""

    def raising(error: Exception) -> Callable[[str], None]:
        def refuse(full_key: str) -> None:
            if full_key.endswith(SCRATCH):
                raise error

        return refuse

    async with watched(moto, moto_bucket) as (store, requests):
        requests.refuse_put = raising(Throttled("slow down"))
        with pytest.raises(Throttled):
            await store.put(key("a"), BytesSource(b"1"), metadata={}, if_none_match=True)
        requests.refuse_put = raising(AccessDenied("that key isn't yours"))
        requests.since()
        await store.put(key("a"), BytesSource(b"1"), metadata={}, if_none_match=True)
        assert requests.since() == {"put_object": 2, "head_object": 1}
        with pytest.raises(PreconditionFailed):
            await store.put(key("a"), BytesSource(b"2"), metadata={}, if_none_match=True)
        requests.refuse_put = lambda _: None
        requests.since()
        await store.put(key("b"), BytesSource(b"1"), metadata={}, if_none_match=True)
        assert requests.since() == {"put_object": 2}


async def test_a_scratch_object_that_cannot_be_deleted_is_thought_of_again(
    moto: S3Server, moto_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever asks next, as nobody else would: this server has made one of the copy that it was to refuse."""
    real, failures = S3Bucket.delete, [BackendUnavailable("reset")] * 4

    async def failing(bucket: S3Bucket, at: ObjectKey, *, if_match: ETag | None = None) -> None:
        if failures:
            raise failures.pop()
        await real(bucket, at, if_match=if_match)

    monkeypatch.setattr(S3Bucket, "delete", failing)
    async with watched(moto, moto_bucket) as (store, _):
        etag = await put(store, "a")
        with pytest.raises(BackendUnavailable):
            await store.copy(key("a"), key("b"), if_match=etag, size=4, metadata=None)
        assert await names(store) == [SCRATCH, "a"]
        await store.copy(key("a"), key("b"), if_match=etag, size=4, metadata=None)
        assert await names(store) == ["a", "b"]


# --- DELETE ---


@pytest.mark.slow
async def test_a_thousand_conditional_deletes_are_three_requests(moto: S3Server, moto_bucket: str) -> None:
    """On a server that ignores their conditions: a HEAD, a LIST and a DELETE."""
    async with watched(moto, moto_bucket) as (store, requests):
        etags = [await put(store, f"d/{number:04}") for number in range(1000)]
        first = await put(store, "first")
        await store.delete([key("first")], if_match=[first])
        requests.since()
        outcomes = await store.delete([key(f"d/{number:04}") for number in range(1000)], if_match=etags)
        assert [outcome.error for outcome in outcomes] == [None] * 1000
        assert requests.since() == {"head_object": 1, "list_objects_v2": 1, "delete_objects": 1}
        assert await names(store) == []


async def test_the_first_conditional_delete_probes(moto: S3Server, moto_bucket: str) -> None:
    """With a key that was to go anyway: where conditions are ignored, the probe has deleted it."""
    async with watched(moto, moto_bucket) as (store, requests):
        requests.delete_etags = lambda wanted: None
        etag = await put(store, "a")
        requests.since()
        await store.delete([key("a")], if_match=[etag])
        assert requests.since() == {"head_object": 1, "delete_objects": 1}
        assert await names(store) == []
        etag = await put(store, "a")
        requests.since()
        await store.delete([key("a"), key("b")], if_match=[etag, None])
        assert requests.since() == {"head_object": 1, "delete_objects": 1}


async def test_nothing_is_probed_with_what_another_put(moto: S3Server, moto_bucket: str) -> None:
    async with watched(moto, moto_bucket) as (store, requests):
        await put(store, "a", b"theirs")
        requests.since()
        (outcome,) = await store.delete([key("a")], if_match=[WRONG])
        assert isinstance(outcome.error, PreconditionFailed)
        assert requests.since() == {"head_object": 1}
        assert await names(store) == ["a"]


async def test_a_server_that_keeps_conditions_of_deletes(moto: S3Server, moto_bucket: str) -> None:
    """After the probe it compares: one request a batch, and a look only at what it refused."""
    async with watched(moto, moto_bucket) as (store, requests):
        requests.delete_etags = keeping(moto, moto_bucket)
        first = await put(store, "first")
        requests.since()
        (outcome,) = await store.delete([key("first")], if_match=[first])
        assert outcome.error is None
        assert requests.since() == {"head_object": 2, "delete_objects": 2}
        etags = [await put(store, f"d/{number}") for number in range(9)]
        requests.since()
        wanted = [key(f"d/{number}") for number in range(9)] + [key("absent")]
        assert not any(each.error for each in await store.delete(wanted, if_match=[*etags, WRONG]))
        assert requests.since() == {"delete_objects": 1}
        etag = await put(store, "a", b"ours")
        await put(store, "a", b"theirs")
        requests.since()
        outcomes = await store.delete([key("a"), key("b")], if_match=[etag, None])
        assert [type(each.error) for each in outcomes] == [PreconditionFailed, type(None)]
        assert requests.since() == {"delete_objects": 1, "head_object": 1}
        assert await read(store, "a") == b"theirs"


@pytest.mark.parametrize("code", ["PreconditionFailed", "NotImplemented"])
async def test_a_server_that_refuses_every_etag(moto: S3Server, moto_bucket: str, code: str) -> None:
    """It doesn't mean ours, or it doesn't know the element: then we look, and name none."""
    async with watched(moto, moto_bucket) as (store, requests):
        requests.delete_etags = lambda wanted: {"Code": code, "Message": ""}
        for _ in range(2):
            etag = await put(store, "a")
            requests.since()
            (outcome,) = await store.delete([key("a")], if_match=[etag])
            assert outcome.error is None
            assert await names(store) == []
        assert requests.since() == {"head_object": 1, "delete_objects": 1, "list_objects_v2": 1}


async def test_a_probe_that_was_throttled_settles_nothing(moto: S3Server, moto_bucket: str) -> None:
    async with watched(moto, moto_bucket) as (store, requests):
        requests.delete_etags = lambda wanted: {"Code": "SlowDown", "Message": ""}
        etag = await put(store, "a")
        await store.delete([key("a")], if_match=[etag])
        assert await names(store) == []
        requests.delete_etags = keeping(moto, moto_bucket)
        etag = await put(store, "a")
        requests.since()
        await store.delete([key("a")], if_match=[etag])
        assert requests.since() == {"head_object": 2, "delete_objects": 2}
