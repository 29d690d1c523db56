"""Whoever reads the bucket, after any request, and believes the commit markers there is right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import new_bucket
from tests.mount.gate import Witness, witnessed_server
from tests.mount.harness import Mount, Mounts, s3_store, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

PARTS = 12
MARKER = "_SUCCESS"
Etags = dict[str, str]


class Reader:
    """Lists the bucket after each request that changes it: one answer, so all of it is of one moment."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self.seen: list[Etags] = []

    def look(self) -> None:
        listing = self._client.list_objects_v2(Bucket=self._bucket, Prefix="some/prefix/").get("Contents", [])
        self.seen.append({each["Key"].removeprefix("some/prefix/"): each["ETag"].strip('"') for each in listing})

    def commits(self, table: str, marker: bytes) -> list[Etags]:
        """What was below `table` beside this marker, each time it was there."""
        then = [etags for etags in self.seen if etags.get(table + MARKER) == _etag(marker)]
        return [
            {key.removeprefix(table): etag for key, etag in each.items() if key.startswith(table) and MARKER not in key}
            for each in then
        ]


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def data_of(root: Path) -> Etags:
    return {name: _etag(data) for name, data in tree(root).items() if name != MARKER}


@pytest.fixture
def table(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mount, Reader]]:
    """A mount that drains at once, with a finished table `t`, and a reader who has seen it come to be."""
    with witnessed_server() as (server, witness), closing(server.client()) as client:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        bucket = new_bucket(server)
        reader = watch(witness, client, bucket)
        mount = mounts(s3_store("witnessed", client, server.endpoint_url, bucket), "--persist-delay", "100ms")
        (mount.path / "t").mkdir()
        for number in range(PARTS):
            (mount.path / "t" / f"{number}").write_bytes(b"1 %d" % number)
        (mount.path / "t" / MARKER).write_bytes(b"1")
        mount.flush()
        try:
            yield mount, reader
        finally:
            mounts.cut_off()


def watch(witness: Witness, client: Any, bucket: str) -> Reader:
    reader = Reader(client, bucket)
    witness.look = reader.look
    return reader


def test_a_table_is_overwritten(table: tuple[Mount, Reader]) -> None:
    mount, reader = table
    root = mount.path / "t"
    first = data_of(root)
    (root / MARKER).unlink()
    for number in range(4):
        (root / f"{number}").write_bytes(b"2 %d" % number)
        (root / f"{number + 4}").unlink()
        (root / f"{number + 8}").rename(root / f"moved-{number}")
    (root / MARKER).write_bytes(b"2")
    second = data_of(root)
    mount.flush()
    assert reader.seen[-1].keys() == {f"t/{name}" for name in (*second, MARKER)}
    assert reader.commits("t/", b"1") == [first] * len(reader.commits("t/", b"1"))
    assert reader.commits("t/", b"2") == [second]


def test_a_table_is_moved_while_it_changes(table: tuple[Mount, Reader]) -> None:
    mount, reader = table
    first = data_of(mount.path / "t")
    (mount.path / "t").rename(mount.path / "u")
    (mount.path / "t").mkdir()
    (mount.path / "t" / "0").write_bytes(b"2 0")
    (mount.path / "t" / MARKER).write_bytes(b"2")
    mount.flush()
    assert reader.seen[-1].keys() == {"t/0", f"t/{MARKER}", *(f"u/{name}" for name in (*first, MARKER))}
    for where, marker, data in (("t/", b"1", first), ("u/", b"1", first), ("t/", b"2", {"0": _etag(b"2 0")})):
        commits = reader.commits(where, marker)
        assert commits
        assert commits == [data] * len(commits)
