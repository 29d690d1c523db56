"""One daemon a cache: two would write the same namespace."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fusecache.control.client import has_died
from fusecache.errors import MountError

_DYING_S = 10.0
"""How long a process that was killed may still hold its locks: a thread of it may wait for a disk."""
_LOOK_S = 0.05


@contextmanager
def locked(directories: Iterable[Path], holder: str) -> Iterator[None]:
    """Hold the locks of `directories`, which exist; the kernel drops them however the process ends.

    `holder` is what somebody who finds them taken is told.

    Raises:
        MountError: somebody holds one; the message says who.
    """
    with ExitStack() as held:
        for directory in dict.fromkeys(directories):
            held.enter_context(_locked(directory, holder))
        yield


@contextmanager
def _locked(directory: Path, holder: str) -> Iterator[None]:
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise MountError(f"{directory} cannot be written: {exc.strerror}; name another with --cache-dir") from exc
    try:
        _take(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {holder}\n".encode(errors="surrogateescape"), 0)
        yield  # the file stays: unlinking it would let two processes hold two different ones
    finally:
        os.close(descriptor)


def _take(descriptor: int, directory: Path) -> None:
    until = time.monotonic() + _DYING_S
    while not _taken(descriptor):
        pid, _, holder = os.pread(descriptor, 4096 + 32, 0).decode(errors="surrogateescape").strip().partition(" ")
        if time.monotonic() > until or not (pid.isdecimal() and has_died(int(pid))):
            raise MountError(
                f"{directory} is in use by {holder or 'another fusecache'} (pid {pid or 'unknown'}): "
                "end that first, or name another --cache-dir"
            )
        time.sleep(_LOOK_S)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
