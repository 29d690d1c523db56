"""mount, stat, flush and umount as the contract has them: on a real mount, by the real command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fusecache.control import sockets
from fusecache.control.client import wait_gone
from tests.conftest import new_bucket
from tests.mount.cli import facts, foreground, fusecache, kill_daemon, mount, mounted
from tests.servers import moto_server

pytestmark = [pytest.mark.mount, pytest.mark.slow]

MOUNT_KEYS = {
    *("mountpoint", "transport", "stores", "files_dirty", "bytes_dirty", "files_local", "bytes_local"),
    *(
        "oldest_dirty_s",
        "drain_bytes_per_s",
        "eta_s",
        "throttled_per_s",
        "limited_by",
        "pace",
        "cache",
        "stuck",
        "pressure",
    ),
}
STEERING_KEYS = {"waiting", "relocating", "files_paused", "paused", "bytes_spared"}
PATH_KEYS = {
    *("path", "type", "size", "state", "store", "key", "etag", "cached_bytes", "dirty_bytes"),
    *("pinned", "replicas", "attempts", "last_error", "paused"),
}
FLUSH_KEYS = {
    *("files_done", "bytes_done", "files_left", "bytes_left", "stuck", "open_files", "waiting_open", "elapsed_s"),
    *("paused", "files_waiting", "held_open", "bytes_per_s", "files_per_s", "limited_by"),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def mountpoint(tmp_path: Path, store: Path) -> Iterator[Path]:
    """A mount of `store` that uploads nothing by itself: only a drain does."""
    with mount(f"file://{store}", tmp_path / "m", "--cache-dir", tmp_path / "c", "--persist-delay", "1h") as path:
        yield path


def test_a_mount_answers_when_the_command_returns(mountpoint: Path, store: Path) -> None:
    (store / "there").write_bytes(b"from others")
    assert (mountpoint / "there").read_bytes() == b"from others"
    entry = mounted(mountpoint)
    assert entry is not None
    assert (entry.is_fusecache, entry.source) == (True, f"file://{store}")


def test_the_keys_of_the_contract(mountpoint: Path) -> None:
    (mountpoint / "a").write_bytes(b"12345")
    of_mount, of_path = facts(mountpoint), facts(mountpoint / "a")
    assert of_mount.keys() == MOUNT_KEYS | {"pid", "read_only", "set_aside", "bytes_written", "events"} | STEERING_KEYS
    assert (of_mount["read_only"], of_mount["set_aside"]) == (None, [])
    cache = of_mount["cache"]
    assert (cache["scrub"], cache["bad_blocks"]) == ({"checked_bytes": 0, "corrupt": 0}, 0)
    assert cache["pinned"] == {"paths": [], "files": 0, "bytes": 0, "cached_bytes": 0}
    assert of_path.keys() == PATH_KEYS
    assert (of_mount["files_dirty"], of_mount["bytes_dirty"], of_mount["bytes_written"]) == (1, 5, 5)
    assert (of_path["path"], of_path["state"], of_path["dirty_bytes"]) == (str(mountpoint / "a"), "dirty", 5)
    done = fusecache("flush", "--json", mountpoint)
    assert json.loads(done.stdout).keys() == FLUSH_KEYS


def test_stat_first_says_what_is_asked(mountpoint: Path, store: Path) -> None:
    url = f"file://{store}"
    assert fusecache("stat", mountpoint).stdout.splitlines()[0] == f"everything is in {url}"
    (mountpoint / "a").write_bytes(b"x" * 2048)
    assert fusecache("stat", mountpoint).stdout.startswith(f"1 file, 2.0 KiB not yet in {url} · oldest ")
    fusecache("flush", mountpoint)
    assert fusecache("stat", mountpoint).stdout.splitlines()[0] == f"everything is in {url}"
    assert "clean · in the store" in fusecache("stat", mountpoint / "a").stdout


def test_flush_is_a_barrier_for_its_path(mountpoint: Path, store: Path) -> None:
    for name in ("in", "out"):
        (mountpoint / name).mkdir()
        (mountpoint / name / "f").write_bytes(name.encode())
    done = fusecache("flush", mountpoint / "in")
    assert (done.returncode, done.stderr) == (0, "")
    assert (store / "in/f").read_bytes() == b"in"
    assert not (store / "out/f").exists()


def test_flush_names_what_is_open(mountpoint: Path) -> None:
    with (mountpoint / "log").open("w") as file:
        file.write("not closed")
        file.flush()
        told = json.loads(fusecache("flush", "--json", mountpoint).stdout)
        lines = fusecache("flush", mountpoint).stdout.splitlines()
    assert told["open_files"] == ["log"]
    assert lines[-1].startswith("  log: ")
    assert f"({os.getpid()})" in lines[-1]


def test_the_default_is_the_mount_of_the_working_directory(mountpoint: Path, tmp_path: Path) -> None:
    """Else the only one, which a machine that runs tests may not have: see the unit test."""
    (mountpoint / "d").mkdir()
    (tmp_path / "store2").mkdir()
    with mount(f"file://{tmp_path}/store2", tmp_path / "m2", "--cache-dir", tmp_path / "c2") as second:
        done = fusecache("stat")
        assert (done.returncode, str(mountpoint) in done.stderr, str(second) in done.stderr) == (2, True, True)
        done = fusecache("stat", "--json", cwd=mountpoint / "d")
        assert json.loads(done.stdout)["mountpoint"] == str(mountpoint)
        done = fusecache("stat", "--json", "d", cwd=mountpoint)
        assert json.loads(done.stdout)["path"] == str(mountpoint / "d")


def test_several_paths_and_missing_ones(mountpoint: Path) -> None:
    (mountpoint / "a").touch()
    (mountpoint / "ü\n").touch()
    done = fusecache("stat", "--json", mountpoint / "a", mountpoint / "ü\n")
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [
        str(mountpoint / "a"),
        str(mountpoint / "ü\n"),
    ]
    for command in ("stat", "flush"):
        done = fusecache(command, mountpoint / "absent")
        assert (done.returncode, "no such file" in done.stderr) == (1, True)


def test_umount_drains_first_and_its_process_is_gone(mountpoint: Path, store: Path) -> None:
    (mountpoint / "a").write_bytes(b"acknowledged")
    pid = facts(mountpoint)["pid"]
    done = fusecache("umount", mountpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (store / "a").read_bytes() == b"acknowledged"
    assert mounted(mountpoint) is None
    assert wait_gone(pid, 0)
    assert fusecache("umount", mountpoint).returncode == 4


def test_umount_without_flush_keeps_it_for_the_next_mount(mountpoint: Path, store: Path, tmp_path: Path) -> None:
    (mountpoint / "a").write_bytes(b"kept")
    done = fusecache("umount", "--no-flush", mountpoint)
    assert (done.returncode, "1 file, 4 B are not in the store" in done.stderr) == (0, True), done.stderr
    assert not (store / "a").exists()
    with mount(f"file://{store}", mountpoint, "--cache-dir", tmp_path / "c"):
        assert (mountpoint / "a").read_bytes() == b"kept"
        assert fusecache("flush", mountpoint).returncode == 0
    assert (store / "a").read_bytes() == b"kept"


def test_umount_of_a_busy_mount_says_who(mountpoint: Path) -> None:
    (mountpoint / "a").write_bytes(b"x")
    with (mountpoint / "a").open("rb"):
        done = fusecache("umount", mountpoint)
    assert done.returncode == 1
    assert f"({os.getpid()})" in done.stderr
    assert mounted(mountpoint) is not None
    assert fusecache("umount", mountpoint).returncode == 0


def test_a_deadline_and_a_store_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        with moto_server() as server:
            for variable, value in server.env.items():
                monkeypatch.setenv(variable, value)
            options = ("--cache-dir", tmp_path / "c", "--endpoint-url", server.endpoint_url, "--persist-delay", "1h")
            mountpoint = stack.enter_context(mount(f"s3://{new_bucket(server)}", tmp_path / "m", *options))
            (mountpoint / "a").write_bytes(b"late, not lost")
        done = fusecache("flush", mountpoint, "--deadline", "1s")
        assert (done.returncode, "the deadline passed" in done.stdout) == (3, True), done
        done = fusecache("umount", mountpoint, "--deadline", "500ms")
        assert (done.returncode, "stays mounted" in done.stderr) == (3, True), done
        assert (mountpoint / "a").read_bytes() == b"late, not lost"
        done = fusecache("umount", mountpoint, "--no-flush")
        assert (done.returncode, mounted(mountpoint)) == (0, None), done


def test_stuck_files_are_named_and_keep_the_mount_up(mountpoint: Path, store: Path) -> None:
    (mountpoint / "a").write_bytes(b"no place to go")
    store.rename(store.with_name("moved"))
    done = fusecache("flush", mountpoint, "--deadline", "20s")
    assert (done.returncode, "a: " in done.stdout) == (5, True), done
    done = fusecache("umount", mountpoint)
    assert (done.returncode, "stuck" in done.stderr) == (5, True), done
    assert mounted(mountpoint) is not None
    assert "stuck" in fusecache("stat", mountpoint).stdout


def test_a_killed_daemon_is_said_to_be_dead_and_the_next_mount_goes_on(
    mountpoint: Path, store: Path, tmp_path: Path
) -> None:
    (mountpoint / "a").write_bytes(b"acknowledged")
    kill_daemon(mountpoint)
    for command in ("stat", "flush"):
        done = fusecache(command, mountpoint)
        assert (done.returncode, "mount it again" in done.stderr) == (6, True), done
    with mount(f"file://{store}", mountpoint, "--cache-dir", tmp_path / "c"):
        assert (mountpoint / "a").read_bytes() == b"acknowledged"
        assert fusecache("flush", mountpoint).returncode == 0
        assert (store / "a").read_bytes() == b"acknowledged"
        assert (entry := mounted(mountpoint)) is not None
        kill_daemon(mountpoint)
        done = fusecache("umount", mountpoint)
        assert (done.returncode, "was dead" in done.stderr) == (0, True), done
    assert mounted(mountpoint) is None
    assert sockets.find_socket(entry.device, os.getuid(), environ=os.environ) is None


def test_unmounted_by_others_the_daemon_ends(mountpoint: Path, store: Path) -> None:
    (mountpoint / "a").write_bytes(b"kept")
    pid = facts(mountpoint)["pid"]
    subprocess.run(["fusermount3", "-u", str(mountpoint)], check=True, timeout=30)
    assert wait_gone(pid, 20)
    assert not (store / "a").exists()


def test_in_the_foreground_a_signal_drains(store: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    options = ("--cache-dir", tmp_path / "c", "--persist-delay", "1h")
    with foreground(f"file://{store}", tmp_path / "m", *options) as process:
        (tmp_path / "m/a").write_bytes(b"drained")
        process.terminate()
        assert process.wait(30) == 0
    assert (store / "a").read_bytes() == b"drained"
    assert mounted(tmp_path / "m") is None


def test_options_from_a_file_and_fstab_words(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f'store = "file://{store}"\nmountpoint = "{tmp_path}/m"\ncache-dir = "{tmp_path}/c"\n')
    (tmp_path / "m").mkdir()
    done = fusecache("mount", "--config", file, "-o", "ro,_netdev,noexec")
    assert done.returncode == 0, done.stderr
    try:
        options = Path("/proc/mounts").read_text()
        line = next(line for line in options.splitlines() if f"{tmp_path}/m" in line)
        assert {"ro", "noexec"} <= set(line.split()[3].split(","))
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "m/a").touch()
    finally:
        assert fusecache("umount", tmp_path / "m").returncode == 0
