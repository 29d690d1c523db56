"""Blocks of the journal that are written before they are needed, so that a sync is one flush of the disk.

A file that has grown, or blocks that were only reserved, make fdatasync(2) a commit of the file system's own journal
as well: three times as long on ext4.
"""

from __future__ import annotations

import contextlib
import os


class Runway:
    """Keeps zeros behind the end of a SQLite WAL, to be overwritten. No frame begins with zeros: there readers end."""

    def __init__(self, wal_fd: int, *, step_bytes: int) -> None:
        """`step_bytes` 0: none is laid out."""
        self._fd = wal_fd
        self._step = bytes(step_bytes)
        self._end = 0

    def extend(self) -> bool:
        """Lay out the next piece if SQLite has used up the last, and return whether it had.

        Only where no commit can run meanwhile, as it would be overwritten: on the loop.
        """
        end = os.fstat(self._fd).st_size
        if end == self._end:
            return False
        with contextlib.suppress(OSError):  # on a full disk SQLite goes on, in its reserve
            end += os.pwrite(self._fd, self._step, end)
        self._end = end
        return True
