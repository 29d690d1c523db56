from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fusecache.cache.blocks import BlockHashes, BlockMap, full_map, span
from fusecache.cache.presence import Presence
from fusecache.types import Extent

COUNTS = st.integers(0, 70)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_span_is_the_blocks_that_are_touched(offset: int, length: int, end: int) -> None:
    touched = sorted({byte // 16 for byte in range(offset, offset + length) if byte < end})
    assert list(span(Extent(offset, length), end, 16)) == touched


@given(COUNTS, st.sets(st.integers(0, 69)), st.sets(st.integers(0, 69)), COUNTS)
def test_a_block_map_is_a_set(count: int, added: set[int], removed: set[int], cut: int) -> None:
    blocks, model = BlockMap(count), set[int]()
    for block_no in added & set(range(count)):
        assert blocks.add(block_no) is (block_no not in model)
        model.add(block_no)
    for block_no in removed:
        assert blocks.discard(block_no) is (block_no in model)
        model.discard(block_no)
    blocks.resize(cut)
    model = {n for n in model if n < cut} | set(range(count, cut))
    assert blocks.absent(range(cut)) == [n for n in range(cut) if n not in model]
    assert (blocks.size, blocks.full) == (len(model), len(model) == cut)
    again = BlockMap(cut, blocks.to_bytes() + b"\xff")
    assert again.to_bytes() == blocks.to_bytes()
    assert again.size == blocks.size


@given(COUNTS)
def test_a_full_map_has_every_block(count: int) -> None:
    assert BlockMap(count, full_map(count)).full


def test_hashes_are_unknown_until_put() -> None:
    hashes = BlockHashes()
    hashes.put(2, 7)
    assert [hashes.get(n) for n in range(5)] == [0, 0, 7, 0, 0]
    assert BlockHashes(hashes.to_bytes()).get(2) == 7
    hashes.forget(range(1, 9))
    assert hashes.get(2) == 0


def test_a_block_without_a_hash_is_absent_when_doubted() -> None:
    presence = Presence(3, b"\x07")
    presence.written(range(1, 2))
    presence.adopt(3, b"".join(value.to_bytes(8, "little") for value in (5, 0, 6)), is_as_long=True)
    presence.doubt_all()
    assert [presence.doubtful_hash(n) for n in range(3)] == [5, None, 6]
    presence.add(0, 5)
    presence.refute(2)
    assert not presence.doubts
    assert presence.absent(range(3)) == [1, 2]
    assert presence.bits_on_disk() == b"\x01"
