"""A bucket that tells of its changes by way of a queue: a mount shows them, though it would believe for an hour."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import new_bucket
from tests.mount.harness import Mount, Mounts, s3_store, soon, watched
from tests.servers import S3Server, moto_server

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as running:
        yield running


def queue_of(sqs: Any, client: Any, bucket: str) -> str:
    """Have a bucket tell of its changes in a queue of its own; return the queue's URL."""
    url = str(sqs.create_queue(QueueName=f"of-{bucket}")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    return url


def test_what_others_change_shows_without_being_asked_for(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    with closing(server.client()) as client, closing(server.client("sqs")) as sqs, watched(Mounts(tmp_path)) as mounts:
        bucket = new_bucket(server)
        store = s3_store("moto", client, server.endpoint_url, bucket)
        for key in ("d/changed", "d/gone", "d/same"):
            store.put(key, b"old")
        mount = mounts(store, "--ttl", "1h", "--events", queue_of(sqs, client, bucket))
        _see(mount, client, bucket, store.put)
        told = mount.facts()["events"]
        assert (told["failing_s"], told["unknown"]) == (None, 0)
        assert told["changes"] >= 3


def _see(mount: Mount, client: Any, bucket: str, put: Any) -> None:
    root = mount.path / "d"
    assert sorted(os.listdir(root)) == ["changed", "gone", "same"]
    assert [path.read_bytes() for path in sorted(root.iterdir())] == [b"old"] * 3
    assert not (root / "new & é").exists()
    put("d/changed", b"newer")
    put("d/new & é", b"new")
    client.delete_object(Bucket=bucket, Key="some/prefix/d/gone")
    soon(lambda: (root / "changed").read_bytes() == b"newer", "a changed object is not seen")
    soon(lambda: (root / "new & é").exists(), "a new object is not seen")
    soon(lambda: not (root / "gone").exists(), "a deleted object is still there")
    assert sorted(os.listdir(root)) == ["changed", "new & é", "same"]
    (root / "mine").write_bytes(b"mine")
    mount.flush()
    assert (root / "mine").read_bytes() == b"mine"
