"""What is refused before anything is mounted, and that one cache has one daemon."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fusecache.daemon import checks
from fusecache.daemon.lock import locked
from fusecache.daemon.reporting import explain
from fusecache.errors import AccessDenied, BackendError, BackendUnavailable, MountError, NoSuchStore
from tests.unit.daemon_fakes import make_config


def test_a_good_mount_point(tmp_path: Path) -> None:
    checks.check_mountpoint(tmp_path, uid=os.getuid())


def test_bad_mount_points(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    for name, word in (("absent", "mkdir -p"), ("file", "not a directory"), ("full", "not empty")):
        with pytest.raises(MountError, match=word):
            checks.check_mountpoint(tmp_path / name, uid=0)
    with pytest.raises(MountError, match="mount point already"):
        checks.check_mountpoint(Path("/proc"), uid=0)


def test_the_machine(tmp_path: Path) -> None:
    config, conf, device = make_config(tmp_path), tmp_path / "fuse.conf", tmp_path / "fuse"
    with pytest.raises(MountError, match="modprobe fuse"):
        checks.check_machine(config, uid=0, device=device)
    device.touch()
    checks.check_machine(config, uid=0, device=device)
    shared = replace(config, allow_other=True)
    conf.write_text("# user_allow_other\n")
    with pytest.raises(MountError, match="user_allow_other"):
        checks.check_machine(shared, uid=1000, device=device, conf=conf)
    conf.write_text("mount_max = 10\n user_allow_other\n")
    checks.check_machine(shared, uid=1000, device=device, conf=conf)


def test_fusermount3_is_missed_only_by_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fuse").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    checks.check_machine(make_config(tmp_path), uid=0, device=tmp_path / "fuse")
    with pytest.raises(MountError, match="install the package fuse3"):
        checks.check_machine(make_config(tmp_path), uid=1000, device=tmp_path / "fuse")


def test_directories_are_made_for_one_user_only(tmp_path: Path) -> None:
    checks.prepare_directories([tmp_path / "a/b", tmp_path / "a/b/state"])
    assert (tmp_path / "a/b/state").stat().st_mode & 0o077 == 0
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="--cache-dir"):
        checks.prepare_directories([tmp_path / "file/x"])
    with pytest.raises(MountError, match="cannot be made"):
        checks.prepare_directories([tmp_path / "file"])


def test_one_daemon_a_cache(tmp_path: Path) -> None:
    with locked([tmp_path, tmp_path], "the fusecache on /mnt/first"):
        with pytest.raises(MountError, match=rf"fusecache on /mnt/first \(pid {os.getpid()}\)") as caught:
            with locked([tmp_path], "the fusecache on /mnt/second"):
                pass
        assert "--cache-dir" in str(caught.value)
    with locked([tmp_path], "the fusecache on /mnt/second"):
        assert "/mnt/second" in (tmp_path / "lock").read_text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AccessDenied("the store says no"), ("s3://b", "the store says no", "credentials")),
        (NoSuchStore("s3://b: no such bucket"), ("s3://b: no such bucket", "--endpoint-url")),
        (BackendUnavailable("connection\nrefused"), ("connection refused", "network")),
    ],
)
def test_what_the_store_says_becomes_one_line_with_advice(error: BackendError, words: tuple[str, ...]) -> None:
    line = explain(error, "s3://b")
    assert "\n" not in line
    assert line.count("s3://b") == 1
    for word in words:
        assert word in line


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can mount a read-only disk")
def test_a_read_only_disk_is_said(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path], check=True)
    try:
        with pytest.raises(MountError, match="Read-only file system"):
            checks.prepare_directories([tmp_path / "cache"])
        with pytest.raises(MountError, match="cannot be written"):
            checks.prepare_directories([tmp_path])
    finally:
        subprocess.run(["umount", tmp_path], check=True)
