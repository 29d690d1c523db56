"""What `ls -l` shows of a lake: as listed, and as it is once somebody opens a file that has attributes of its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import new_bucket
from tests.mount.harness import Mounts, s3_store, watched
from tests.servers import S3Server, moto_server

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as running:
        yield running


@pytest.mark.parametrize("transport", ["direct", "pyfuse3"])
def test_an_open_by_a_wrong_guess_is_judged_again_and_goes_on(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    if transport == "direct" and os.geteuid():
        pytest.skip("the direct transport is root's")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    with closing(server.client()) as client, watched(Mounts(tmp_path)) as mounts:
        bucket = new_bucket(server)
        store = s3_store("moto", client, server.endpoint_url, bucket)
        for n in range(5):
            store.put(f"d/f{n}", b"x")
        for n in (3, 4):
            client.put_object(
                Bucket=bucket, Key=f"some/prefix/d/f{n}", Body=b"y", Metadata={"mode": str(0o100600), "uid": "4321"}
            )
        mount = mounts(store, "--transport", transport, "--head", "lazy")
        root = mount.path / "d"
        shown = {name: (root / name).stat().st_mode for name in sorted(os.listdir(root))}
        assert shown == dict.fromkeys(("f0", "f1", "f2", "f3", "f4"), stat.S_IFREG | 0o644)
        with (root / "f3").open("rb") as file:
            assert (stat.S_IMODE(os.fstat(file.fileno()).st_mode), os.fstat(file.fileno()).st_uid) == (0o600, 4321)
            assert file.read() == b"y"
        (root / "f4").chmod(0o640)
        told = (root / "f4").stat()
        assert (stat.S_IMODE(told.st_mode), told.st_uid) == (0o640, 4321)
        mount.umount()
