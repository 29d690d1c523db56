"""The bytes of a dirty file on their way to a store, compared with what was written as they are sent."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fusecache.backends.sources import SourceTruncated
from fusecache.cache.blocks import hash_block
from fusecache.cache.sums import SUM_BYTES, array_of, fits, sum_count, sum_of
from fusecache.errors import PermanentBackendError
from fusecache.types import InodeNo


class BytesChanged(PermanentBackendError):
    """The cache disk has other bytes than were written, and nobody wrote through the mount."""


class Proof:
    """What the blocks of one generation of a file hash to, as far as it is known: of those that were read, always."""

    def __init__(self, ino: InodeNo, size: int, sums: bytes | None) -> None:
        """`sums` as `cache.sums` packs them; None, or those of another size: nothing is known."""
        self._ino = ino
        self.size = size
        self._sums = sums if sums is not None and fits(sums, size) else b""
        self._read: dict[int, int] = {}

    def hashes(self) -> bytes:
        """Return them as the index keeps those of blocks of that size; empty: nothing is known."""
        if not self.size or not (self._sums or self._read):
            return b""
        known = array_of(self._sums or bytes(8 * sum_count(self.size)))
        for block_no, value in self._read.items():
            known[block_no] = value
        return known.tobytes()

    def check(self, block_no: int, data: bytes) -> None:
        """Compare a block of `SUM_BYTES`, the last one perhaps short, with what was written, or find out what it is.

        Raises:
            BytesChanged: it is another.
        """
        expected, found = sum_of(self._sums, block_no), hash_block(data)
        if expected is None:
            self._read[block_no] = found
        elif found != expected:
            raise BytesChanged(
                f"the bytes of inode {self._ino} on the cache disk changed behind our back, between bytes "
                f"{block_no * SUM_BYTES} and {block_no * SUM_BYTES + len(data)}: they are kept, and not sent"
            )


class ProvenRange:
    """A range of a file, as `FileRange` by a descriptor; each block is compared as a whole before any of it is sent."""

    def __init__(self, fd: int, offset: int, length: int, proof: Proof) -> None:
        self._fd = fd
        self._offset = offset
        self._length = length
        self._proof = proof

    @property
    def length(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """Yield the range in chunks.

        Raises:
            SourceTruncated: the file is shorter than promised. BytesChanged: it is not what was written.
        """
        begin, end = self._offset, self._offset + self._length
        for block_no in range(begin // SUM_BYTES, -(-end // SUM_BYTES)):
            start = block_no * SUM_BYTES
            data = os.pread(self._fd, min(SUM_BYTES, self._proof.size - start), start)
            if start + len(data) < min(end, start + SUM_BYTES):
                raise SourceTruncated(f"its file ends at byte {start + len(data)}, {end} were promised")
            self._proof.check(block_no, data)
            yield data[max(0, begin - start) : end - start]
