"""SQS, as far as the messages of a bucket come through it: by aiobotocore on trio, as the bucket's own requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from fusecache.backends.notices import Message
from fusecache.backends.options import StoreOptions
from fusecache.backends.s3.client import open_client
from fusecache.backends.s3.errors import translated
from fusecache.errors import StoreRefused

_WAIT_S = 20
"""The most that SQS waits for something to come: a quiet queue costs three requests a minute."""
_AT_ONCE = 10
"""The most that it gives at a time."""


class _Client(Protocol):
    receive_message: Callable[..., Awaitable[dict[str, Any]]]
    delete_message_batch: Callable[..., Awaitable[dict[str, Any]]]
    get_queue_url: Callable[..., Awaitable[dict[str, Any]]]


class SqsQueue:
    """One queue, by its URL or as `sqs://name`."""

    def __init__(self, client: _Client, name: str) -> None:
        self._client = client
        self._name = name
        self._url = None if name.startswith("sqs://") else name

    def __repr__(self) -> str:
        return f"<SqsQueue {self._name}>"

    async def receive(self) -> Sequence[Message]:
        """Receive as `Queue.receive`."""
        url = await self._found()
        with translated(f"RECEIVE from {self._name}"):
            told = await self._client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=_WAIT_S
            )
        return [Message(each["Body"], each["ReceiptHandle"]) for each in told.get("Messages", [])]

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete as `Queue.delete`."""
        entries = [{"Id": str(n), "ReceiptHandle": each.receipt} for n, each in enumerate(messages)]
        with translated(f"DELETE from {self._name}"):
            told = await self._client.delete_message_batch(QueueUrl=await self._found(), Entries=entries)
        if failed := told.get("Failed"):
            raise StoreRefused(f"DELETE from {self._name}: {failed[0].get('Code')}: {failed[0].get('Message')}")

    async def _found(self) -> str:
        if self._url is None:
            with translated(f"GET URL of {self._name}"):
                told = await self._client.get_queue_url(QueueName=self._name.removeprefix("sqs://"))
            self._url = str(told["QueueUrl"])
        return self._url


@asynccontextmanager
async def open_queue(name: str, options: StoreOptions) -> AsyncIterator[SqsQueue]:
    """Open a queue; no request is sent but those for credentials.

    `name` is its URL, which says where it is, or `sqs://name`: then it is where the bucket is.

    Raises:
        ConfigError: no such profile, a malformed endpoint.
    """
    async with open_client(_where(name, options), service="sqs") as client:
        yield SqsQueue(client, name)


def _where(name: str, options: StoreOptions) -> StoreOptions:
    url = urlsplit(name)
    host = (url.hostname or "").split(".")
    if url.scheme == "sqs":
        return options
    if host[0] == "sqs" and "amazonaws" in host:  # sqs.eu-west-1.amazonaws.com
        return replace(options, endpoint_url=None, region=host[1])
    return replace(options, endpoint_url=f"{url.scheme}://{url.netloc}")
