"""The daemon's side of invalidations: what is stale goes into a pipe; at its end the notifier waits for the kernel."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path

import trio

import fusecache
from fusecache.errors import MountError
from fusecache.fs.stale import Pages, Stale
from fusecache.fs.transport import notices
from fusecache.namespace.records import Place

log = logging.getLogger(__name__)

_QUEUE_BYTES = 1 << 20
"""The pipe is the queue, ~ 15,000 names: the most that anybody may ask for (/proc/sys/fs/pipe-max-size)."""
_END_S = 2.0
"""For a notifier whose pipe was closed; it needs no half second, unless the kernel keeps it."""
_NOTIFIER = "fusecache.fs.transport.notifier"
_PACKAGE_DIR = Path(fusecache.__file__).parent.parent
_FUSE_DEVICE = os.makedev(10, 229)  # Documentation/admin-guide/devices.txt


class Invalidations:
    """Tells the kernel what it must not believe any more. Nothing here ever waits for the kernel."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<Invalidations, {self.dropped} dropped>"

    def tell(self, stale: Stale) -> None:
        """Have the kernel ask again about a name or an inode: soon, or else when its timeout ends. Pages have none."""
        if self._pipe is None:
            return  # nothing is mounted, so nothing is believed
        message = _message(stale)
        try:
            os.write(self._pipe, message)  # shorter than PIPE_BUF: the whole or nothing (pipe(7))
        except BlockingIOError:
            self._drop("the notifier is behind")
        except BrokenPipeError:
            self._drop("the notifier has ended")

    @asynccontextmanager
    async def delivered(
        self, fuse_fd: int, sever: Callable[[], None], *, outlives: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[None]:
        """Deliver, in the block, to the connection whose descriptor is `fuse_fd`.

        Afterwards nobody else holds that connection. If the kernel keeps the notifier from ending, `sever` is
        called in a thread: it must abort the connection. One that `outlives` this process is not aborted for that: the
        next process answers what the notifier waits for.

        Raises:
            MountError: the notifier cannot be started.
        """
        process, self._pipe = await _start(fuse_fd, "waits" if outlives() else "aborts")
        try:
            yield
        finally:
            os.close(self._pipe)
            self._pipe = None
            if not outlives() and not await _ended(process):
                log.warning("a notification waits for a request that was not answered: the connection is aborted")
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(sever)
                if not await _ended(process):
                    process.kill()
                    await _ended(process)

    def _drop(self, why: str) -> None:
        if not self.dropped:
            log.warning("%s: what others change may be seen as late as the timeouts say", why)
        self.dropped += 1


def fuse_descriptor() -> int:
    """Return the descriptor of this process's connection: pyfuse3 has it, and does not tell.

    Raises:
        MountError: there is none.
    """
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = entry.stat()
        except FileNotFoundError:
            continue  # the one that lists this directory
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == _FUSE_DEVICE:
            return int(entry.name)
    raise MountError("this process has no connection to the kernel's FUSE")


def _message(stale: Stale) -> bytes:
    match stale:
        case Place():
            return notices.inval_entry(*stale)
        case Pages(ino, extent):
            return notices.inval_pages(ino, extent.offset, extent.length)
        case _:
            return notices.inval_inode(stale)


async def _start(fuse_fd: int, at_end: str) -> tuple[trio.Process, int]:
    """Start the notifier; return it and the end of the pipe at which it listens."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-S", "-m", _NOTIFIER, str(fuse_fd), str(reader), at_end],
            pass_fds=(fuse_fd, reader),
            cwd=_PACKAGE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as exc:
        os.close(writer)
        raise MountError(f"{sys.executable} cannot be started: {exc.strerror}") from exc
    finally:
        os.close(reader)
    os.set_blocking(writer, False)
    try:
        fcntl(writer, F_SETPIPE_SZ, _QUEUE_BYTES)
    except PermissionError:
        pass  # this user has many pipes: a shorter queue
    return process, writer


async def _ended(process: trio.Process) -> bool:
    with trio.move_on_after(_END_S, shield=True):
        await process.wait()
    return process.returncode is not None
