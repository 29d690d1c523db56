"""What a store tells of its own accord: which objects are new, changed or gone. Parsed here, and nothing is asked.

S3's event notifications, as they come in a queue: plain, wrapped by SNS, or by way of EventBridge.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_plus

from fusecache.types import ETag


class Notice(NamedTuple):
    """An object of a bucket is not as it was. Nothing is said of the order of notices, nor that each comes once."""

    bucket: str
    key: str
    etag: ETag | None
    """What is there now, or was when it was told; None: it is gone, or nobody says."""
    is_gone: bool


class Message(NamedTuple):
    """A message of a queue, which comes again until it is deleted."""

    body: str
    receipt: str


class Queue(Protocol):
    """Where the messages of a store arrive."""

    async def receive(self) -> Sequence[Message]:
        """Return what has come, as soon as there is something; none after some 20 s without.

        Raises:
            BackendError: it does not answer, or refuses.
        """
        ...

    async def delete(self, messages: Sequence[Message]) -> None:
        """They need not come again. Raises BackendError; those then do."""
        ...


def notices_of(body: str) -> list[Notice] | None:
    """Return what a message tells; None: it is none of a store's."""
    try:
        told = json.loads(body)
        if isinstance(told, dict) and told.get("Type") == "Notification":  # SNS, unless it delivers the plain message
            told = json.loads(told["Message"])
        return _notices(told)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _notices(told: dict[str, Any]) -> list[Notice] | None:
    if told.get("Event") == "s3:TestEvent":  # that a queue was configured
        return []
    if told.get("source") == "aws.s3":
        detail, kind = told["detail"], told["detail-type"]
        return [_notice(detail, detail["object"]["key"], detail["object"].get("etag"), is_gone="Deleted" in kind)]
    if "Records" not in told:
        return None
    records = [(each["eventName"], each["s3"]) for each in told["Records"]]
    return [
        _notice(s3, unquote_plus(s3["object"]["key"]), s3["object"].get("eTag"), is_gone=_removes(name))
        for name, s3 in records
    ]


def _removes(name: str) -> bool:
    """Whether it is `ObjectRemoved:Delete`, or a marker of a delete, or the end of a lifecycle."""
    return name.removeprefix("s3:").startswith(("ObjectRemoved:", "LifecycleExpiration:"))


def _notice(where: dict[str, Any], key: str, etag: object, *, is_gone: bool) -> Notice:
    told = ETag(etag.strip('"')) if isinstance(etag, str) and not is_gone else None
    return Notice(str(where["bucket"]["name"]), key, told, is_gone)
