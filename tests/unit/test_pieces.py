"""Parts of blocks: noted, kept over a restart, and forgotten whenever the bytes may be others."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusecache.cache.contents import Base, Content, Contents
from fusecache.cache.index import ContentIndex
from fusecache.cache.partial import keep, lacking
from fusecache.cache.pieces import PAGE_BYTES as PAGE
from fusecache.cache.pieces import Pieces, aligned, pieces_of
from fusecache.cache.shrink import can_shrink, lose, shrink
from fusecache.types import ETag, Extent, InodeNo, ObjectKey, StoreNo

BLOCK = 4 * PAGE
SIZE = 3 * BLOCK + PAGE + 5
BODY = bytes(n * 31 // 7 % 251 for n in range(SIZE))
BASE = Base(StoreNo(3), ObjectKey("k"), ETag("e"), SIZE)
INO = InodeNo(7)


def contents_at(root: Path, *, boot_id: str = "b") -> Contents:
    return Contents(root, ContentIndex(root / "index.db"), block_size=BLOCK, boot_id=boot_id)


def opened(contents: Contents) -> Content:
    return contents.open(INO, size=SIZE, base=BASE)


def kept(content: Content, extent: Extent) -> None:
    keep(content, extent, memoryview(BODY)[extent.offset : extent.end])


def test_an_extent_is_widened_to_pages_and_ends_with_the_bytes() -> None:
    assert aligned(Extent(1, 1), SIZE) == Extent(0, PAGE)
    assert aligned(Extent(PAGE, PAGE + 1), SIZE) == Extent(PAGE, 2 * PAGE)
    assert aligned(Extent(SIZE - 1, 1), SIZE) == Extent(3 * BLOCK + PAGE, 5)


def test_pages_of_several_blocks_survive_packing() -> None:
    pieces = pieces_of(BLOCK)
    pieces.add(Extent(3 * PAGE, 2 * PAGE))
    pieces.add(Extent(7 * PAGE, 5))
    again = pieces_of(BLOCK, pieces.packed())
    assert list(again) == [0, 1]
    assert again.size_bytes == 3 * PAGE
    assert not again.lacks(0, Extent(3 * PAGE, BLOCK))
    assert again.lacks(1, Extent(0, 6 * PAGE))
    again.discard(range(2))
    assert not again.packed()


def test_so_many_blocks_are_noted_and_no_more() -> None:
    pieces = Pieces(1)
    for n in range(20_000):
        pieces.add(Extent(n * PAGE, PAGE))
    assert len(pieces) == 1 << 14
    assert pieces.lacks(0, Extent(0, 1))


def test_a_read_lacks_what_is_not_here_and_no_more(tmp_path: Path) -> None:
    contents = contents_at(tmp_path)
    content = opened(contents)
    assert lacking(content, Extent(PAGE + 1, 10)) == Extent(PAGE, PAGE)
    kept(content, Extent(PAGE, PAGE))
    assert lacking(content, Extent(PAGE + 1, 10)) is None
    assert content.pread(PAGE, PAGE) == BODY[PAGE : 2 * PAGE]
    assert content.cached_bytes == PAGE
    content.fill(1, BODY[BLOCK : 2 * BLOCK])
    assert lacking(content, Extent(0, 3 * BLOCK)) == Extent(0, 3 * BLOCK)
    assert lacking(content, Extent(PAGE, BLOCK - PAGE)) == Extent(PAGE, 3 * PAGE)
    assert lacking(content, Extent(BLOCK, BLOCK)) is None
    assert lacking(content, Extent(SIZE - 2, 100)) == Extent(3 * BLOCK + PAGE, 5)
    assert content.missing(Extent(0, SIZE)) == [0, 2, 3], "a part is no block"
    content.close()
    contents.close()


def test_what_was_kept_is_here_after_a_restart_but_not_after_a_reboot(tmp_path: Path) -> None:
    contents = contents_at(tmp_path)
    content = opened(contents)
    kept(content, Extent(PAGE, PAGE))
    content.close()
    contents.close()
    contents = contents_at(tmp_path)
    content = opened(contents)
    assert lacking(content, Extent(PAGE, PAGE)) is None
    assert content.pread(PAGE, PAGE) == BODY[PAGE : 2 * PAGE]
    content.close()
    contents.close()
    contents = contents_at(tmp_path, boot_id="another")
    content = opened(contents)
    assert lacking(content, Extent(PAGE, PAGE)) == Extent(PAGE, PAGE)
    content.close()
    contents.close()


@pytest.mark.parametrize("change", ["write", "cut", "lose"])
def test_where_the_bytes_become_others_nothing_is_left_of_them(tmp_path: Path, change: str) -> None:
    contents = contents_at(tmp_path)
    content = opened(contents)
    kept(content, Extent(PAGE, PAGE))
    if change == "write":
        content.pwrite(0, bytes(BLOCK))
        kept(content, Extent(PAGE, PAGE))  # it was on its way meanwhile
        assert lacking(content, Extent(PAGE, PAGE)) is None
        assert content.pread(0, BLOCK) == bytes(BLOCK)
    elif change == "cut":
        content.truncate(PAGE + 1)
        content.truncate(SIZE)
        assert lacking(content, Extent(PAGE, 1)) == Extent(PAGE, 1)
    else:
        lose(content, range(1))
        assert lacking(content, Extent(PAGE, PAGE)) == Extent(PAGE, PAGE)
    assert content.presence is not None
    assert not content.presence.pieces
    content.close()
    contents.close()


def test_parts_are_given_up_for_room_as_blocks_are(tmp_path: Path) -> None:
    contents = contents_at(tmp_path)
    content = opened(contents)
    kept(content, Extent(2 * BLOCK, PAGE))
    assert can_shrink(content)
    assert shrink(content, PAGE) == PAGE
    assert content.cached_bytes == 0
    assert not can_shrink(content)
    content.close()
    contents.close()
