"""What a user types, and what it opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fusecache.backends.factory import StoreURL, open_backend, parse_store
from fusecache.backends.options import StoreOptions
from fusecache.errors import ConfigError
from tests.backends.helpers import names, put
from tests.conftest import new_bucket
from tests.servers import S3Server


@pytest.mark.parametrize(
    ("url", "store", "shown"),
    [
        ("s3://b", StoreURL("s3", "b", ""), "s3://b"),
        ("s3://b/", StoreURL("s3", "b", ""), "s3://b"),
        ("s3://b/x/y", StoreURL("s3", "b", "x/y/"), "s3://b/x/y"),
        ("s3://b/x y%20#?/", StoreURL("s3", "b", "x y%20#?/"), "s3://b/x y%20#?"),
        ("S3A://b/x", StoreURL("s3", "b", "x/"), "s3://b/x"),
        ("file:///srv/data/", StoreURL("file", "", "/srv/data"), "file:///srv/data"),
    ],
)
def test_urls(url: str, store: StoreURL, shown: str) -> None:
    assert parse_store(url) == store
    assert str(store) == shown


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/srv/data", "known are s3://"),
        ("gs://bucket", "unknown scheme gs://"),
        ("hdfs://name:8020/path", "not in this version"),
        ("s3://", "no bucket"),
        ("s3:///prefix", "no bucket"),
        ("s3://b/x//y", "empty part"),
        ("file://relative", "absolute"),
    ],
)
def test_wrong_urls(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_store(url)


async def test_open_file(tmp_path: Path) -> None:
    async with open_backend(f"file://{tmp_path}", StoreOptions()) as store:
        await put(store, "a")
        assert store.url == f"file://{tmp_path}"
    assert (tmp_path / "a").exists()


async def test_open_s3(moto: S3Server) -> None:
    options = StoreOptions(endpoint_url=moto.endpoint_url, force_path_style=True)
    async with open_backend(f"s3://{new_bucket(moto)}/p", options) as store:
        await put(store, "a")
        assert await names(store) == ["a"]


async def test_what_is_expected_of_s3_is_what_it_says_at_first(moto: S3Server) -> None:
    options = StoreOptions(endpoint_url=moto.endpoint_url, force_path_style=True)
    url = f"s3://{new_bucket(moto)}/p/ä"
    async with open_backend(url, options) as store, open_backend(url, options, at_once=False) as later:
        assert (later.url, later.capabilities) == (store.url, store.capabilities)
        await put(later, "a")
        assert await names(store) == ["a"]


def test_no_client_library_is_imported_before_it_is_needed() -> None:
    code = "import sys, fusecache.backends.factory; sys.exit('aiobotocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
