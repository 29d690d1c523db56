"""Processes that have died and cannot end, as a thread of theirs waits in the kernel: seen, and waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.control import client, sockets
from fusecache.control.client import connect, daemon_has_died, has_died
from fusecache.control.mounts import FSTYPE, MountEntry
from fusecache.control.protocol import ControlError
from fusecache.daemon.lock import locked
from fusecache.errors import MountError

pytestmark = pytest.mark.slow  # each starts a process

_HALF_DEAD = """
import ctypes, fcntl, os, socket, sys, threading
lock = open(sys.argv[1] + "/lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(f"{os.getpid()} /mnt/first")
lock.flush()
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + "/0:77.sock")
listener.listen()
def stay():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=stay).start()
print("ready", flush=True)
if sys.argv[2] == "dead":
    ctypes.CDLL(None).pthread_exit(None)
"""
"""Holds a cache's lock and a mount's socket; its leader ends alone, as in a process that was killed."""
Process = subprocess.Popen[bytes]


@pytest.fixture
def state(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "dead"))


@pytest.fixture
def process(tmp_path: Path, state: str) -> Iterator[Process]:
    command = [sys.executable, "-c", _HALF_DEAD, str(tmp_path), state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == b"ready\n"
            until = time.monotonic() + 10
            while state == "dead" and " Z " not in Path(f"/proc/{started.pid}/stat").read_text():
                assert time.monotonic() < until
                time.sleep(0.01)
            yield started
        finally:
            started.kill()


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountEntry:
    monkeypatch.setattr(sockets, "ROOT_DIR", tmp_path)
    monkeypatch.setattr(sockets, "candidates", lambda *_, **__: [tmp_path])
    return MountEntry(os.fsencode(tmp_path), "0:77", FSTYPE, "s3://b", os.getuid())


def test_a_leader_that_is_a_zombie_has_died(process: Process) -> None:
    assert not client.wait_gone(process.pid, 0)  # what the kernel says of it
    assert has_died(process.pid)
    assert not has_died(os.getpid())
    process.kill()
    process.wait()
    assert has_died(process.pid)


def test_a_lock_of_a_dead_process_is_waited_for(process: Process, tmp_path: Path) -> None:
    threading.Timer(0.3, process.kill).start()
    with locked([tmp_path], "the fusecache on /mnt/second"):
        assert process.wait(10)


@pytest.mark.parametrize("state", ["alive"], indirect=True)
def test_a_lock_of_one_that_lives_is_not(process: Process, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(MountError, match=f"pid {process.pid}"), locked([tmp_path], "the fusecache on /mnt/second"):
        pass
    assert time.monotonic() - began < 5


def test_the_daemon_of_a_mount_has_died(process: Process, mount: MountEntry) -> None:
    """Though its socket takes connections."""
    assert daemon_has_died(mount)
    with pytest.raises(ControlError, match="has died"):
        connect(mount)
    process.kill()
    process.wait()
    assert daemon_has_died(mount)  # nobody listens


@pytest.mark.parametrize("state", ["alive"], indirect=True)
def test_the_daemon_of_a_mount_lives(process: Process, mount: MountEntry) -> None:
    """Though it says nothing."""
    assert not daemon_has_died(mount)


def test_whose_socket_is_kept_is_to_be_followed(mount: MountEntry, tmp_path: Path) -> None:
    """As systemd does it: who connects waits for the next one, and nobody takes the mount away from it."""
    listens = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).listen()"
    with socket.socket(socket.AF_UNIX) as kept:
        kept.bind(str(tmp_path / "0:77.sock"))
        subprocess.run([sys.executable, "-c", listens, str(kept.fileno())], pass_fds=[kept.fileno()], check=True)
        assert not daemon_has_died(mount)
        with connect(mount) as waiting:
            waiting.sendall(b"question\n")
            kept.settimeout(10)
            answering, _ = kept.accept()  # by somebody who asked whether it has died
            while not (asked := answering.recv(100)):
                answering.close()
                answering, _ = kept.accept()
            answering.close()
            assert asked == b"question\n"
    assert daemon_has_died(mount)  # given up


def test_without_a_socket_nobody_can_tell(tmp_path: Path, mount: MountEntry) -> None:
    assert not daemon_has_died(mount)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "0:77.sock"))
    assert daemon_has_died(mount)
