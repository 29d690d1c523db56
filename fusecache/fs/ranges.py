"""Ranges of open files: data and holes, space in advance, zeros."""

from __future__ import annotations

import os

import trio

from fusecache.cache.holes import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from fusecache.errors import InvalidArgument, NoSuchOffset, Unsupported
from fusecache.fs.files import Files
from fusecache.fs.space import Space
from fusecache.types import Extent, HandleNo

_PIECE = 1 << 20
_ZEROS = memoryview(bytes(_PIECE))
_MODES = (
    0,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
)


class Ranges:
    """What lseek(2) and fallocate(2) do. A cancellation leaves what was done so far."""

    def __init__(self, files: Files, space: Space) -> None:
        self._files = files
        self._space = space

    def seek(self, number: HandleNo, offset: int, whence: int) -> int:
        """Return where the next data begin, or the next hole. What is not here yet counts as data.

        Raises:
            NoSuchOffset: there is none behind `offset`.
        """
        content = self._files.content(number)
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise InvalidArgument(f"whence {whence}")
        if offset >= content.size:
            raise NoSuchOffset(f"{offset} is not before the end at {content.size}")
        if not content.whole:
            return offset if whence == os.SEEK_DATA else content.size
        try:
            return os.lseek(content.fd(), offset, whence)
        except OSError as exc:  # only holes are left
            raise NoSuchOffset(f"no data behind {offset}") from exc

    async def allocate(self, number: HandleNo, extent: Extent, mode: int) -> None:
        """Take space for a range, punch a hole, or make zeros, as fallocate(2) with that mode.

        Raises:
            Unsupported: another mode. NoSpace.
        """
        if mode not in _MODES:
            raise Unsupported(f"fallocate with mode {mode:#x}")
        if not mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            await self._space.room(extent.length, self._files.opened(number).ino)
        size = self._files.content(number).size
        if extent.end > size and not mode & FALLOC_FL_KEEP_SIZE:
            await self._files.write(number, extent.end - 1, b"\0", hole=True)  # however far: zeros all the way
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            await self._zero(number, extent.offset, min(extent.end, size))
            return
        content = self._files.content(number)
        content.fd()
        content.file.reserve(*extent)

    async def _zero(self, number: HandleNo, offset: int, end: int) -> None:
        while offset < end:
            zeros = _ZEROS[: min(_PIECE - offset % _PIECE, end - offset)]
            offset += await self._files.write(number, offset, zeros, hole=True)
            await trio.lowlevel.checkpoint()
