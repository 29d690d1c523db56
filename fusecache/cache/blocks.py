"""Fixed-size blocks of a file: which are here, and what they hashed to. Pure."""

from __future__ import annotations

from array import array

import xxhash

from fusecache.types import Extent

BLOCK_BYTES = 1 << 20
"""Default block: large enough that a request's overhead vanishes, small enough for a random read."""

UNKNOWN_HASH = 0
"""Stands for "not hashed". A block that really hashes to it is merely fetched once more."""

_ALL = 0xFF


def block_count(size: int, block_size: int) -> int:
    """Return how many blocks `size` bytes take, the last one perhaps short."""
    return -(-size // block_size)


def span(extent: Extent, end: int, block_size: int) -> range:
    """Return the numbers of the blocks that `extent` touches below byte `end`."""
    stop = min(extent.end, end)
    if stop <= extent.offset:
        return range(0)
    return range(extent.offset // block_size, block_count(stop, block_size))


def hash_block(data: bytes | memoryview) -> int:
    """Return the xxh3_64 of a block."""
    return xxhash.xxh3_64_intdigest(data)


class BlockMap:
    """A set of block numbers below `count`: one bit a block, the lowest bit first."""

    __slots__ = ("_bits", "count", "size")

    def __init__(self, count: int, bits: bytes = b"") -> None:
        """Take the first `count` bits of `bits`; what it is too short for is absent."""
        width = (count + 7) // 8
        self._bits = bytearray(bits[:width])
        self._bits.extend(bytes(width - len(self._bits)))
        self.count = count
        self._cut()

    def __contains__(self, block_no: int) -> bool:
        return block_no < self.count and bool(self._bits[block_no >> 3] >> (block_no & 7) & 1)

    @property
    def full(self) -> bool:
        """Whether every block below `count` is in the set."""
        return self.size == self.count

    def add(self, block_no: int) -> bool:
        """Put `block_no` in; False if it was there."""
        if block_no in self:
            return False
        self._bits[block_no >> 3] |= 1 << (block_no & 7)
        self.size += 1
        return True

    def discard(self, block_no: int) -> bool:
        """Take `block_no` out; False if it was not there."""
        if block_no not in self:
            return False
        self._bits[block_no >> 3] &= ~(1 << (block_no & 7))
        self.size -= 1
        return True

    def absent(self, blocks: range) -> list[int]:
        """Return those of `blocks` that are not in the set, ascending."""
        found = []
        block_no = blocks.start
        while block_no < blocks.stop:
            if not block_no & 7 and self._bits[block_no >> 3] == _ALL:
                block_no += 8  # a long present run costs a step a byte
                continue
            if block_no not in self:
                found.append(block_no)
            block_no += 1
        return found

    def resize(self, count: int) -> None:
        """Cut the set at `count`, or extend it with blocks that are all in it."""
        before = self.count
        width = (count + 7) // 8
        del self._bits[width:]
        self._bits.extend(bytes(width - len(self._bits)))
        self.count = count
        self._cut()
        for block_no in range(before, count):
            self.add(block_no)

    def to_bytes(self) -> bytes:
        """Return the bits, as the constructor takes them."""
        return bytes(self._bits)

    def _cut(self) -> None:
        """Clear the bits past `count` in the last byte, and count the others."""
        if self.count & 7:
            self._bits[-1] &= (1 << (self.count & 7)) - 1
        self.size = int.from_bytes(self._bits, "little").bit_count()


def full_map(count: int) -> bytes:
    """Return the bits of a map in which all of `count` blocks are present."""
    return ((1 << count) - 1).to_bytes((count + 7) // 8, "little")


class BlockHashes:
    """The xxh3_64 of each block, as far as it is known."""

    __slots__ = ("_hashes",)

    def __init__(self, data: bytes = b"") -> None:
        self._hashes = array("Q", data)

    def get(self, block_no: int) -> int:
        return self._hashes[block_no] if block_no < len(self._hashes) else UNKNOWN_HASH

    def put(self, block_no: int, value: int) -> None:
        gap = block_no + 1 - len(self._hashes)
        if gap > 0:
            self._hashes.frombytes(bytes(8 * gap))
        self._hashes[block_no] = value

    def forget(self, blocks: range) -> None:
        """Drop the hashes of blocks that were written."""
        for block_no in range(blocks.start, min(blocks.stop, len(self._hashes))):
            self._hashes[block_no] = UNKNOWN_HASH

    def to_bytes(self) -> bytes:
        return self._hashes.tobytes()
