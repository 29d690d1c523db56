"""One cluster for each of Hadoop's local file systems, which makes its tables on a mount of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import Servers, new_bucket, use_server
from tests.faults.server import fault_server
from tests.mount.harness import Mounts, open_directory, s3_store, watched
from tests.spark.install import JavaMissing, spark_directory
from tests.spark.session import NoPython, somebody, spark
from tests.spark.world import PREFIX, World

DEADLINE_S = 1800.0
"""Of a cluster's mount, for all of its tests."""

FILE_SYSTEMS = {"default": {}, "raw": {"spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem"}}


@pytest.fixture(scope="session")
def spark_installed() -> Path:
    """Where Spark is; without Java the test is skipped, loudly."""
    try:
        return spark_directory()
    except JavaMissing as exc:
        pytest.skip(f"NOT TESTED with Spark: {exc}")


@pytest.fixture(scope="session", params=FILE_SYSTEMS)
def world(request: pytest.FixtureRequest, spark_installed: Path, servers: Servers) -> Iterator[World]:
    """Mounted by whoever runs the tests, written to by Spark's user."""
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        faults = stack.enter_context(fault_server(use_server(servers, "versitygw", environment)))
        bucket, client = new_bucket(faults.store), stack.enter_context(closing(faults.store.client()))
        store = s3_store("versitygw", client, faults.server.endpoint_url, bucket, PREFIX)
        directory = stack.enter_context(open_directory())
        mount = stack.enter_context(watched(Mounts(directory), DEADLINE_S))(store, "--persist-delay", "100ms")
        user = somebody()
        root, work = mount.path / "lake", directory / "spark"
        root.mkdir()
        os.chown(root, user.pw_uid, user.pw_gid)
        work.mkdir()
        try:
            session = stack.enter_context(spark(spark_installed, work, FILE_SYSTEMS[request.param]))
        except NoPython as exc:
            pytest.skip(f"NOT TESTED with Spark: {exc}")
        yield World(session, mount, faults, store, bucket, root)
