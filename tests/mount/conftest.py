"""Every store the mount tests run on, and mounts that end with their test, also when it hangs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Servers, new_bucket, use_server
from tests.mount.harness import Mounts, Store, file_store, s3_store, watched
from tests.servers import SERVERS


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path)) as made:
        yield made


@pytest.fixture(params=["file", *sorted(SERVERS)])
def any_store(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """Run the test on a directory and on each server, in a bucket of its own."""
    if request.param == "file":
        yield file_store(tmp_path / "store")
        return
    server = use_server(servers, str(request.param), monkeypatch)
    with closing(server.client()) as client:
        yield s3_store(server.name, client, server.endpoint_url, new_bucket(server))


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    """The simplest store, for what does not depend on which it is."""
    return file_store(tmp_path / "store")
