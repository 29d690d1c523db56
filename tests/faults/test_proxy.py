"""The proxy between a plain client and a real server: what it does to requests, and what it leaves alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from tests.conftest import new_bucket
from tests.faults.rules import Dark, Do, Fault, Limit, Rules
from tests.faults.server import FaultServer
from tests.servers import ACCESS_KEY, REGION, SECRET_KEY

BODY = os.urandom(300_000)
NOT_ANSWERED = (BotoCoreError, ClientError)


class Bucket:
    """A bucket through the proxy, by a client that never tries twice, and past it."""

    def __init__(self, faults: FaultServer, name: str, client: Any, witness: Any) -> None:
        self.faults = faults
        self.name = name
        self.client = client
        self._witness = witness

    def put(self, key: str, body: bytes = BODY) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def has(self, key: str) -> bool:
        listed = self._witness.list_objects_v2(Bucket=self.name, Prefix=key)
        return any(each["Key"] == key for each in listed.get("Contents", []))


@pytest.fixture
def bucket(faults: FaultServer) -> Iterator[Bucket]:
    config = Config(
        s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=2, connect_timeout=2
    )
    client = Session().create_client(
        "s3", endpoint_url=faults.server.endpoint_url, region_name=REGION, aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY, config=config,
    )  # fmt: skip
    with closing(client), closing(faults.store.client()) as witness:
        yield Bucket(faults, new_bucket(faults.store), client, witness)


def test_bytes_pass_and_requests_are_written_down(bucket: Bucket) -> None:
    bucket.put("t/a")
    assert bucket.get("t/a") == BODY
    bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="t/")
    bucket.client.head_object(Bucket=bucket.name, Key="t/a")
    bucket.client.delete_objects(Bucket=bucket.name, Delete={"Objects": [{"Key": "t/a"}]})
    records = bucket.faults.news()
    assert [(each.operation, each.key, each.status) for each in records] == [
        ("PutObject", "t/a", 200),
        ("GetObject", "t/a", 200),
        ("ListObjectsV2", "t/", 200),
        ("HeadObject", "t/a", 200),
        ("DeleteObjects", "", 200),
    ]
    assert [list(each.deleted) for each in records] == [[], [], [], [], ["t/a"]]
    assert records[0].sent_bytes >= len(BODY)
    assert records[1].received_bytes == len(BODY)
    assert bucket.faults.news() == []


def test_a_throttled_request_is_answered_as_aws_does(bucket: Bucket) -> None:
    bucket.faults.limit(Limit(per_s=0.001, burst=1, kinds=("write",), prefix="t/", retry_after_s=7.0))
    bucket.put("t/a")
    with pytest.raises(ClientError) as refused:
        bucket.put("t/b")
    assert refused.value.response["Error"]["Code"] == "SlowDown"
    meta = refused.value.response["ResponseMetadata"]
    assert (meta["HTTPStatusCode"], meta["HTTPHeaders"]["retry-after"]) == (503, "7")
    bucket.put("u/b")
    assert bucket.get("t/a") == BODY
    assert not bucket.has("t/b")
    bucket.faults.heal()
    bucket.put("t/b")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "ExpiredToken"), (500, "InternalError")])
def test_an_error_is_answered(bucket: Bucket, status: int, code: str) -> None:
    bucket.faults.fail(Fault(do=Do.ANSWER, status=status, code=code))
    with pytest.raises(ClientError) as refused:
        bucket.put("a")
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert not bucket.has("a")


@pytest.mark.parametrize(("do", "is_there"), [(Do.DROP_BEFORE, False), (Do.DROP_AFTER, True), (Do.CUT_REQUEST, False)])
def test_a_write_loses_its_connection(bucket: Bucket, do: Do, is_there: bool) -> None:
    bucket.faults.fail(Fault(do=do, kinds=("write",)))
    with pytest.raises(NOT_ANSWERED):
        bucket.put("a")
    time.sleep(0.1)  # for the server to see a reset
    assert bucket.has("a") == is_there
    assert [(each.status, each.fate) for each in bucket.faults.news()] == [(0, do.value)]
    bucket.faults.heal()
    bucket.put("a")
    assert bucket.get("a") == BODY


def test_an_answer_is_cut(bucket: Bucket) -> None:
    bucket.put("a")
    bucket.faults.fail(Fault(do=Do.CUT_ANSWER, kinds=("read",)))
    with pytest.raises(NOT_ANSWERED):
        bucket.get("a")
    assert bucket.faults.news()[-1].received_bytes == len(BODY) // 2


def test_an_answer_comes_late(bucket: Bucket) -> None:
    bucket.faults.fail(Fault(do=Do.DELAY, delay_s=0.3))
    started_at = time.monotonic()
    bucket.put("a")
    assert time.monotonic() - started_at >= 0.3


def test_a_store_that_refuses_is_back_on_its_port(bucket: Bucket) -> None:
    bucket.put("a")
    bucket.faults.follow(Rules(dark=Dark.REFUSES))
    with pytest.raises(NOT_ANSWERED):
        bucket.get("a")
    bucket.faults.heal()
    assert bucket.get("a") == BODY


def test_a_store_that_swallows_answers_once_it_is_light(bucket: Bucket) -> None:
    bucket.faults.follow(Rules(dark=Dark.SWALLOWS))
    with pytest.raises(NOT_ANSWERED):
        bucket.put("a")
    assert not bucket.has("a")
    light = threading.Timer(0.3, bucket.faults.heal)
    light.start()
    bucket.put("a")
    light.join()
    assert bucket.get("a") == BODY
