"""What cannot be mounted is refused in one line that says what to do, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fusecache.daemon.lock import locked
from tests.conftest import Servers, use_server
from tests.mount.cli import Done, fusecache, mount, mounted
from tests.servers import SERVERS, S3Server

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an empty mount point `m` and a store `store`."""
    (tmp_path / "m").mkdir()
    (tmp_path / "store").mkdir()
    return tmp_path


def try_mount(place: Path, store: str, *options: str | Path, **env: str) -> Done:
    return fusecache("mount", store, place / "m", "--cache-dir", place / "cache", *options, **env)


def assert_refused(done: Done, place: Path, *words: str, status: int = 1) -> None:
    """One line, the right status, nothing mounted, nothing locked."""
    assert done.returncode == status, (done.returncode, done.stderr)
    assert done.stderr.startswith("fusecache: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert mounted(place / "m") is None
    if (place / "cache").is_dir():
        with locked([place / "cache", place / "cache/state"], "a test"):
            pass


def test_no_such_bucket(place: Path, moto: S3Server) -> None:
    done = try_mount(place, "s3://no-such-bucket", "--endpoint-url", moto.endpoint_url)
    assert_refused(done, place, "no-such-bucket", "check the name")


def test_nobody_listens_at_the_endpoint(place: Path, moto: S3Server) -> None:
    with socket.socket() as reserved:  # bound, never listening: a port that refuses
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        assert_refused(try_mount(place, "s3://bucket", "--endpoint-url", url), place, "s3://bucket", "network")


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_wrong_credentials(place: Path, servers: Servers, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = use_server(servers, name, monkeypatch)
    if not server.checks_credentials:
        pytest.skip(f"{name} lets everybody in")
    bucket, options = servers.bucket(name), ("--endpoint-url", server.endpoint_url)
    done = try_mount(place, f"s3://{bucket}", *options, AWS_SECRET_ACCESS_KEY="wrong" * 8)
    assert_refused(done, place, bucket, "credentials")


def test_no_credentials_at_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    options = ("--endpoint-url", "http://127.0.0.1:9", "--region", "us-east-1")
    done = try_mount(place, "s3://bucket", *options, AWS_EC2_METADATA_DISABLED="true", **nowhere)
    assert_refused(done, place, "credentials")


def test_no_such_directory_and_unknown_scheme(place: Path) -> None:
    assert_refused(try_mount(place, f"file://{place}/absent"), place, "absent")
    done = try_mount(place, "gopher://hole")
    assert done.returncode in (1, 2)
    assert_refused(done, place, "gopher", status=done.returncode)


@pytest.mark.parametrize("name", ["absent", "file", "full"])
def test_bad_mount_points(place: Path, name: str) -> None:
    (place / "file").touch()
    (place / "full").mkdir()
    (place / "full/x").touch()
    done = fusecache("mount", f"file://{place}/store", place / name, "--cache-dir", place / "cache")
    assert_refused(done, place, str(place / name))
    assert not (place / "cache").exists()


def test_mounted_already_and_cache_in_use(place: Path) -> None:
    (place / "m2").mkdir()
    with mount(f"file://{place}/store", place / "m", "--cache-dir", place / "cache"):
        done = try_mount(place, f"file://{place}/store")
        assert (done.returncode, "fusecache umount" in done.stderr) == (1, True), done.stderr
        done = fusecache("mount", f"file://{place}/store", place / "m2", "--cache-dir", place / "cache")
        assert (done.returncode, str(place / "m") in done.stderr, "(pid " in done.stderr) == (1, True, True)
        assert done.stderr.count("\n") == 1
        assert mounted(place / "m2") is None


def test_unwritable_cache_directory(place: Path) -> None:
    (place / "cache").touch()
    done = try_mount(place, f"file://{place}/store")
    assert (done.returncode, "--cache-dir" in done.stderr, done.stderr.count("\n")) == (1, True, 1)


def test_cache_of_another_store(place: Path) -> None:
    (place / "other").mkdir()
    with mount(f"file://{place}/store", place / "m", "--cache-dir", place / "cache"):
        assert fusecache("umount", place / "m").returncode == 0
    done = try_mount(place, f"file://{place}/other")
    assert_refused(done, place, f"{place}/store")


def test_bad_toml(place: Path) -> None:
    file = place / "x.toml"
    for content, word in (("store = ", "no TOML"), ('cach-dir = "x"', "cache_dir"), ("max_uploads = 0", "max_uploads")):
        file.write_text(content)
        done = fusecache("mount", "--config", file, f"file://{place}/store", place / "m")
        assert_refused(done, place, word, status=2)


def test_a_device_that_is_not_there(place: Path) -> None:
    """In a mount namespace of its own, where /dev is empty."""
    if os.geteuid() != 0:
        pytest.skip("only root can hide /dev/fuse in a mount namespace")
    command = [sys.executable, "-m", "fusecache", "mount", f"file://{place}/store", str(place / "m")]
    script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 444 /dev/urandom c 1 9 && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *command], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "/dev/fuse is missing" in done.stderr) == (1, True), done.stderr
