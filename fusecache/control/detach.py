"""Taking a mount down from outside, dead ones too, and finding out who is in the way."""

from __future__ import annotations

import enum
import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from fusecache.control import client, sockets
from fusecache.control.mounts import MountEntry, mounted_at, mounts
from fusecache.errors import MountError

CONNECTIONS = Path("/sys/fs/fuse/connections")
_COMMAND_S = 30.0  # an unmount writes dirty mappings back first
_DELETED = b" (deleted)"
_GLANCE_S = 0.5  # a mount that lives and has little to do answers in 1 ms


class Health(enum.Enum):
    """How a mount answers a statvfs, which the kernel never answers itself."""

    ALIVE = enum.auto()
    DEAD = enum.auto()
    HANGING = enum.auto()


def probe(mountpoint: Path, *, timeout_s: float) -> Health:
    """Ask the mount for its statvfs, in a thread that is left behind if it hangs."""
    answers: list[Health] = []

    def ask() -> None:
        try:
            os.statvfs(mountpoint)
        except OSError as exc:
            answers.append(Health.DEAD if exc.errno in (errno.ENOTCONN, errno.ECONNABORTED) else Health.ALIVE)
        else:
            answers.append(Health.ALIVE)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answers[0] if answers else Health.HANGING


def examine(entry: MountEntry, *, timeout_s: float) -> Health:
    """Tell how a mount answers: DEAD also if it hangs, but its daemon has died.

    What keeps such a connection is a process that waits in the kernel for an answer that nobody will give.
    """
    mountpoint = Path(os.fsdecode(entry.mountpoint))
    health = probe(mountpoint, timeout_s=min(_GLANCE_S, timeout_s))
    if health is not Health.HANGING:
        return health
    return Health.DEAD if client.daemon_has_died(entry) else probe(mountpoint, timeout_s=timeout_s)


def unmount_command(mountpoint: Path, *, lazy: bool) -> list[str]:
    """Return the command that unmounts: umount for root, the set-uid fusermount3 for users.

    `-i -c` keep umount(8) from looking at the mount point, which may hang. With `-f` a lazy one aborts the connection,
    also where /sys/fs/fuse/connections is empty (a container without fusectl); only root may.
    """
    if os.geteuid() == 0:
        return ["umount", "-i", "-c", *(["-l", "-f"] if lazy else []), "--", str(mountpoint)]
    return ["fusermount3", "-u", *(["-z"] if lazy else []), "--", str(mountpoint)]


def detach(entry: MountEntry) -> None:
    """Take down a mount that nobody serves: requests in flight fail, and the mount point is free.

    Raises:
        MountError: it is still there.
    """
    mountpoint = Path(os.fsdecode(entry.mountpoint))
    try:
        (CONNECTIONS / entry.device.partition(":")[2] / "abort").write_text("1")
    except OSError:
        pass  # gone already, or not ours to abort: the unmount tells
    done = subprocess.run(
        unmount_command(mountpoint, lazy=True), capture_output=True, text=True, timeout=_COMMAND_S, check=False
    )
    left = mounted_at(mountpoint, mounts())
    if left is not None and left.device == entry.device:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MountError(f"{mountpoint} has a dead mount that cannot be detached: {said}")
    leftover = sockets.find_socket(entry.device, entry.user_id or 0, environ=os.environ)
    if leftover is not None and client.daemon_has_died(entry):  # else the number is another mount's by now
        leftover.unlink(missing_ok=True)


def holders(mountpoint: Path) -> list[str]:
    """Return the processes with something open below `mountpoint`, as `name (pid)`; only one's own for users."""
    return [_name(process) for process in Path("/proc").glob("[0-9]*") if _holds(process, os.fsencode(mountpoint))]


def openers(mountpoint: Path) -> dict[str, list[str]]:
    """Return who has something open below `mountpoint`, as `holders` does, by its path there.

    Of a file that was removed that is the path it had.
    """
    inside = os.fsencode(mountpoint).rstrip(b"/") + b"/"
    found: dict[str, list[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        for target in {each for each in _links(process) if each.startswith(inside)}:
            path = target.removeprefix(inside).removesuffix(_DELETED).decode("utf-8", "surrogateescape")
            found.setdefault(path, []).append(_name(process))
    return found


def _holds(process: Path, root: bytes) -> bool:
    inside = root.rstrip(b"/") + b"/"
    return any(target == root or target.startswith(inside) for target in _links(process))


def _links(process: Path) -> Iterator[bytes]:
    """Where a process's links in /proc lead, and what it has mapped; reading them touches no mount."""
    try:
        links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
        mapped = (process / "maps").read_bytes()
    except OSError:
        return  # ended, or not ours to look at
    for link in links:
        try:
            yield os.fsencode(link.readlink())
        except OSError:
            continue
    for line in mapped.splitlines():
        yield line[line.find(b"/") :] if b"/" in line else b""


def _name(process: Path) -> str:
    try:
        return f"{(process / 'comm').read_text().strip()} ({process.name})"
    except OSError:
        return f"({process.name})"
