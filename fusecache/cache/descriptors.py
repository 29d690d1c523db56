"""Which content files hold a descriptor: a process has few of them, and applications open many files."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
import weakref
from typing import Protocol

_MOST = 4096
"""Once a second each is asked for its disk space, on the loop: 1 µs (`Contents.flush_index`)."""
_RESERVE = 8
"""Kept back at the limit of the process, so that connections and threads cannot take the last one."""
_OTHERS = 48
"""An idle daemon has about 30, and the reserve."""
_LEAST = 4
_AT_LIMIT = (errno.EMFILE, errno.ENFILE)
_PATIENCE_S = 60.0
_AGAIN_S = 0.02


class Holder(Protocol):
    """Somebody with a descriptor, who opens its file again when it needs one again."""

    def let_go(self) -> None:
        """Close the descriptor, by `Descriptors.close`."""
        ...


class Descriptors:
    """Descriptors of which up to `limit` are idle: they may be closed at any moment. Belongs to the loop.

    Closed is who opened first, not who was used last: to note each use would cost every read and write
    something, to open again costs 5 µs.
    """

    def __init__(self, limit: int | None = None) -> None:
        """`limit` None: half of what this process may have beside its databases; connections need some, too."""
        self._limit = _share() if limit is None else limit
        self._idle: dict[Holder, None] = {}
        self._reserve: list[int] = []
        weakref.finalize(self, _close_all, self._reserve)
        for _ in range(_RESERVE):
            self._keep_back()

    def __repr__(self) -> str:
        return f"<Descriptors {len(self._idle)} of {self._limit} idle>"

    def open(self, path: str, flags: int) -> int:
        """Open a file; at the limit of the process in place of all idle ones, as others may wait for one, too.

        Raises:
            OSError: as open(2); that there are too many only if every one is in use.
        """
        while True:
            try:
                return os.open(path, flags, 0o600)
            except OSError as exc:
                if exc.errno not in _AT_LIMIT or not (self._close_down_to(0) or self._spend()):
                    raise

    def idle(self, holder: Holder) -> None:
        """From now on `holder` may be told to let go; those that are too many are told at once."""
        self._idle[holder] = None
        self._close_down_to(self._limit)

    def busy(self, holder: Holder) -> None:
        """From now on it may not."""
        self._idle.pop(holder, None)

    def close(self, descriptor: int) -> None:
        """Close what `open` returned."""
        os.close(descriptor)
        if len(self._reserve) < _RESERVE:
            self._keep_back()

    def _close_down_to(self, count: int) -> bool:
        was = len(self._idle)
        while len(self._idle) > count:
            holder = next(iter(self._idle))
            del self._idle[holder]
            holder.let_go()
        return len(self._idle) < was

    def _spend(self) -> bool:
        if not self._reserve:
            return False
        os.close(self._reserve.pop())
        return True

    def _keep_back(self) -> None:
        with contextlib.suppress(OSError):  # at the limit: another time
            self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def open_late(path: str, flags: int) -> int:
    """Open a file, at the limit of the process when somebody closes one. Blocks: for worker threads.

    Raises:
        OSError: as open(2); that there are too many after a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return os.open(path, flags)
        except OSError as exc:
            if exc.errno not in _AT_LIMIT or time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN_S)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _share() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(_LEAST, min(_MOST, (soft - _OTHERS) // 2))
