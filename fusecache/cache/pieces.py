"""Pages of absent blocks that are here: what random reads fetch without the rest of a block. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fusecache.types import Extent

PAGE_BYTES = 4096
"""What the kernel reads at least."""
_MAX_BLOCKS = 1 << 14
"""Of a file, of which pages are noted; of others they are fetched again."""
_NUMBER_BYTES = 8


def aligned(extent: Extent, end: int) -> Extent:
    """Return the whole pages that `extent` touches, below byte `end`."""
    start = extent.offset - extent.offset % PAGE_BYTES
    return Extent(start, max(0, min(end, -(-extent.end // PAGE_BYTES) * PAGE_BYTES) - start))


def pieces_of(block_size: int, packed: bytes = b"") -> Pieces:
    """Return what notes pieces of such blocks, beginning with what `Pieces.packed` returned."""
    return Pieces(max(1, block_size // PAGE_BYTES), packed)


class Pieces:
    """A mask of pages for each block that has some: `pages` a block, the lowest bit first."""

    __slots__ = ("_masks", "_pages")

    def __init__(self, pages: int, packed: bytes = b"") -> None:
        """Begin with what `packed` returned for blocks of as many pages."""
        self._pages = pages
        width = _NUMBER_BYTES + (pages + 7) // 8
        rows = (packed[at : at + width] for at in range(0, len(packed), width))
        self._masks = {_number(row[:_NUMBER_BYTES]): _number(row[_NUMBER_BYTES:]) for row in rows}

    def __len__(self) -> int:
        return len(self._masks)

    def __iter__(self) -> Iterator[int]:
        return iter(self._masks)

    def add(self, extent: Extent) -> None:
        """Note the pages that `extent` touches: all of their bytes are here."""
        for block_no, mask in self._split(extent):
            self._masks[block_no] = self._masks.pop(block_no, 0) | mask
            if len(self._masks) > _MAX_BLOCKS:
                del self._masks[next(iter(self._masks))]

    def lacks(self, block_no: int, extent: Extent) -> bool:
        """Whether a page of `extent` that is in this block is not here."""
        here = self._masks.get(block_no, 0)
        return any(mask & ~here for number, mask in self._split(extent) if number == block_no)

    def discard(self, blocks: Iterable[int]) -> None:
        """All of these blocks is here, or nothing of them."""
        for block_no in blocks if self._masks else ():
            self._masks.pop(block_no, None)

    @property
    def size_bytes(self) -> int:
        return PAGE_BYTES * sum(mask.bit_count() for mask in self._masks.values())

    def clear(self) -> None:
        self._masks.clear()

    def packed(self) -> bytes:
        """Return them as the constructor takes them."""
        width = (self._pages + 7) // 8
        rows = self._masks.items()
        return b"".join(n.to_bytes(_NUMBER_BYTES, "little") + mask.to_bytes(width, "little") for n, mask in rows)

    def _split(self, extent: Extent) -> Iterator[tuple[int, int]]:
        page, stop = extent.offset // PAGE_BYTES, -(-extent.end // PAGE_BYTES)
        while page < stop:
            block_no, first = divmod(page, self._pages)
            count = min(stop - page, self._pages - first)
            yield block_no, ((1 << count) - 1) << first
            page += count


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
