"""SQS, as moto has it: messages come, and come no more once they are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

from fusecache.backends.factory import open_queue
from fusecache.backends.options import StoreOptions
from fusecache.errors import BackendError
from tests.servers import REGION, S3Server, moto_server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as running:
        yield running


@pytest.fixture
def sqs(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    client = server.client("sqs")
    yield client
    client.close()


@pytest.mark.parametrize("by_name", [True, False])
async def test_messages_come_until_they_are_deleted(server: S3Server, sqs: Any, by_name: bool) -> None:
    url = sqs.create_queue(QueueName=f"q{by_name}", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    for n in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=f"message {n}")
    options = StoreOptions(endpoint_url=server.endpoint_url, region=REGION)
    with trio.fail_after(60):
        async with open_queue("sqs://qTrue" if by_name else url, options if by_name else StoreOptions()) as queue:
            messages = await queue.receive()
            assert sorted(each.body for each in messages) == [f"message {n}" for n in range(3)]
            again = await queue.receive()
            assert len(again) == 3
            await queue.delete(again)
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert told["Attributes"]["ApproximateNumberOfMessages"] == "0"


async def test_a_queue_that_is_not_there(server: S3Server, sqs: Any) -> None:
    options = StoreOptions(endpoint_url=server.endpoint_url, region=REGION)
    async with open_queue("sqs://nothing", options) as queue:
        with pytest.raises(BackendError, match="sqs://nothing"):
            await queue.receive()


@pytest.mark.usefixtures("sqs")
async def test_a_server_that_is_away() -> None:
    async with open_queue("http://127.0.0.1:9/1/q", StoreOptions()) as queue:
        with pytest.raises(BackendError, match="RECEIVE from"):
            await queue.receive()
