"""What a run leaves behind: mounts below its directory, and processes that carry its mark in their environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

MARK = "FUSECACHE_RUN_DIRECTORY"
"""Set by whoever starts a run; children inherit it, so runs side by side never see each other's."""
GRACE_S = 3.0  # a daemon whose mount was just detached is on its way out


def clean(run_directory: Path) -> list[str]:
    """Detach and kill what the run of `run_directory` left, and return a line for each."""
    told = []
    for mountpoint in _mounts_below(run_directory):
        subprocess.run(["fusermount3", "-uz", mountpoint], check=False, timeout=30)
        told.append(f"still mounted: {mountpoint}")
    processes = _processes_after_grace(run_directory)
    for pid, command in processes.items():
        _kill(pid)
        told.append(f"still running: {pid} {command}")
    return told


def _mounts_below(run_directory: Path) -> list[str]:
    """Innermost first. The table is read, no mount is touched: a dead one would hang us."""
    prefix = f"{run_directory.resolve()}/"
    fields = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    found = [_unescaped(field[1]) for field in fields if field[2].startswith("fuse")]
    return [mountpoint for mountpoint in reversed(found) if mountpoint.startswith(prefix)]


def _processes_after_grace(run_directory: Path) -> dict[int, str]:
    deadline = time.monotonic() + GRACE_S
    while (found := _processes(run_directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _processes(run_directory: Path) -> dict[int, str]:
    mark = os.fsencode(f"{MARK}={run_directory}")
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[pid] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
