"""How a large object is cut into the parts that the store copies."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fusecache.persist.copies import cut
from fusecache.persist.ranges import MAX_PARTS

MIB = 1 << 20


@pytest.mark.parametrize("size", [1, 5 * MIB, 12 * MIB + 1, 5 << 40])
def test_parts_cover_everything_once(size: int) -> None:
    extents = cut(size, 5 * MIB)
    assert len(extents) <= MAX_PARTS
    assert extents[0].offset == 0
    assert extents[-1].end == size
    assert all(left.end == right.offset for left, right in pairwise(extents))
