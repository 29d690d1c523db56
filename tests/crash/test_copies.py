"""The daemon dies while the store copies a large object for it: the upload in parts that this is does not stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fusecache.control.client import wait_gone
from tests.conftest import Servers, new_bucket, use_server
from tests.crash.harness import uploads_left
from tests.crash.mortal import COPY_POINTS, MAX_COPY_BYTES, fusecache_doomed_by
from tests.mount.harness import Mounts, Store, s3_store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

DIED_S = 20.0


@pytest.fixture
def store(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = use_server(servers, "versitygw", monkeypatch)
    with closing(server.client()) as client:
        yield s3_store(server.name, client, server.endpoint_url, new_bucket(server))


@pytest.mark.parametrize("point", COPY_POINTS)
def test_killed_while_a_large_object_is_copied(store: Store, mounts: Mounts, tmp_path: Path, point: str) -> None:
    body, doom = os.urandom(2 * MAX_COPY_BYTES + 1), tmp_path / "doom"
    mount = mounts(store, "--persist-delay", "20ms", run=fusecache_doomed_by(doom))
    (mount.path / "big").write_bytes(body)
    mount.flush()
    doom.write_text(f"{point} 1")
    (mount.path / "big").rename(mount.path / "moved")
    assert wait_gone(mount.pid, DIED_S), "it never came there"
    doom.unlink(missing_ok=True)
    assert store.uploads is not None
    assert store.uploads() == ([] if point in ("begin.before", "complete.after") else ["moved"])
    mount.mount()
    mount.flush()
    assert store.objects() == {"moved": body}
    assert uploads_left(store) == []
