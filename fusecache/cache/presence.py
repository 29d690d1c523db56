"""Which blocks of a content are here, which may be, and their hashes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fusecache.cache.blocks import UNKNOWN_HASH, BlockHashes, BlockMap, full_map
from fusecache.cache.pieces import Pieces


class Presence:
    """The blocks below `count`, those that a version in the store can supply.

    A block is *present*, *doubtful* (on disk, but from before the machine went down: to be compared
    with its hash before use) or absent. A dirty content knows which are *changed*, too: the others are that version's.
    Of some absent ones `pieces` are here.
    """

    __slots__ = ("_changed", "_doubtful", "_hand", "_hashes", "_present", "count", "pieces")

    def __init__(
        self,
        count: int,
        bits: bytes | None,
        hashes: bytes = b"",
        *,
        changed: bytes | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        """Begin with the blocks of `bits` present; None: all of them. `changed` None: nobody keeps count of them."""
        self.count = count
        self.pieces = Pieces(1) if pieces is None else pieces
        self._changed: BlockMap | None = None if changed is None else BlockMap(count, changed)
        self._present: BlockMap | None = None if bits is None else BlockMap(count, bits)
        self._doubtful: BlockMap | None = None
        self._hashes = BlockHashes(hashes)
        self._hand = 0
        self._settle()

    @property
    def whole(self) -> bool:
        """Whether every block is present."""
        return self._present is None

    @property
    def doubts(self) -> bool:
        """Whether some blocks are doubtful."""
        return self._doubtful is not None

    @property
    def size(self) -> int:
        """How many blocks are present."""
        return self.count if self._present is None else self._present.size

    def __contains__(self, block_no: int) -> bool:
        return block_no >= self.count or self._present is None or block_no in self._present

    def absent(self, blocks: range) -> list[int]:
        """Return those of `blocks` that are not present, doubtful ones included."""
        if self._present is None:
            return []
        return self._present.absent(range(blocks.start, min(blocks.stop, self.count)))

    def add(self, block_no: int, value: int) -> None:
        """A block arrived, or proved right; `value` is its hash."""
        assert self._present is not None
        self._present.add(block_no)
        self.pieces.discard((block_no,))
        self._hashes.put(block_no, value)
        if self._doubtful is not None:
            self._doubtful.discard(block_no)
        self._settle()

    def track(self) -> None:
        """Keep count of what is written from now on."""
        self._changed = BlockMap(self.count)

    def mark(self, blocks: range) -> bool:
        """Note that those of `blocks` which are present are about to be overwritten. True if that is new."""
        if self._changed is None:
            return False
        before = self._changed.size
        for block_no in range(blocks.start, min(blocks.stop, self.count)):
            if block_no in self:
                self._changed.add(block_no)
        return self._changed.size > before

    def unchange(self, blocks: range) -> None:
        """Those of `blocks` are as in the store after all."""
        assert self._changed is not None
        for block_no in blocks:
            self._changed.discard(block_no)

    def unchanged(self) -> list[int]:
        """Return the blocks that are still as in the store."""
        return list(range(self.count)) if self._changed is None else self._changed.absent(range(self.count))

    def changed_bits(self) -> bytes | None:
        """Return the others, the lowest bit first; None if nobody keeps count."""
        return None if self._changed is None else self._changed.to_bytes()

    def written(self, blocks: range) -> bool:
        """Note that `blocks` were overwritten: present, changed, hash unknown. True if a map changed."""
        self._hashes.forget(blocks)
        self.pieces.discard(blocks)
        if self._present is None:
            return self.mark(blocks)
        changed = False
        for block_no in range(blocks.start, min(blocks.stop, self.count)):
            changed |= self._present.add(block_no)
            if self._doubtful is not None:
                self._doubtful.discard(block_no)
        changed |= self.mark(blocks)
        self._settle()
        return changed

    def resize(self, count: int) -> None:
        """Cut at `count` blocks, or extend by present ones. The old tail block, or the cut one, loses its hash."""
        self._hashes.forget(range(max(0, min(count, self.count) - 1), self.count))
        self.pieces.clear()
        for known in (self._present, self._changed):
            if known is not None:
                known.resize(count)
        if self._doubtful is not None and count < self._doubtful.count:
            self._doubtful.resize(count)
        self.count = count
        self._settle()

    def discard(self, blocks: range) -> None:
        """These are absent now, and not doubtful, and no piece of them is here."""
        self.pieces.discard(blocks)
        self._present = BlockMap(self.count, self.bits())
        for block_no in blocks:
            self._present.discard(block_no)
            if self._doubtful is not None:
                self._doubtful.discard(block_no)
        self._hashes.forget(blocks)
        self._settle()

    def next(self, count: int) -> range:
        """Return `count` or fewer neighbours that are on disk, from where this left off; then from the first."""
        if not (found := self._run(self._hand, count)) and self._hand:
            found = self._run(0, count)
        self._hand = found.stop if found else 0
        return found

    def _run(self, start: int, count: int) -> range:
        bits = self._bits_with_pieces()
        rest = bits[start // 8 :].lstrip(b"\0")  # a long absent run costs nothing
        start = max(start, 8 * (len(bits) - len(rest)))
        on_disk = BlockMap(self.count, bits)
        start = next((n for n in range(start, self.count) if n in on_disk), self.count)
        end = min(self.count, start + count)
        return range(start, next((n for n in range(start, end) if n not in on_disk), end))

    def _bits_with_pieces(self) -> bytes:
        on_disk = BlockMap(self.count, self.bits_on_disk() or full_map(self.count))
        for block_no in self.pieces:
            on_disk.add(block_no)
        return on_disk.to_bytes()

    def bytes_here(self, block_size: int, size: int) -> int:
        """Return how many of `size` bytes, which end in the last block, are in present blocks."""
        here = self.size * block_size
        return here - (self.count * block_size - size) if self.count - 1 in self else here

    def doubt_all(self) -> None:
        """Make what is present doubtful if it has a hash to compare with, else absent; pieces have none."""
        self.pieces.clear()
        bits = BlockMap(self.count, self.bits())
        for block_no in range(self.count):
            if self._hashes.get(block_no) == UNKNOWN_HASH:
                bits.discard(block_no)
        self._present = BlockMap(self.count)
        self._doubtful = bits
        self._settle()

    def doubtful_hash(self, block_no: int) -> int | None:
        """Return what a doubtful block must hash to; None if it isn't doubtful."""
        if self._doubtful is None or block_no not in self._doubtful:
            return None
        return self._hashes.get(block_no)

    def hashes_of(self, blocks: Iterable[int]) -> dict[int, int]:
        """Return the hashes of those of `blocks` that are present, as far as they are known."""
        found = {n: self._hashes.get(n) for n in blocks if n < self.count and n in self}
        return {n: value for n, value in found.items() if value != UNKNOWN_HASH}

    def refute(self, block_no: int) -> None:
        """A doubtful block proved wrong: it is absent."""
        assert self._doubtful is not None
        self._doubtful.discard(block_no)
        self._hashes.forget(range(block_no, block_no + 1))
        self._settle()

    def bits(self) -> bytes:
        """Return the present blocks, the lowest bit first."""
        return full_map(self.count) if self._present is None else self._present.to_bytes()

    def bits_on_disk(self) -> bytes | None:
        """Return the present and the doubtful blocks; None = all."""
        if self._present is None or self._doubtful is None:
            return None if self._present is None else self._present.to_bytes()
        both = zip(self._present.to_bytes(), self._doubtful.to_bytes().ljust(len(self.bits()), b"\0"), strict=True)
        return bytes(a | b for a, b in both)

    def hashes(self) -> bytes:
        return self._hashes.to_bytes()

    def adopt(self, count: int, hashes: bytes, *, is_as_long: bool) -> None:
        """The blocks are those of another version, with these hashes if they were just read whole."""
        if not is_as_long:
            self.resize(count)
        if hashes:
            self._hashes = BlockHashes(hashes)

    def _settle(self) -> None:
        """Drop what says nothing: a full map, and doubts that are all resolved."""
        if self._doubtful is not None and not self._doubtful.size:
            self._doubtful = None
        if self._present is not None and self._present.full:
            self._present = None
