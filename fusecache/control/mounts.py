"""Which mounts there are, from the kernel's table alone: a dead or hanging mount is never touched."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FSTYPE = "fuse.fusecache"
MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_MAX_LINKS = 40  # the kernel's own limit (path_resolution(7))


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    mountpoint: bytes
    device: str
    """`major:minor`; the minor names the connection under /sys/fs/fuse/connections."""
    fstype: str
    source: str
    user_id: int | None
    """Who mounted it, as FUSE says; None for other file systems."""

    @property
    def is_fusecache(self) -> bool:
        return self.fstype == FSTYPE

    def below(self, path: bytes) -> bytes | None:
        """Return `path` relative to this mount, b"" for its root, None if it isn't below it."""
        if path == self.mountpoint:
            return b""
        prefix = self.mountpoint.rstrip(b"/") + b"/"
        return path[len(prefix) :] if path.startswith(prefix) else None


def mounts(table: Path = MOUNTINFO) -> list[MountEntry]:
    """Return what is mounted now, the one on top last."""
    return [_entry(line) for line in table.read_bytes().splitlines()]


def mounted_at(path: Path, entries: Sequence[MountEntry]) -> MountEntry | None:
    """Return the topmost mount whose mount point is exactly `path`."""
    found = [entry for entry in entries if entry.mountpoint == os.fsencode(path)]
    return found[-1] if found else None


def mount_of(path: bytes, entries: Sequence[MountEntry]) -> tuple[MountEntry, bytes] | None:
    """Return the fusecache mount that the absolute `path` is on, and the path below it; else None."""
    best: tuple[MountEntry, bytes] | None = None
    for entry in entries:  # of equally long mount points the later one covers the earlier
        below = entry.below(path)
        if below is not None and (best is None or len(entry.mountpoint) >= len(best[0].mountpoint)):
            best = entry, below
    return best if best is not None and best[0].is_fusecache else None


def resolve(path: bytes, entries: Sequence[MountEntry]) -> bytes:
    """Return `path` absolute and free of symbolic links, up to where a fusecache mount begins.

    Below one it is only tidied: the daemon knows its own tree, and asking a mount could hang.
    """
    roots = {entry.mountpoint for entry in entries if entry.is_fusecache}
    done, todo, links = b"", _parts(os.path.join(working_directory(), path)), 0
    while todo:
        part = todo.pop(0)
        if part == b"..":
            done = os.path.dirname(done).rstrip(b"/")
            continue
        here = done + b"/" + part
        target = None if _within(here, roots) else _link_target(here)
        links += target is not None
        if target is None or links > _MAX_LINKS:
            done = here
        else:
            done = b"" if target.startswith(b"/") else done
            todo = _parts(target) + todo
    return done or b"/"


def working_directory() -> bytes:
    """Return the working directory, the root if it was deleted: asking the kernel touches no mount."""
    try:
        return os.fsencode(Path.cwd())
    except FileNotFoundError:
        return b"/"


def _within(path: bytes, roots: set[bytes]) -> bool:
    return path in roots or any(path.startswith(root.rstrip(b"/") + b"/") for root in roots)


def _link_target(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)  # noqa: PTH115  # bytes have no pathlib form
    except OSError:
        return None  # no link, absent or not ours to see: whoever uses the path will be told


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _entry(line: bytes) -> MountEntry:
    """Fields before the lone dash vary in number; those after it are type, source, super options."""
    before, _, after = line.partition(b" - ")
    fields, (fstype, source, options) = before.split(b" "), after.split(b" ", 2)
    user = re.search(rb"(?:^|,)user_id=(\d+)", options)
    return MountEntry(
        mountpoint=_unescaped(fields[4]),
        device=fields[2].decode(),
        fstype=fstype.decode(),
        source=os.fsdecode(_unescaped(source)),
        user_id=int(user[1]) if user else None,
    )


def _unescaped(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field)
