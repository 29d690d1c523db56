"""The same calls on a mount and on a plain directory: results, errnos and what is there afterwards are compared.

What is known to differ, and is not compared:

- st_dev, st_ino (but which paths are one inode, and that it stays the same), st_blocks, a directory's st_size: numbers
  that each file system gives as it likes. atime: by the mount's options.
- A directory's nlink: exact when it is purely local, else 1 (design §5). Any other number is a difference.
- Absolute times: both clocks run. Compared are which times changed from one look to the next, and times set by utime.
- Times after a store to a mapping: tmpfs doesn't change them (it has no page_mkwrite), so each is followed by a utime.
- Whether the times of a file that was open for writing when the daemon was killed are those from before to the
  nanosecond: they are the kernel's then. Times set by utime are compared.
- Times after a truncate to the size that a file has: set here, as POSIX wants it; left alone by other file systems.
- Times of a fifo that is written to: the kernel does that alone. Nobody writes.

- Times after a fallocate: by the file system. Each is followed by a utime.

Never called: O_TMPFILE, and over pyfuse3 fallocate, which it doesn't know (EOPNOTSUPP); SEEK_DATA and SEEK_HOLE, as the
disk decides where a hole is; `trusted.*` attributes (EOPNOTSUPP: metadata keep `user.*`); names that are no key
(EINVAL, `namespace.keys.UNSTORABLE`) and `.fusecache-tmp` in the root (EPERM).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fusecache.namespace.keys import component_of
from tests.mount.calls import Facts, Look, Side, Step
from tests.mount.harness import Mount

_REALTIME_COARSE = 5
"""What the kernel stamps files with (CLOCK_REALTIME_COARSE in time.h)."""


class Twin:
    """Does every step on both sides and compares. `every`: after how many of them it looks at everything; 0: never."""

    def __init__(self, mount: Mount, plain: Path, name: str, *, every: int) -> None:
        self.name = name
        """Of the directory on both sides."""
        self.is_well = True
        """False while a step is under way, and after one that failed."""
        self._mount = mount
        self._sides = Side(str(mount.path / name)), Side(str(plain / name))
        self._every = every
        self._allocates = mount.facts()["transport"] == "direct"
        self._steps: list[Step] = []
        self._before: tuple[Look, Look] | None = None
        self._forgiven: set[int] = set()
        """Inodes of the mount whose times are not compared at the next look."""

    def __str__(self) -> str:
        steps = "\n".join(f"    {step}," for step in self._steps)
        return f"every={self._every}, steps:\n{steps}"

    def begin(self) -> None:
        """Make the directories."""
        for side in self._sides:
            os.mkdir(side.root)

    def do(self, step: Step) -> None:
        self._steps.append(step)
        self.is_well = False
        if hasattr(self, step[0]):
            getattr(self, step[0])(*step[1:])
        elif step[0] != "allocate" or self._allocates:
            self._both(step)
        if self._every and len(self._steps) % self._every == 0:
            self.look()
        self.is_well = True

    # --- what happens between two calls ---

    def flush(self) -> None:
        """Everything that was closed is in the store."""
        left = self._mount.flush(self.name)
        self._check(not left["files_left"] or bool(left["open_files"] or left["waiting_open"]), f"flush left {left}")

    def remount(self, *options: str) -> None:
        self._close()
        self._mount.umount(*options)
        self._mount.mount()

    def evict(self) -> None:
        """Between two mounts, drop what can be fetched again and what is known of the store."""
        self._close()
        self._mount.umount()
        evict(self._mount.cache)
        self._mount.mount()

    def kill(self) -> None:
        """The daemon dies, and with it what is open."""
        self._forgiven |= self._sides[0].writable()
        self._mount.kill()
        self.let_go()
        self._mount.mount()

    def pause(self, seconds: float) -> None:
        """Something may drain meanwhile."""
        time.sleep(seconds)

    # --- comparing ---

    def look(self) -> None:
        """Compare everything but bytes; and what has changed since the last time."""
        looks = self._sides[0].look(), self._sides[1].look()
        got, expected = ({path: each if isinstance(each, str) else each[0] for path, each in x.items()} for x in looks)
        for path in sorted(got.keys() | expected.keys()):
            self._check_same(f"{path!r} after it", got.get(path), expected.get(path))
        self._check(_groups(looks[0]) == _groups(looks[1]), "other paths are one inode than on the plain side")
        if self._before is not None:
            for path in sorted(expected):
                changes = [_changes(path, before, now) for before, now in zip(self._before, looks, strict=True)]
                forgiven = looks[0][path][1].ino in self._forgiven  # type: ignore[union-attr]  # both looked
                self._check(forgiven or changes[0] == changes[1], f"{path!r}: mount {changes[0]}, plain {changes[1]}")
        self._before = looks
        self._forgiven.clear()
        _wait_for_tick()

    def compare(self) -> None:
        """Compare everything, bytes too."""
        self.look()
        got, expected = (dict(side.contents()) for side in self._sides)
        for path, data in expected.items():
            self._check_same(f"the bytes of {path!r}", got[path], data)

    def end(self) -> None:
        self._close()
        self.compare()

    def let_go(self) -> None:
        for side in self._sides:
            side.let_go()

    # --- helpers ---

    def _both(self, step: Step) -> None:
        mount, plain = self._sides
        got, expected = mount.do(step), plain.do(step)
        self._check_same(repr(step), got, expected)

    def _close(self) -> None:
        for slot in sorted({*self._sides[0].slots, *self._sides[0].maps}):
            self._both(("unmap", slot))
            self._both(("close", slot))

    def _check_same(self, what: str, got: object, expected: object) -> None:
        if isinstance(got, Facts) and isinstance(expected, Facts) and got.mode.startswith("d") and got.nlink == 1:
            got = got._replace(nlink=expected.nlink)
        self._check(got == expected, f"{what}: mount {_short(got)}, plain {_short(expected)}")

    def _check(self, holds: bool, difference: str) -> None:
        if not holds:
            raise AssertionError(f"{difference}\n{self}")


def evict(cache: Path) -> None:
    """Empty the cache of a mount that is not mounted of listings and of what is clean.

    The index names that. Other contents are the only copy of something, as of what is staging.
    """
    with closing(sqlite3.connect(cache / "index.db")) as index:
        clean = {f"{ino:x}" for (ino,) in index.execute("SELECT ino FROM content")}
    for path in (cache / "contents").glob("*/*"):
        if path.name in clean:
            path.unlink()
    shutil.rmtree(cache / "listings")


def drained(root: Path, is_local: Callable[[Path], bool], prefix: str = "") -> dict[str, bytes]:
    """Return the objects that a drain should have made of `root`, but for what `is_local`."""
    found: dict[str, bytes] = {}
    for path in root.iterdir():
        key = prefix + component_of(os.fsencode(path.name))
        if is_local(path):
            continue
        if path.is_symlink():
            found[key] = b""
        elif path.is_dir():
            found |= drained(path, is_local, f"{key}/") or {f"{key}/": b""}
        else:
            found[key] = path.read_bytes()
    return found


def _wait_for_tick() -> None:
    """Whatever is stamped from now on has other times than what was stamped before."""
    before = time.clock_gettime_ns(_REALTIME_COARSE)
    while time.clock_gettime_ns(_REALTIME_COARSE) == before:
        time.sleep(0.0005)


def _groups(look: Look) -> set[frozenset[str]]:
    paths = defaultdict(set)
    for path, seen in look.items():
        if not isinstance(seen, str):
            paths[seen[1].ino].add(path)
    return {frozenset(each) for each in paths.values() if len(each) > 1}


def _changes(path: str, before: Look, now: Look) -> str:
    """What has become of the times of the inode at `path`, whatever its name was before."""
    seen = now[path]
    assert not isinstance(seen, str)
    stamps = {each[1].ino: each[1] for each in before.values() if not isinstance(each, str)}
    was = stamps.get(seen[1].ino)
    if was is None:
        return "a new inode"
    changed = [name for name in ("mtime_ns", "ctime_ns") if getattr(was, name) != getattr(seen[1], name)]
    return " and ".join(changed) or "unchanged"


def _short(value: object) -> str:
    return f"{len(value)} bytes (crc32 {zlib.crc32(value):08x})" if isinstance(value, bytes) else repr(value)
