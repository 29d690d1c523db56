"""A real server behind a proxy, with a bucket of its own for each test, and mounts that end with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.conftest import Servers, new_bucket, use_server
from tests.faults.server import FaultServer, fault_server
from tests.mount.harness import Mounts, Store, s3_store, watched

DEADLINE_S = float(amount("FUSECACHE_DEADLINE_S", usual=300, soak=900))


@pytest.fixture
def faults(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """versitygw behind a proxy that does nothing to anybody yet."""
    with fault_server(use_server(servers, "versitygw", monkeypatch)) as proxy:
        yield proxy


@pytest.fixture
def store(faults: FaultServer) -> Iterator[Store]:
    """A prefix of a new bucket: mounted through the proxy, looked at without it."""
    bucket = new_bucket(faults.store)
    with closing(faults.store.client()) as client:
        yield s3_store("versitygw", client, faults.server.endpoint_url, bucket)


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path), DEADLINE_S) as made:
        yield made
