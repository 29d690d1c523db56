"""Mounts of an ordinary user, through fusermount3: made, asked, killed, made again, unmounted.

Root plays nobody, in a mount namespace of his own where /dev/fuse is open to all, as distributions
have it; containers often have it for root only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.control.client import wait_gone
from tests.mount.cli import ROOT, TIMEOUT_S

pytestmark = [pytest.mark.mount, pytest.mark.slow]

NOBODY = 65534
_OPEN_DEVICE = """
mount -t tmpfs none "$1" && mknod -m 666 "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse && echo ready && cat
"""
Done = subprocess.CompletedProcess[str]


class User:
    """Runs commands as nobody, in the namespace of the process `inside`."""

    def __init__(self, inside: int, home: Path, python: str) -> None:
        self.home = home
        self._enter = ["nsenter", "-m", "-t", str(inside), "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY)]
        self._python = python

    def run(self, *command: str) -> Done:
        env = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        whole = [*self._enter, "--clear-groups", "--", "env", *command]  # setpriv itself execs with root's rights
        return subprocess.run(whole, env=env, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)

    def fusecache(self, *arguments: str) -> Done:
        return self.run(self._python, "-B", "-m", "fusecache", *arguments)


@pytest.fixture
def user() -> Iterator[User]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    # Below /tmp itself: pytest's own directories are closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fusecache-user-") as name:
        home = Path(name)
        for each in (home, *(home / part for part in ("m", "store", "dev"))):
            each.mkdir(exist_ok=True)
            os.chown(each, NOBODY, NOBODY)
        with subprocess.Popen(
            ["unshare", "-m", "sh", "-c", _OPEN_DEVICE, "sh", str(home / "dev")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as namespace:
            assert namespace.stdout is not None
            assert namespace.stdout.readline() == b"ready\n"
            yield User(namespace.pid, home, _python(namespace.pid, home))


def _python(inside: int, home: Path) -> str:
    """An interpreter that others may run: a virtual environment may lead into root's home."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}"):
        if User(inside, home, python).run(python, "-c", "import pyfuse3, trio").returncode == 0:
            return python
    pytest.skip(f"NOT TESTED as a user: no {version} here that another user may run")


def test_a_user_mounts_what_is_his(user: User) -> None:
    mountpoint, store = str(user.home / "m"), f"file://{user.home}/store"
    done = user.fusecache("mount", store, mountpoint, "--persist-delay", "1h", "--transport", "pyfuse3")
    assert (done.returncode, done.stderr) == (0, "")
    assert user.run("sh", "-c", f"echo hello > {mountpoint}/a").returncode == 0
    told = user.fusecache("stat", "--json", mountpoint)
    assert json.loads(told.stdout)["files_dirty"] == 1
    _kill(json.loads(told.stdout)["pid"])
    assert user.fusecache("stat", mountpoint).returncode == 6
    assert user.fusecache("mount", store, mountpoint).returncode == 0  # over the dead one
    assert user.run("cat", f"{mountpoint}/a").stdout == "hello\n"
    done = user.fusecache("umount", mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert (user.home / "store/a").read_text() == "hello\n"
    assert user.fusecache("umount", mountpoint).returncode == 4


def test_a_user_speaks_the_kernels_protocol_too(user: User) -> None:
    """Where he may not give the kernel any files: it asks for every byte."""
    mountpoint, store = str(user.home / "m"), f"file://{user.home}/store"
    done = user.fusecache("mount", store, mountpoint, "--transport", "direct")
    assert (done.returncode, done.stderr) == (0, "")
    script = f"cd {mountpoint} && echo hello > a && echo more >> a && mv a b && ln -s b c && cat c && truncate -s 3 b"
    assert user.run("sh", "-c", script).stdout == "hello\nmore\n"
    told = json.loads(user.fusecache("stat", "--json", mountpoint).stdout)
    assert told["transport"] == "direct"
    done = user.fusecache("umount", mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert (user.home / "store/b").read_text() == "hel"
    assert user.fusecache("umount", mountpoint).returncode == 4


def test_what_a_user_may_not(user: User) -> None:
    store, mountpoint = f"file://{user.home}/store", str(user.home / "m")
    done = user.fusecache("mount", store, mountpoint, "--cache-dir", "/var/cache/not-his")
    assert (done.returncode, "Permission denied" in done.stderr) == (1, True), done.stderr
    os.chown(mountpoint, 0, 0)
    done = user.fusecache("mount", store, mountpoint)
    assert (done.returncode, "not yours to write" in done.stderr) == (1, True), done.stderr


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert wait_gone(pid, TIMEOUT_S)
