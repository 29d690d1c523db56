"""What takes several requests of S3 comes to its end although every second of them fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from fusecache.backends.options import S3Options
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority, RequestClass
from fusecache.backends.repeat import Repeats
from fusecache.backends.s3.client import S3Client, open_client
from fusecache.backends.s3.store import S3Backend
from fusecache.backends.sources import BytesSource
from fusecache.errors import BackendUnavailable, NoSuchObject, TransientBackendError
from tests.backends.helpers import key, names, put, read
from tests.conftest import new_bucket
from tests.servers import S3Server

PART = b"x" * (5 << 20)


class Rhythmic:
    """A client of which every second request fails once `code` is set; its answer is lost, or it is not sent."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self.asked = 0
        self.code: str | None = None
        self.is_sent = False
        self.never: str | None = None
        """A key whose HEADs always fail."""

    def __getattr__(self, operation: str) -> Any:
        if operation in {"meta", "_get_credentials", "close"}:
            return getattr(self._client, operation)

        async def asked(**args: Any) -> Any:
            self.asked += 1
            is_struck = self.code is not None and self.asked % 2 == 0
            if operation == "head_object" and args["Key"] == self.never:
                raise ClientError({"Error": {"Code": "InternalError", "Message": ""}}, operation)
            if not is_struck or self.is_sent:
                answer = await getattr(self._client, operation)(**args)
            if is_struck:
                raise ClientError({"Error": {"Code": str(self.code), "Message": ""}}, operation)
            return answer

        return asked


@dataclass
class Case:
    """A store, its client, and of which classes of requests it was told that they were throttled."""

    store: S3Backend
    client: Rhythmic
    told: list[RequestClass]


@asynccontextmanager
async def rhythmic(server: S3Server, bucket: str) -> AsyncIterator[Case]:
    options = S3Options(
        bucket=bucket, prefix="p/", endpoint_url=server.endpoint_url, force_path_style=True, fast_lane=False
    )
    told: list[RequestClass] = []
    async with open_client(options) as client:
        wrapped = Rhythmic(client)
        yield Case(
            S3Backend(cast(S3Client, wrapped), options, refused=lambda kind, *_: told.append(kind)), wrapped, told
        )


@pytest.mark.parametrize("is_sent", [False, True], ids=["not sent", "answer lost"])
@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
async def test_a_copy_and_a_batch_of_deletes(s3_server: S3Server, bucket: str, code: str, is_sent: bool) -> None:
    wanted = [key(name) for name in ("a", "d/1", "d/2", "d/3", "d/4", "d/5")]
    async with rhythmic(s3_server, bucket) as case:
        etags = [await put(case.store, each) for each in wanted]
        case.client.code, case.client.is_sent = code, is_sent
        await case.store.copy(wanted[0], key("b"), if_match=etags[0], size=4, metadata={"x": "1"})
        await case.store.copy(wanted[1], key("c"), if_match=etags[1], size=4, metadata={"x": "1"})
        outcomes = await case.store.delete(wanted, if_match=etags)
        case.client.code = None
        assert {outcome.error for outcome in outcomes} == {None}
        assert await names(case.store) == ["b", "c"]
        assert (RequestClass.COPY in case.told) is (code == "SlowDown")


@pytest.mark.parametrize("begins", [0, 1])
async def test_the_end_of_an_upload(s3_server: S3Server, bucket: str, begins: int) -> None:
    async with rhythmic(s3_server, bucket) as case:
        upload_id = await case.store.start_multipart(key("a"), metadata={})
        etags = [await case.store.put_part(key("a"), upload_id, n, BytesSource(PART)) for n in (1, 2)]
        case.client.code, case.client.asked = "InternalError", begins
        await case.store.complete_multipart(key("a"), upload_id, etags, if_none_match=True)
        case.client.code = None
        assert await read(case.store, "a") == 2 * PART


async def test_the_end_of_an_upload_whose_answer_is_lost(s3_server: S3Server, bucket: str) -> None:
    """Nobody knows whose the object is that stands in the way then: whoever asks has to look, and is told so."""
    async with rhythmic(s3_server, bucket) as case:
        upload_id = await case.store.start_multipart(key("a"), metadata={})
        etags = [await case.store.put_part(key("a"), upload_id, 1, BytesSource(PART))]
        case.client.code, case.client.is_sent, case.client.asked = "InternalError", True, 0
        try:
            await case.store.complete_multipart(key("a"), upload_id, etags, if_none_match=True)
        except TransientBackendError:
            pass  # and not PreconditionFailed
        case.client.code = None
        assert await read(case.store, "a") == PART


@pytest.mark.parametrize("begins", [0, 1])
async def test_the_first_marker(moto: S3Server, begins: int) -> None:
    async with rhythmic(moto, new_bucket(moto)) as case:
        case.client.code, case.client.asked = "InternalError", begins
        await put(case.store, "d/", b"")
        case.client.code = None
        assert await names(case.store) == ["d/"]


@pytest.mark.parametrize("begins", [0, 1])
async def test_what_is_absent(moto: S3Server, begins: int) -> None:
    """Of which a HEAD tells less than has to be known."""
    async with rhythmic(moto, new_bucket(moto)) as case:
        case.client.code, case.client.asked = "InternalError", begins
        with pytest.raises(NoSuchObject):
            await Paced(case.store, Pacer(Aimd(), Limits()), Priority.DRAIN, repeats=Repeats()).head(key("absent"))


async def test_one_key_that_cannot_be_looked_at_keeps_no_other(moto: S3Server) -> None:
    async with rhythmic(moto, new_bucket(moto)) as case:
        etags = [await put(case.store, each) for each in ("a", "b")]
        case.client.never = "p/a"
        outcomes = await case.store.delete([key("a"), key("b")], if_match=etags)
        assert [type(outcome.error) for outcome in outcomes] == [BackendUnavailable, type(None)]
        with pytest.raises(BackendUnavailable):
            await case.store.delete([key("a")], if_match=etags[:1])
