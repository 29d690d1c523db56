"""The process that writes notifications to the kernel: `python -m fusecache.fs.transport.notifier FUSE_FD PIPE_FD …`.

The kernel lets a notification wait: for a create in flight in the same directory, which waits for the store. Whoever
writes it cannot even be killed meanwhile, and keeps all that he holds. So he holds nothing but the two descriptors,
and nobody waits for him. Only the standard library is imported: it starts in 30 ms, and needs 6 MB of its own.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
import threading
from pathlib import Path

from fusecache.fs.transport.direct.abi import fuse_out_header

_CHUNK = 64 << 10
_STUCK_S = 0.2
"""How long the last notification may take once the daemon is gone; each is a few µs unless it has to wait."""


def main() -> None:
    """Write what comes through the pipe, until its other end is closed or the connection is no more."""
    fuse_fd, pipe_fd = (int(argument) for argument in sys.argv[1:3])
    at_end = sys.argv[3]
    for number in (signal.SIGINT, signal.SIGTERM):  # the daemon's business: it drains first
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")  # where it was started may be a mount
    writer = threading.Thread(target=_copy, args=(pipe_fd, fuse_fd), daemon=True)
    writer.start()
    _wait_closed(pipe_fd)
    writer.join(_STUCK_S)
    if writer.is_alive() and at_end == "aborts":
        _abort(fuse_fd)
        writer.join(_STUCK_S)
    os._exit(0)  # a thread that waits in the kernel must not be waited for


def _copy(pipe_fd: int, fuse_fd: int) -> None:
    """Write each message of the pipe by itself: the kernel wants it so."""
    received = b""
    while piece := os.read(pipe_fd, _CHUNK):
        received += piece
        begin = 0
        while len(received) - begin >= fuse_out_header.size:
            end = begin + fuse_out_header.unpack_from(received, begin)[0]
            if end > len(received):
                break
            _notify(fuse_fd, received[begin:end])
            begin = end
        received = received[begin:]


def _notify(fuse_fd: int, message: bytes) -> None:
    try:
        os.write(fuse_fd, message)
    except OSError as exc:
        if exc.errno == errno.ENODEV:  # unmounted or aborted
            os._exit(0)
        # ENOENT, mostly: the kernel has forgotten it by itself. What else it may refuse ends with its timeout.


def _wait_closed(pipe_fd: int) -> None:
    """Return when nobody can write to the pipe any more, whatever is still in it."""
    poll = select.poll()
    poll.register(pipe_fd, 0)
    poll.poll()


def _abort(fuse_fd: int) -> None:
    """Cut the connection: its daemon is gone, and by our descriptor alone requests would wait for ever.

    Where that is not possible (no fusectl, a kernel that doesn't tell the number) the next mount does it.
    """
    told = re.search(r"^fuse_connection:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fuse_fd}").read_text(), re.MULTILINE)
    if told is None:
        return
    try:
        Path("/sys/fs/fuse/connections", told[1], "abort").write_text("1")
    except OSError:
        return


if __name__ == "__main__":
    main()
