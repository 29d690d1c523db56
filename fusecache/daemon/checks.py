"""What can be known to fail before anything is touched: each with one line that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from fusecache.config import Config
from fusecache.control import detach
from fusecache.control.detach import Health
from fusecache.control.mounts import MountEntry, mounted_at, mounts
from fusecache.errors import MountError

FUSE_DEVICE = Path("/dev/fuse")
FUSE_CONF = Path("/etc/fuse.conf")
_PROBE_S = 5.0


def check_machine(config: Config, *, uid: int, device: Path = FUSE_DEVICE, conf: Path = FUSE_CONF) -> None:
    """Check that user `uid` can mount with FUSE here.

    Raises:
        MountError: he cannot.
    """
    if not device.exists():
        raise MountError(
            f"{device} is missing: load the fuse module (modprobe fuse), or give {device} to the container"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise MountError(f"{device} cannot be opened for reading and writing: chmod 0666 {device} as root")
    if uid == 0:
        return
    if shutil.which("fusermount3") is None:
        raise MountError("fusermount3 is missing: install the package fuse3")
    if config.allow_other and not _user_allow_other(conf):
        raise MountError(
            f"allow_other needs the line `user_allow_other` in {conf}: let root add it, or leave the option out"
        )


def check_mountpoint(path: Path, *, uid: int) -> None:
    """Check that `path` is an empty directory to mount on; what a killed daemon left there is detached first.

    Raises:
        MountError: it is not.
    """
    entries = mounts()
    entry = mounted_at(path, entries)
    if entry is not None:
        _clear(path, entry)
    try:
        found = path.stat()
        is_empty = not any(path.iterdir())
    except FileNotFoundError as exc:
        raise MountError(f"{path} does not exist: make the directory first (mkdir -p {path})") from exc
    except NotADirectoryError as exc:
        raise MountError(f"{path} is not a directory: a mount point must be one") from exc
    except OSError as exc:
        raise MountError(f"{path} cannot be read: {exc.strerror}") from exc
    if not is_empty:
        raise MountError(f"{path} is not empty: mount on an empty directory, files in this one would be hidden")
    if uid != 0 and not _writable_by_fusermount(path, found):
        raise MountError(f"{path} is not yours to write: fusermount3 mounts only where its user may write")


def prepare_directories(directories: Sequence[Path]) -> None:
    """Make the cache and state directories, readable by nobody else.

    Raises:
        MountError: one cannot be made or written.
    """
    for directory in directories:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise MountError(
                f"{directory} cannot be made: {exc.strerror}; name another with --cache-dir or --state-dir"
            ) from exc
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise MountError(f"{directory} cannot be written; name another with --cache-dir or --state-dir")


def _clear(path: Path, entry: MountEntry) -> None:
    """Refuse a mount that lives; take down one that is dead."""
    if not entry.is_fusecache:
        raise MountError(f"{path} is a mount point already ({entry.fstype} of {entry.source})")
    health = detach.examine(entry, timeout_s=_PROBE_S)
    if health is Health.ALIVE:
        raise MountError(f"{path} is mounted already, with {entry.source}: `fusecache umount {path}` first")
    if health is Health.HANGING:
        raise MountError(f"{path} has a mount that does not answer: `fusermount3 -uz {path}`, then mount again")
    detach.detach(entry)
    if mounted_at(path, mounts()) is not None:
        raise MountError(f"{path} has several mounts on top of each other: unmount them first")


def _writable_by_fusermount(path: Path, found: os.stat_result) -> bool:
    """fusermount3 wants write access, and ownership where the sticky bit is set (util/fusermount.c)."""
    if found.st_mode & stat.S_ISVTX and found.st_uid != os.getuid():
        return False
    return os.access(path, os.W_OK)


def _user_allow_other(conf: Path) -> bool:
    try:
        return re.search(r"^\s*user_allow_other\s*$", conf.read_text(errors="replace"), re.MULTILINE) is not None
    except OSError:
        return False
