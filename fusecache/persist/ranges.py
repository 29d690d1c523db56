"""How a file is cut into parts: what is sent, and what the store copies from the version it was made from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fusecache.types import Extent

MAX_PARTS = 10_000
"""S3's limit."""
MAX_COPIED_BYTES = 512 << 20
"""Of a part: S3 takes up to 5 GiB, and copies parts side by side, at some 100 MB/s each."""


class Part(NamedTuple):
    """A part of an object to be: number 1 is the first of its plan."""

    extent: Extent
    is_copied: bool


def plan_parts(size: int, *, part_bytes: int, least_bytes: int, unchanged: Sequence[Extent] = ()) -> list[Part]:
    """Cut `size` bytes (> 0) into at most `MAX_PARTS` parts, each but the last of at least `least_bytes`.

    What is sent goes in parts of about `part_bytes` (≥ `least_bytes`), more if there would be too many. Copied is what
    lies in one of the `unchanged` extents (ascending, apart from each other), as far as it makes parts that are large
    enough; where there would be too many, only the large ones.
    """
    part_bytes = max(part_bytes, -(-size // MAX_PARTS))
    shortest = least_bytes
    while True:
        pieces = _apart([extent for extent in unchanged if extent.length >= shortest], size, least_bytes)
        parts = [part for piece in pieces for part in _cut(piece, size, part_bytes, least_bytes)]
        if len(parts) <= MAX_PARTS:
            return parts
        shortest *= 2


def _apart(copied: Iterable[Extent], size: int, least_bytes: int) -> list[Part]:
    """Return what to send and what to copy in turn. What is sent takes of what follows until it is large enough."""
    pieces: list[Part] = []
    sent_from = 0
    for extent in copied:
        start = max(extent.offset, sent_from)
        if start > sent_from:
            start = max(start, sent_from + least_bytes)
        if extent.end - start < least_bytes:
            continue
        if start > sent_from:
            pieces.append(Part(Extent(sent_from, start - sent_from), False))
        pieces.append(Part(Extent(start, extent.end - start), True))
        sent_from = extent.end
    if sent_from < size:
        pieces.append(Part(Extent(sent_from, size - sent_from), False))
    return pieces


def _cut(piece: Part, size: int, part_bytes: int, least_bytes: int) -> Iterable[Part]:
    """Cut a piece into parts: evenly, so that none is too short; at the end of the file the last may be."""
    (offset, length), is_copied = piece
    step = max(MAX_COPIED_BYTES, least_bytes) if is_copied else part_bytes
    if is_copied or offset + length < size:
        count = -(-length // step)
        count = max(1, min(count, length // least_bytes))
        step = -(-length // count)
    for start in range(offset, offset + length, step):
        yield Part(Extent(start, min(step, offset + length - start)), is_copied)
