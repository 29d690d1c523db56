"""The daemon ends, one way or another, and is started again: what was acknowledged is there, and is drained."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import new_bucket
from tests.mount.harness import Mounts, Store, s3_store, tree
from tests.servers import moto_server

pytestmark = [pytest.mark.mount, pytest.mark.slow]

LATER = ("--persist-delay", "1h")


def test_what_was_read_is_read_again_without_the_store(
    tmp_path: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a remount the second read of an object asks for nothing: the store may even be gone."""
    data = os.urandom(3_000_000)
    with moto_server() as server, closing(server.client()) as client:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        store = s3_store("moto", client, server.endpoint_url, new_bucket(server))
        store.put("d/a", data)
        mount = mounts(store, "--ttl", "1h")
        assert (mount.path / "d" / "a").read_bytes() == data
        mount.umount()
        mount.mount()
    assert os.listdir(mount.path / "d") == ["a"]
    assert (mount.path / "d" / "a").read_bytes() == data


def test_every_acknowledged_call_outlives_a_kill(directory_store: Store, mounts: Mounts) -> None:
    for key in ("gone", "moved", "dir/a", "dir/s/b", "cut", "overwritten", "appended"):
        directory_store.put(key, key.encode() * 1000)
    mount = mounts(directory_store, *LATER)
    root = mount.path
    (root / "new").write_bytes(b"new")
    (root / "gone").unlink()
    (root / "moved").rename(root / "to")
    (root / "dir").rename(root / "renamed")
    (root / "made" / "below").mkdir(parents=True)
    os.symlink("target", root / "link")
    os.truncate(root / "cut", 5)
    (root / "overwritten").write_bytes(b"short")
    with (root / "appended").open("ab") as file:
        file.write(b"tail")
    os.chmod(root / "new", 0o600)
    expected = tree(root)
    before = {path: (root / path).lstat() for path in expected}
    mount.kill()
    mount.mount()
    assert tree(root) == expected
    assert os.readlink(root / "link") == "target"
    for path, was in before.items():
        now = (root / path).lstat()
        assert (now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns) == (
            was.st_ino,
            was.st_mode,
            was.st_size,
            was.st_mtime_ns,
        )
    mount.flush()
    assert directory_store.objects() == expected
    assert tree(root) == expected


def test_written_bytes_outlive_a_kill_without_a_close(directory_store: Store, mounts: Mounts) -> None:
    big = os.urandom(3 << 20)
    directory_store.put("patched", big)
    mount = mounts(directory_store, *LATER)
    new = os.open(mount.path / "new", os.O_WRONLY | os.O_CREAT)
    os.write(new, b"hello")
    os.pwrite(new, b"world", 2_000_000)
    patched = os.open(mount.path / "patched", os.O_RDWR)
    os.pwrite(patched, b"patch", 1_500_000)
    mount.kill()
    for descriptor in (new, patched):
        let_go(descriptor)
    mount.mount()
    expected = {
        "new": b"hello".ljust(2_000_000, b"\0") + b"world",
        "patched": big[:1_500_000] + b"patch" + big[1_500_005:],
    }
    assert tree(mount.path) == expected
    mount.flush()
    assert directory_store.objects() == expected


def test_an_unlinked_open_file_is_gone_after_a_kill(directory_store: Store, mounts: Mounts) -> None:
    mount = mounts(directory_store, *LATER)
    descriptor = os.open(mount.path / "a", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"x" * 100_000)
    os.unlink(mount.path / "a")
    mount.kill()
    let_go(descriptor)
    mount.mount()
    assert os.listdir(mount.path) == []
    left = [path for path in (mount.cache / "contents").rglob("*") if path.is_file()]
    deadline_s = time.monotonic() + 10
    while any(path.exists() for path in left):  # deleted once a power loss cannot bring its name back
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def test_a_drain_that_was_killed_goes_on(any_store: Store, mounts: Mounts) -> None:
    """Killed in the middle of uploads and a relocation, some of them done and some begun."""
    for number in range(40):
        any_store.put(f"old/{number:02d}", b"%d" % number)
    mount = mounts(any_store, "--persist-delay", "0s")
    (mount.path / "old").rename(mount.path / "new")
    for number in range(40):
        (mount.path / f"f{number:02d}").write_bytes(b"%d" % number * 10_000)
    (mount.path / "big").write_bytes(os.urandom(20 << 20))
    expected = tree(mount.path)
    mount.kill()
    mount.mount()
    assert tree(mount.path) == expected
    mount.flush()
    assert any_store.objects() == expected
    assert tree(mount.path) == expected


def test_umount_drains_first(directory_store: Store, mounts: Mounts) -> None:
    mount = mounts(directory_store, *LATER)
    (mount.path / "a").write_bytes(b"x")
    mount.umount()
    assert directory_store.objects() == {"a": b"x"}


def test_umount_leaves_no_upload_behind_that_nobody_goes_on_with(any_store: Store, mounts: Mounts) -> None:
    if any_store.name == "rclone":
        pytest.skip("it lists no uploads")
    assert any_store.uploads is not None
    mount = mounts(any_store, "--persist-delay", "0", "--multipart-threshold", "5M", "--upload-limit", "4M")
    (mount.path / "a").write_bytes(bytes(40 << 20))  # eight seconds: the first part need not wait
    until = time.monotonic() + 20
    while not any_store.uploads() and time.monotonic() < until:
        time.sleep(0.05)
    assert any_store.uploads()
    (mount.path / "a").unlink()
    mount.umount()
    assert any_store.uploads() == []
    assert any_store.objects() == {}


def test_staging_is_kept_over_restarts_and_stays_local(directory_store: Store, mounts: Mounts) -> None:
    mount = mounts(directory_store)
    (mount.path / "t" / "_temporary").mkdir(parents=True)
    (mount.path / "t" / "_temporary" / "part").write_bytes(b"x")
    mount.umount()
    assert not [key for key in directory_store.objects() if "part" in key]
    mount.mount()
    assert mount.facts()["files_local"] == 1
    (mount.path / "t" / "_temporary" / "part").rename(mount.path / "t" / "part")
    (mount.path / "t" / "_temporary").rmdir()
    mount.flush()
    assert directory_store.objects() == {"t/part": b"x"}


def test_times_that_were_set_outlive_a_kill(directory_store: Store, mounts: Mounts) -> None:
    """Also those of a file that is open and has been written."""
    mount = mounts(directory_store, *LATER)
    path = mount.path / "a"
    with path.open("wb", buffering=0) as file:
        file.write(b"x")
        os.utime(path, ns=(1, 123_456_789))
        mount.kill()
        with contextlib.suppress(OSError):
            file.close()
    mount.mount()
    assert path.read_bytes() == b"x"
    assert path.stat().st_mtime_ns == 123_456_789


def let_go(descriptor: int) -> None:
    """Close what nobody answers for any more: an error, but where the kernel does not ask at a close."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
