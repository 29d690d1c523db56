"""The command as a person runs it, never for longer than it may take."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusecache.control.client import wait_gone
from fusecache.control.mounts import MountEntry, mounted_at, mounts
from tests.amounts import amount

FLUSH_S = amount("FUSECACHE_FLUSH_S", usual=50, soak=600)
TIMEOUT_S = FLUSH_S + 10
ROOT = Path(__file__).resolve().parents[2]
Done = subprocess.CompletedProcess[str]


def fusecache(*arguments: str | Path, cwd: str | Path | None = None, **env: str) -> Done:
    """Run `fusecache` and return how it ended. It runs outside of any mount but when a test says where."""
    command = [sys.executable, "-m", "fusecache", *(str(each) for each in arguments)]
    return subprocess.run(
        command,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def mounted(path: Path) -> MountEntry | None:
    """Return what the kernel has mounted at `path`."""
    return mounted_at(path, mounts())


def facts(*arguments: str | Path) -> dict[str, Any]:
    """Return what `stat --json` tells."""
    done = fusecache("stat", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def kill_daemon(mountpoint: Path) -> None:
    """SIGKILL the mount's process: a power cut without the power."""
    pid = facts(mountpoint)["pid"]
    kill(supervisor_of(pid))
    kill(pid)


def kill(pid: int) -> None:
    """SIGKILL a process, if it is there; 0 is none."""
    if pid and not wait_gone(pid, 0):
        os.kill(pid, signal.SIGKILL)
        assert wait_gone(pid, TIMEOUT_S)


def supervisor_of(daemon: int) -> int:
    """Return the process that would start the next one; 0: there is none."""
    try:
        parent = int(Path(f"/proc/{daemon}/stat").read_text().rpartition(") ")[2].split()[1])
        return parent if b"fusecache.daemon.supervisor" in Path(f"/proc/{parent}/cmdline").read_bytes() else 0
    except FileNotFoundError:
        return 0


@contextmanager
def mount(store: str, mountpoint: Path, *options: str | Path, **env: str) -> Iterator[Path]:
    """Mount for the block; whatever is left after it is detached, and its process ended."""
    if not mounted(mountpoint):  # a dead mount cannot even be looked at
        mountpoint.mkdir(exist_ok=True)
    done = fusecache("mount", store, mountpoint, *options, **env)
    assert done.returncode == 0, done.stderr
    pid = facts(mountpoint)["pid"]
    try:
        yield mountpoint
    finally:
        if mounted(mountpoint):
            fusecache("umount", "--no-flush", mountpoint)
        if mounted(mountpoint):
            subprocess.run(["fusermount3", "-uz", str(mountpoint)], timeout=TIMEOUT_S)
        if not wait_gone(pid, 10):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def foreground(store: str, mountpoint: Path, *options: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`fusecache mount -f` as a process that has told, as it tells systemd, that the mount answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        address = f"\0fusecache-test-{os.getpid()}-{mountpoint.parent.name}"
        notify.bind(address)
        notify.settimeout(TIMEOUT_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "fusecache", "mount", "-f", store, mountpoint, *options],
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": "@" + address[1:]},
        )
        try:
            assert notify.recv(4096).startswith(b"READY=1")
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if mounted(mountpoint):
                subprocess.run(["fusermount3", "-uz", str(mountpoint)], timeout=TIMEOUT_S)
