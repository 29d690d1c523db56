"""What the blocks of a content hash to, found out while its bytes are written, and compared with them later.

Packed, they are 8 bytes a block, the xxh3_64 with its highest byte first, zeros where it isn't known. The blocks
are `SUM_BYTES` long whatever the mount's own are: so what was packed once is understood for ever.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path

import xxhash

from fusecache.cache.blocks import UNKNOWN_HASH, hash_block

SUM_BYTES = 1 << 20
"""As much as is read at a time."""
MAX_SUMS = 1 << 20
"""Blocks of a file that are kept track of: of a longer one (1 TiB) nothing is known."""
_NO_BYTES = xxhash.xxh3_64_digest(b"")
_ZEROS = xxhash.xxh3_64_intdigest(bytes(SUM_BYTES))
_ENTRY = 8


def sum_count(size: int) -> int:
    """Return how many sums a file has: an empty one has that of no bytes."""
    return -(-size // SUM_BYTES) or 1


def sum_of(packed: bytes, block_no: int) -> int | None:
    """Return what a block hashes to, None if that isn't known."""
    return int.from_bytes(packed[block_no * _ENTRY : (block_no + 1) * _ENTRY]) or None


def fits(packed: bytes, size: int) -> bool:
    """Whether these are the sums of a file of that size."""
    return len(packed) == _ENTRY * sum_count(size)


def is_complete(packed: bytes) -> bool:
    """Whether every block is known."""
    return all(array("Q", packed))


def array_of(packed: bytes) -> array[int]:
    """Return the sums as numbers, `UNKNOWN_HASH` where they are not known."""
    return _swapped(array("Q", packed))


def differs(path: Path, size: int, packed: bytes, look: Callable[[int], None] = lambda _: None) -> bool:
    """Read the `size` bytes of a file, and return whether a block is another than is known of it, or too few are there.

    `look` is told of each read. Blocks: for threads.
    """
    try:
        with path.open("rb", buffering=0) as file:
            for block_no, expected in enumerate(array_of(packed)):
                wanted = min(SUM_BYTES, size - block_no * SUM_BYTES)
                data = os.pread(file.fileno(), wanted, block_no * SUM_BYTES)
                look(len(data))
                if len(data) != wanted or expected not in (UNKNOWN_HASH, hash_block(data)):
                    return True
    except FileNotFoundError:
        return size > 0  # of an empty file there need not be one
    return False


class Sums:
    """The sums of a file that changes: known of blocks that were written in order, from their start to their end."""

    __slots__ = ("_at", "_end", "_known", "_size", "_state", "is_begun")

    def __init__(self) -> None:
        self._size = 0
        self._known: array[int] | None = None
        """None: of a file that is, or was, too long, or of which nobody has said what size it has."""
        self._state: xxhash.xxh3_64 | None = None
        """Of block `_at`, from its start to byte `_end` of the file."""
        self._at = self._end = 0
        self.is_begun = False

    def begin(self, size: int, packed: bytes | None = None) -> None:
        """The file has `size` bytes, of which `packed` is known; once begun, it is known better.

        What doesn't fit the size is not believed.
        """
        if self.is_begun:
            return
        self._size, self._known, self.is_begun = 0, array("Q"), True
        self._grow(size)
        if self._known and packed and fits(packed, size):
            self._known = array_of(packed)

    def forget(self) -> None:
        """Whatever is there is something else: to be begun again."""
        self._known, self._state, self.is_begun = None, None, False

    def wrote(self, offset: int, data: bytes | memoryview) -> None:
        """These bytes are there now."""
        if offset > self._size:
            self.cut(offset)
        self._grow(offset + len(data))
        while data and self._known is not None:
            room = SUM_BYTES - offset % SUM_BYTES
            self._wrote_block(offset, data[:room])
            offset, data = offset + room, data[room:]

    def cut(self, size: int) -> None:
        """The content was cut, or extended by zeros, to `size`."""
        if not size:
            self._size, self._known, self._state = 0, array("Q"), None
        elif size > self._size:
            self._extend(size)
        elif size < self._size:
            self._shrink(size)

    def put(self, found: Mapping[int, int]) -> None:
        """Somebody has read these blocks."""
        for block_no, value in found.items():
            if self._known is not None and block_no < len(self._known):
                self._known[block_no] = value

    def unknown(self) -> list[int]:
        """Return the blocks that somebody would have to read; of a file that is too long, none."""
        self._settle()
        return [n for n, value in enumerate(self._known or ()) if value == UNKNOWN_HASH]

    def packed(self) -> bytes | None:
        """Return all of them; None of a file that is too long."""
        if self._known is None:
            return None
        self._settle()
        return _swapped(self._known[:]).tobytes() or _NO_BYTES

    def _wrote_block(self, offset: int, piece: bytes | memoryview) -> None:
        assert self._known is not None
        block_no = offset // SUM_BYTES
        if self._state is not None and (block_no, offset) == (self._at, self._end):
            self._state.update(piece)
        else:
            self._settle()
            self._state = None if offset % SUM_BYTES else xxhash.xxh3_64(piece)
            self._at = block_no
        self._end = offset + len(piece)
        self._known[block_no] = UNKNOWN_HASH

    def _settle(self) -> None:
        """Note the block of the run, if the run has all of it; it may go on."""
        if self._state is None or self._known is None:
            return
        if self._end == min(self._size, (self._at + 1) * SUM_BYTES):
            self._known[self._at] = self._state.intdigest()

    def _shrink(self, size: int) -> None:
        if self._end > size:
            self._state = None
        if self._known is not None:
            del self._known[-(-size // SUM_BYTES) :]
            if size % SUM_BYTES:
                self._known[-1] = UNKNOWN_HASH
        self._size = size

    def _extend(self, size: int) -> None:
        """The zeros change the last block; of those that are nothing else it is known what they are."""
        self._settle()
        if self._known is not None and -(-size // SUM_BYTES) <= MAX_SUMS:
            if self._size % SUM_BYTES:
                self._known[-1], self._state = UNKNOWN_HASH, None
            self._known.extend([_ZEROS] * (size // SUM_BYTES - len(self._known)))
        self._grow(size)

    def _grow(self, size: int) -> None:
        """Be of that size, if it is more; nothing is known of the blocks that come to be."""
        count = -(-size // SUM_BYTES)
        if count > MAX_SUMS:
            self._known = self._state = None
        elif self._known is not None and count > len(self._known):
            self._known.extend([UNKNOWN_HASH] * (count - len(self._known)))
        self._size = max(size, self._size)


def _swapped(values: array[int]) -> array[int]:
    """Turn machine order into the highest byte first, or back; `values` itself is changed."""
    if sys.byteorder == "little":
        values.byteswap()
    return values
