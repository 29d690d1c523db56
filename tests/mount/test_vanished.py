"""A store that is not there for a while, and then again: nothing that was acknowledged meanwhile is taken for done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers, new_bucket, use_server
from tests.mount.harness import Mounts, Store, file_store, s3_store, soon

pytestmark = [pytest.mark.mount, pytest.mark.slow]

BEFORE = {name: b"bytes of " + name.encode() for name in ("moved", "removed", "rotated", "d/1", "d/2", "d/3")}


@contextmanager
def without_root(root: Path) -> Iterator[None]:
    """As where a file system is not mounted any more: an empty directory is in its place."""
    aside = root.with_name("aside")
    root.rename(aside)
    root.mkdir()
    yield
    root.rmdir()
    aside.rename(root)


@contextmanager
def without_bucket(client: Any, bucket: str) -> Iterator[None]:
    """Deleted, and restored as it was."""
    names = [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]]
    kept = {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}
    for name in kept:
        client.delete_object(Bucket=bucket, Key=name)
    client.delete_bucket(Bucket=bucket)
    yield
    client.create_bucket(Bucket=bucket)
    for name, data in kept.items():
        client.put_object(Bucket=bucket, Key=name, Body=data)


@pytest.fixture(params=["file", "moto", "rclone", "versitygw"])
def vanishing(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Store, AbstractContextManager[None]]]:
    """A store, and a block in which it is not there."""
    if request.param == "file":
        yield file_store(tmp_path / "store"), without_root(tmp_path / "store")
        return
    server = use_server(servers, str(request.param), monkeypatch)
    with closing(server.client()) as client:
        bucket = new_bucket(server)
        yield s3_store(server.name, client, server.endpoint_url, bucket), without_bucket(client, bucket)


def test_what_was_acknowledged_is_done_when_the_store_is_back(
    vanishing: tuple[Store, AbstractContextManager[None]], mounts: Mounts
) -> None:
    store, away = vanishing
    for key, data in BEFORE.items():
        store.put(key, data)
    mount = mounts(store, "--persist-delay", "1h")
    assert sorted(os.listdir(mount.path)) == ["d", "moved", "removed", "rotated"]
    assert sorted(os.listdir(mount.path / "d")) == ["1", "2", "3"]
    (mount.path / "moved").rename(mount.path / "new")
    (mount.path / "removed").unlink()
    (mount.path / "rotated").rename(mount.path / "rotated.1")
    (mount.path / "rotated").write_bytes(b"next")
    (mount.path / "d").rename(mount.path / "e")
    with away:
        done = mount.run("flush", "--deadline", "4s", mount.path)
        assert done.returncode in (3, 5), done.stdout
    mount.run("flush", "--deadline", "4s", mount.path)  # what was not refused goes now, before what was
    mount.run("retry", mount.path)
    soon(lambda: mount.run("flush", "--deadline", "10s", mount.path).returncode == 0, "it is stuck for good")
    assert store.objects() == {
        "new": BEFORE["moved"],
        "rotated.1": BEFORE["rotated"],
        "rotated": b"next",
        **{f"e/{name}": BEFORE[f"d/{name}"] for name in "123"},
    }
