"""Parts cover a file exactly, each is as large as a store wants it, and what need not be sent is copied."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusecache.persist.ranges import MAX_COPIED_BYTES, MAX_PARTS, Part, plan_parts
from fusecache.types import Extent

MIB, GIB = 1 << 20, 1 << 30
LEAST = 5 * MIB


@st.composite
def files(draw: st.DrawFn) -> tuple[int, list[Extent]]:
    """A size, and extents below it that are apart."""
    gaps = draw(st.lists(st.tuples(st.integers(0, 40 * MIB), st.integers(1, 60 * MIB)), max_size=8))
    extents, position = [], 0
    for gap, length in gaps:
        extents.append(Extent(position + gap, length))
        position += gap + length
    return position + draw(st.integers(0 if position else 1, 40 * MIB)), extents


def check(parts: list[Part], size: int, unchanged: list[Extent], least: int) -> None:
    assert parts[0].extent.offset == 0
    assert all(one.extent.end == other.extent.offset for one, other in pairwise(parts))
    assert parts[-1].extent.end == size
    assert all(part.extent.length >= least for part in parts[:-1])
    assert parts[-1].extent.length > 0
    assert len(parts) <= MAX_PARTS
    for part in parts:
        assert not part.is_copied or part.extent.length <= MAX_COPIED_BYTES
        assert not part.is_copied or any(
            each.offset <= part.extent.offset and part.extent.end <= each.end for each in unchanged
        )


@given(files(), st.sampled_from([LEAST, 6 * MIB, 16 * MIB, 5 * GIB]))
@example((12 * MIB, [Extent(MIB, 11 * MIB)]), LEAST)
def test_any_file(file: tuple[int, list[Extent]], part_bytes: int) -> None:
    size, unchanged = file
    parts = plan_parts(size, part_bytes=part_bytes, least_bytes=LEAST, unchanged=unchanged)
    check(parts, size, unchanged, LEAST)
    assert all(part.extent.length <= max(part_bytes, 4 * LEAST) for part in parts if not part.is_copied)
    copied = sum(part.extent.length for part in parts if part.is_copied)
    assert copied >= sum(each.length - LEAST for each in unchanged if each.length >= 2 * LEAST)


@pytest.mark.parametrize("size", [1, 16 * MIB, 16 * MIB + 1, 100 * GIB, 5 << 40])
def test_what_is_all_new_goes_in_equal_parts(size: int) -> None:
    parts = plan_parts(size, part_bytes=16 * MIB, least_bytes=LEAST)
    check(parts, size, [], LEAST)
    assert len({part.extent.length for part in parts[:-1]}) <= 1
    assert not any(part.is_copied for part in parts)


def test_an_append_sends_what_was_appended() -> None:
    old, size = 10 * GIB, 10 * GIB + MIB
    parts = plan_parts(size, part_bytes=16 * MIB, least_bytes=LEAST, unchanged=[Extent(0, old)])
    assert [part for part in parts if not part.is_copied] == [Part(Extent(old, MIB), False)]
    assert len(parts) == 21


def test_a_change_in_the_middle_sends_one_part() -> None:
    unchanged = [Extent(0, 5 * GIB), Extent(5 * GIB + MIB, 5 * GIB - MIB)]
    parts = plan_parts(10 * GIB, part_bytes=16 * MIB, least_bytes=LEAST, unchanged=unchanged)
    assert [part for part in parts if not part.is_copied] == [Part(Extent(5 * GIB, LEAST), False)]


def test_of_too_many_extents_the_large_ones_are_copied() -> None:
    """As large as an object may be, a MiB of every eight is changed; and one piece isn't."""
    step, size = 8 * MIB, 256 * GIB
    unchanged = [Extent(at, step - MIB) for at in range(0, size // 2, step)]
    unchanged.append(Extent(size // 2, size // 2))
    parts = plan_parts(size, part_bytes=32 * MIB, least_bytes=LEAST, unchanged=unchanged)
    check(parts, size, unchanged, LEAST)
    assert sum(part.extent.length for part in parts if part.is_copied) >= size // 2 - LEAST
