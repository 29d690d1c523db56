"""The stores that the contract suite runs on, and what each of them cannot do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from fusecache.backends.base import Backend
from fusecache.backends.factory import open_backend
from fusecache.backends.fault import FaultyBackend
from fusecache.backends.memory import MemoryBackend
from fusecache.backends.options import S3Options, StoreOptions
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority
from fusecache.backends.s3 import open_s3
from fusecache.errors import BackendUnavailable
from tests.conftest import Servers, use_server

STORES = ["memory", "faulty", "paced", "file", "moto", "rclone", "versitygw"]

OpenStore = Callable[[], AbstractAsyncContextManager[Backend]]

_AS_FILES = "keeps objects as files, so `a` and `a/b` exclude each other"
_NO_CONDITIONS = "rclone ignores conditions, and between our look and our write others come"

CANNOT: dict[tuple[str, str], str] = {
    ("moto", "test_odd_names[newline]"): "moto's URL routing does not match a newline in a key",
    ("moto", "test_a_name_with_control_characters"): "moto's URL routing does not match a newline in a key",
    ("moto", "test_a_part_of_an_unknown_upload"): "moto answers 500 where S3 says NoSuchUpload",
    ("moto", "test_a_part_copied_to_an_unknown_upload"): "moto answers 500 where S3 says NoSuchUpload",
    ("moto", "test_an_upload_tells_when_it_began"): "moto says 2010 of every upload",
    ("file", "test_a_file_and_things_below_it"): _AS_FILES,
    ("rclone", "test_a_file_and_things_below_it"): _AS_FILES,
    ("versitygw", "test_a_file_and_things_below_it"): _AS_FILES,
    ("file", "test_empty_path_parts"): "`a//b` is no path; refused, see test_local",
    ("rclone", "test_empty_path_parts"): "rclone rejects a//b",
    ("versitygw", "test_empty_path_parts"): "versitygw posix stores a//b as a/b without a word",
    ("rclone", "test_copy_keeps_metadata"): "rclone adds an mtime of its own to a copy",
    ("rclone", "test_copy_of_a_marker"): "rclone keeps no markers; refused, see test_s3",
    ("rclone", "test_conditional_delete_of_a_marker"): "rclone keeps no markers; refused, see test_s3",
    ("rclone", "test_one_of_many_that_put_first"): _NO_CONDITIONS,
    ("rclone", "test_one_of_many_that_replace_a_version"): _NO_CONDITIONS,
    ("rclone", "test_directory_markers"): "rclone keeps no markers; refused, see test_s3",
}
"""(store, test) → why it is skipped."""

DECORATED: dict[str, Callable[[Backend], Backend]] = {
    "memory": lambda memory: memory,
    "faulty": lambda memory: FaultyBackend(memory, fail_at=None, failure=BackendUnavailable("never")),
    "paced": lambda memory: Paced(memory, Pacer(Aimd(initial_rate=1e5), Limits()), Priority.DRAIN),
}


@pytest.fixture(params=STORES)
def store_name(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    test = request.node.originalname
    case = request.node.callspec.id.removeprefix(name).strip("-")
    for key in (name, test), (name, f"{test}[{case}]"):
        if key in CANNOT:
            pytest.skip(f"{name}: {CANNOT[key]}")
    return name


@pytest.fixture
def open_store(store_name: str, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    """Open the store of the test, empty at first; opening it again shows the same objects."""
    if store_name in DECORATED:
        return _in_memory(DECORATED[store_name])
    if store_name == "file":
        return lambda: open_backend(f"file://{tmp_path}", StoreOptions())
    server = use_server(servers, store_name, monkeypatch)
    options = S3Options(
        bucket=servers.bucket(store_name),
        prefix=f"{uuid.uuid4().hex}/some/",
        endpoint_url=server.endpoint_url,
        force_path_style=True,
        fast_lane=store_name != "moto",  # so that each lane carries the small objects of some
    )
    return lambda: open_s3(options)


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Backend]:
    async with open_store() as backend:
        yield backend


def _in_memory(decorated: Callable[[Backend], Backend]) -> OpenStore:
    memory = MemoryBackend()

    @asynccontextmanager
    async def open_memory() -> AsyncIterator[Backend]:
        yield decorated(memory)

    return open_memory
