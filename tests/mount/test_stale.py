"""What others change under what the kernel has cached: seen at once, and fatal for nobody who waits meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fusecache.control.client import wait_gone
from tests.conftest import new_bucket
from tests.mount.cli import TIMEOUT_S, fusecache, kill, mounted
from tests.mount.gate import Gate, gated_server
from tests.mount.harness import Mount, Mounts, Store, s3_store, soon

pytestmark = [pytest.mark.mount, pytest.mark.slow]

CACHED = ("--ttl", "0s", "--entry-timeout", "1h", "--attr-timeout", "1h")
"""We ask the store each time, the kernel never asks us again."""


def state(pid: int, thread: int | None = None) -> str:
    """Return the state letter of a process's leader or of one of its threads; `X` if there is none."""
    try:
        text = Path(f"/proc/{pid}/task/{thread or pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return text.rpartition(") ")[2][0]


def notifier_of(mount: Mount) -> int:
    """The pid of the process that notifies the kernel for a daemon: the only child that any of its threads has."""
    (pid,) = [pid for each in Path(f"/proc/{mount.pid}/task").glob("*/children") for pid in each.read_text().split()]
    return int(pid)


def waits(pid: int) -> bool:
    """Whether a thread of a process waits in the kernel, where no signal reaches it."""
    return any(state(pid, int(thread)) == "D" for thread in os.listdir(f"/proc/{pid}/task"))


def test_a_version_that_one_reader_notices_is_seen_by_all(directory_store: Store, mounts: Mounts) -> None:
    directory_store.put("d/a", b"old")
    mount = mounts(directory_store, *CACHED)
    path = mount.path / "d" / "a"
    assert path.stat().st_size == 3
    directory_store.put("d/a", b"newer")
    assert path.stat().st_size == 3  # the kernel answers, and nobody has noticed
    assert mount.facts("d/a")["size"] == 5
    soon(lambda: path.stat().st_size == 5, "a newer version is not seen")
    assert path.read_bytes() == b"newer"


def test_what_a_listing_lacks_is_gone_and_what_is_new_is_there(directory_store: Store, mounts: Mounts) -> None:
    for key in ("d/a", "d/b", "d/t/c"):
        directory_store.put(key, b"x")
    mount = mounts(directory_store, *CACHED)
    root = mount.path / "d"
    for path in (root / "a", root / "b", root / "t", root / "t" / "c"):
        assert path.exists()
    assert not (root / "new").exists()
    store = Path(directory_store.url.removeprefix("file://"))
    (store / "d/a").unlink()
    (store / "d/t/c").unlink()
    (store / "d/t").rmdir()
    directory_store.put("d/new", b"x")
    assert (root / "a").exists()  # the kernel answers, and nobody has noticed
    assert sorted(os.listdir(root)) == ["b", "new"]
    soon(lambda: not (root / "a").exists(), "a file that is gone is still there")
    soon(lambda: not (root / "t" / "c").exists(), "a tree that is gone is still there")
    assert (root / "new").exists()


def test_an_open_file_keeps_its_version_and_has_no_name(directory_store: Store, mounts: Mounts) -> None:
    directory_store.put("a", b"old")
    mount = mounts(directory_store, *CACHED)
    with (mount.path / "a").open("rb") as file:
        assert file.read() == b"old"
        assert os.fstat(file.fileno()).st_nlink == 1
        directory_store.put("a", b"newer")
        assert mount.facts("a")["size"] == 5
        soon(lambda: os.fstat(file.fileno()).st_nlink == 0, "an old version still has a name")
        assert os.pread(file.fileno(), 9, 0) == b"old"
        assert (mount.path / "a").read_bytes() == b"newer"


def test_the_notifier_holds_nothing_but_the_connection(directory_store: Store, mounts: Mounts) -> None:
    mount = mounts(directory_store)
    pid = notifier_of(mount)
    soon(lambda: os.readlink(f"/proc/{pid}/cwd") == "/", "it stays where it started, which may be a mount")
    held = sorted(os.readlink(each).partition(":")[0] for each in Path(f"/proc/{pid}/fd").iterdir())
    assert held == ["/dev/fuse", "/dev/null", "/dev/null", "/dev/null", "pipe"]
    os.kill(pid, signal.SIGTERM)  # the daemon's business
    mount.umount()
    assert state(pid) == "X"


def test_a_mount_goes_on_without_its_notifier(directory_store: Store, mounts: Mounts) -> None:
    directory_store.put("a", b"old")
    mount = mounts(directory_store, "--ttl", "0s")
    assert (mount.path / "a").read_bytes() == b"old"
    os.kill(notifier_of(mount), signal.SIGKILL)
    directory_store.put("a", b"newer")
    for _ in range(2):
        assert mount.facts("a")["size"] == 5
    assert (mount.path / "a").read_bytes() == b"newer"
    mount.umount()


# --- a notification that waits ---


class Waiting:
    """A create that waits for the store, and a notification that waits for the create."""

    def __init__(self, mount: Mount, store: Store, gate: Gate) -> None:
        self.mount = mount
        self.store = store
        self.gate = gate
        self.notifier = notifier_of(mount)
        assert (mount.path / "d" / "seen").read_bytes() == b"old"
        gate.close("d/slow")  # known from a listing, so that a HEAD has to tell what it is
        create = [sys.executable, "-c", "import sys; open(sys.argv[1], 'ab')", mount.path / "d/slow"]
        self.create = subprocess.Popen(create, stderr=subprocess.DEVNULL)
        assert gate.arrived.wait(TIMEOUT_S)
        store.put("d/seen", b"newer")
        assert mount.facts("d/seen")["size"] == 5
        soon(lambda: waits(self.notifier), "the notification does not wait")

    def assert_over(self) -> None:
        """The create has failed, and nobody waits any more."""
        assert self.create.wait(TIMEOUT_S) != 0
        soon(lambda: state(self.notifier) == "X", "the notifier is still there")


@pytest.fixture
def waiting(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    with gated_server() as (server, gate), closing(server.client()) as client:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        store = s3_store("gated", client, server.endpoint_url, new_bucket(server))
        for key in ("d/seen", "d/slow"):
            store.put(key, b"old")
        rig = Waiting(mounts(store, *CACHED, "--persist-delay", "1h"), store, gate)
        try:
            yield rig
        finally:
            gate.opened.set()
            mounts.cut_off()
            rig.create.kill()
            rig.create.wait(TIMEOUT_S)


@pytest.mark.parametrize("with_notifier", [False, True], ids=["daemon", "daemon and notifier"])
def test_killed_while_a_notification_waits_the_next_mount_succeeds(waiting: Waiting, with_notifier: bool) -> None:
    mount = waiting.mount
    (mount.path / "kept").write_bytes(b"acknowledged")
    if with_notifier:
        os.kill(waiting.notifier, signal.SIGKILL)
        soon(lambda: state(waiting.notifier) in "ZX", "the notifier's leader lives")
        assert waits(waiting.notifier)
    mount.kill()
    mount.mount()
    waiting.assert_over()
    assert (mount.path / "kept").read_bytes() == b"acknowledged"
    assert (mount.path / "d" / "seen").read_bytes() == b"newer"
    mount.umount("--no-flush")


def test_killed_while_a_notification_waits_the_next_daemon_answers(waiting: Waiting) -> None:
    """The create, which the notification of the dead one waits for, and everybody else before that."""
    mount = waiting.mount
    if not mount.supervisor:
        pytest.skip("the mount ends with its daemon")
    (mount.path / "kept").write_bytes(b"acknowledged")
    kill(mount.pid)
    mount.followed()
    assert (mount.path / "kept").read_bytes() == b"acknowledged"
    (mount.path / "other").mkdir()
    assert waiting.create.poll() is None
    waiting.gate.opened.set()
    assert waiting.create.wait(TIMEOUT_S) == 0
    soon(lambda: state(waiting.notifier) == "X", "the notifier is still there")
    assert (mount.path / "d" / "seen").read_bytes() == b"newer"
    mount.umount()
    assert {"kept", "d/slow", "other/"} <= waiting.store.objects().keys()


def test_others_go_on_while_a_notification_waits(waiting: Waiting) -> None:
    """The daemon waits for nobody: it answers in other directories, and drains."""
    mount = waiting.mount
    (mount.path / "kept").write_bytes(b"acknowledged")
    assert mount.facts("kept")["size"] == 12
    mount.flush("kept")
    assert waits(waiting.notifier)


def test_told_to_end_while_a_notification_waits_it_ends(waiting: Waiting) -> None:
    """Nobody answers the create any more: it fails, and nothing is left."""
    mount = waiting.mount
    os.kill(mount.pid, signal.SIGTERM)
    assert wait_gone(mount.pid, TIMEOUT_S)
    waiting.assert_over()
    assert mounted(mount.path) is None


def test_a_sync_shows_what_others_changed(directory_store: Store, mounts: Mounts) -> None:
    for key in ("d/a", "d/b", "d/t/c"):
        directory_store.put(key, b"old")
    mount = mounts(directory_store, "--freshness", "never")
    root = mount.path / "d"
    assert sorted(os.listdir(root)) == ["a", "b", "t"]
    assert [(root / name).read_bytes() for name in ("a", "b", "t/c")] == [b"old"] * 3
    assert not (root / "new").exists()
    store = Path(directory_store.url.removeprefix("file://"))
    (store / "d/b").unlink()
    for key in ("d/a", "d/new", "d/t/c"):
        directory_store.put(key, b"newer")
    assert (root / "b").exists()
    assert (root / "a").read_bytes() == b"old"
    done = fusecache("sync", root)
    assert (done.returncode, done.stdout) == (0, f"{root}: 4 of 6 names had changed, in 2 directories\n"), done
    soon(lambda: not (root / "b").exists(), "a file that is gone is still there")
    soon(lambda: (root / "a").read_bytes() == b"newer", "an old version is still read")
    soon(lambda: (root / "t/c").read_bytes() == b"newer", "an old version is still read")
    assert sorted(os.listdir(root)) == ["a", "new", "t"]
    assert json.loads(fusecache("sync", "--json", root / "t").stdout) == {"directories": 1, "names": 3, "changed": 0}
    done = fusecache("sync", root / "b")
    assert (done.returncode, "no such file" in done.stderr) == (1, True), done
