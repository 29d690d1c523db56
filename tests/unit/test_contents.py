"""What a content keeps over closes and restarts, what it doubts, and when it reads its object."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fusecache.cache.blocks import hash_block
from fusecache.cache.contents import ContentLost
from fusecache.errors import NoSpace
from fusecache.types import Extent, InodeNo
from tests.unit.content_builders import BLOCK, INO, KEY, STORE, base_of, fetch, open_contents, read_all


def test_an_empty_new_content_costs_no_file(tmp_path: Path) -> None:
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=0, base=None, create=True)
    assert content.pread(0, 10) == b""
    content.truncate(0)
    content.close()
    assert not contents.exists(INO)
    contents.close()


def test_an_inode_has_one_content_until_its_last_close(tmp_path: Path) -> None:
    contents = open_contents(tmp_path)
    first = contents.open(INO, size=0, base=None, create=True)
    second = contents.open(INO, size=0, base=None)
    assert first is second
    first.pwrite(0, b"abc")
    first.close()
    assert second.pread(0, 3) == b"abc"
    second.close()
    assert contents.open(INO, size=3, base=None) is not second


def test_a_removed_content_works_until_its_last_close(tmp_path: Path) -> None:
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=0, base=None, create=True)
    contents.remove(INO)
    content.pwrite(0, b"abc")
    assert content.pread(0, 3) == b"abc"
    assert not contents.exists(INO)
    content.close()
    contents.remove(INO)
    assert contents.used_bytes() == 0


def test_a_clean_content_survives_a_restart(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    assert fetch(content, body, Extent(0, 20)) == [0, 1]
    assert content.cached_bytes == 32
    content.close()
    contents.close()

    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    assert content.missing(Extent(0, 40)) == [2]
    assert content.pread(0, 32) == body[:32]
    content.close()


def test_another_version_is_not_mixed_with_what_is_here(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    read_all(content, body)
    content.close()
    other = contents.open(INO, size=40, base=base_of(body, "another"))
    assert other.missing(Extent(0, 40)) == [0, 1, 2]
    assert read_all(other, bytes(40)) == bytes(40)
    other.close()


def test_without_the_index_a_clean_file_is_a_hole_and_a_dirty_one_whole(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    clean = contents.open(INO, size=40, base=base_of(body))
    read_all(clean, body)
    dirty = contents.open(InodeNo(5), size=0, base=None, create=True)
    dirty.pwrite(0, body)
    clean.close()
    dirty.close()
    contents.close()
    used_bytes = contents.used_bytes()
    (tmp_path / "index.db").write_bytes(b"not a database, though it has a few bytes")

    contents = open_contents(tmp_path)
    assert (tmp_path / "index.db.bad").exists()
    assert contents.used_bytes() == used_bytes > 0
    assert contents.open(INO, size=40, base=base_of(body)).missing(Extent(0, 40)) == [0, 1, 2]
    assert contents.open(InodeNo(5), size=40, base=None).pread(0, 40) == body


def test_an_index_damaged_while_in_use_is_begun_anew(tmp_path: Path) -> None:
    contents = open_contents(tmp_path)
    contents.flush_index()
    contents._index._db.execute("DROP TABLE content")
    body = bytes(range(40))
    content = contents.open(INO, size=40, base=base_of(body))
    assert read_all(content, body) == body
    content.close()
    contents.flush_index()
    assert contents.open(INO, size=40, base=base_of(body)).whole


def test_a_bad_block_is_found_once_after_an_unclean_boot(tmp_path: Path) -> None:
    body = bytes(range(48))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=48, base=base_of(body))
    read_all(content, body)
    os.pwrite(content.fd(), b"?", 20)
    content.close()
    contents.close()

    contents = open_contents(tmp_path, boot_id="second")
    content = contents.open(INO, size=48, base=base_of(body))
    assert not content.whole
    assert content.missing(Extent(0, 48)) == [1]
    assert content.missing(Extent(0, 48)) == [1]
    assert contents.bad_blocks() == 1
    assert read_all(content, body) == body
    assert content.whole


def test_a_write_to_a_fetched_block_of_a_dirty_file_asks_for_a_commit(tmp_path: Path) -> None:
    """Else the namespace's map lacks it, and after a kill the write is fetched over."""
    body = bytes(range(48))
    content = open_contents(tmp_path).open(INO, size=48, base=base_of(body))
    content.pwrite(0, bytes(BLOCK))
    assert content.map_unsaved
    content.map_saved()
    content.fill(1, body[16:32])
    content.pwrite(20, b"x")
    assert content.map_unsaved
    assert content.block_map() == b"\x03"


def test_changed_bytes_lose_their_label_at_once(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    read_all(content, body)
    contents.flush_index()
    content.pwrite(0, b"not committed by anybody")

    after_kill = open_contents(tmp_path).open(INO, size=40, base=base_of(body))
    assert after_kill.missing(Extent(0, 40)) == [0, 1, 2]


def test_lost_dirty_bytes_are_not_zeros(tmp_path: Path) -> None:
    content = open_contents(tmp_path).open(INO, size=40, base=None)
    with pytest.raises(ContentLost):
        content.pread(0, 40)


def test_an_object_is_read_until_the_content_is_whole_or_closed(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    assert contents.readers_of(STORE, KEY)
    read_all(content, body)
    assert not contents.readers_of(STORE, KEY)
    other = contents.open(InodeNo(7), size=40, base=base_of(body))
    other.truncate(0)
    assert not contents.readers_of(STORE, KEY)
    third = contents.open(InodeNo(8), size=40, base=base_of(body))
    third.close()
    assert not contents.readers_of(STORE, KEY)


def test_a_write_cut_short_by_a_full_disk_leaves_no_torn_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pwrite, on a disk that takes 20 bytes more."""
    body = bytes(range(48))
    content = open_contents(tmp_path).open(INO, size=48, base=base_of(body))
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:20], offset))
    assert content.pwrite(0, b"x" * 48) == BLOCK
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:5], offset))
    with pytest.raises(NoSpace):
        content.pwrite(BLOCK, b"x" * BLOCK)
    monkeypatch.undo()
    assert read_all(content, body) == b"x" * BLOCK + body[BLOCK:]


def test_a_fetch_that_lands_late_does_not_undo_a_write(tmp_path: Path) -> None:
    body = bytes(range(48))
    content = open_contents(tmp_path).open(INO, size=48, base=base_of(body))
    content.pwrite(0, b"x" * BLOCK)
    content.fill(0, body[:16])
    content.fill(1, body[16:32])
    content.pwrite(20, b"yy")
    content.fill(1, body[16:32])
    assert content.pread(0, 32) == b"x" * BLOCK + body[16:20] + b"yy" + body[22:32]


def test_what_was_not_verified_yet_is_doubted_again(tmp_path: Path) -> None:
    body = bytes(range(48))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=48, base=base_of(body))
    read_all(content, body)
    os.pwrite(content.fd(), b"?", 20)
    content.close()
    contents.close()
    contents = open_contents(tmp_path, boot_id="second")
    content = contents.open(INO, size=48, base=base_of(body))
    assert content.missing(Extent(0, 1)) == []
    content.close()
    contents.close()
    content = open_contents(tmp_path, boot_id="second").open(INO, size=48, base=base_of(body))
    assert content.missing(Extent(0, 48)) == [1]


def test_a_written_block_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    """Its hash is unknown after an upload that gave none: then it is fetched again, and not counted as bad."""
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    read_all(content, body)
    content.pwrite(0, b"new")
    content.truncate(45)
    content.relabel(base_of(b"new" + body[3:] + bytes(5), "e2"))
    content.close()
    contents.close()
    contents = open_contents(tmp_path, boot_id="second")
    content = contents.open(INO, size=45, base=base_of(bytes(45), "e2"))
    assert content.missing(Extent(0, 45)) == [0, 2]
    assert contents.bad_blocks() == 0


def test_the_hashes_of_an_upload_are_believed(tmp_path: Path) -> None:
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=0, base=None, create=True)
    content.pwrite(0, b"abc")
    content.relabel(base_of(b"abc"), hashes=hash_block(b"abc").to_bytes(8, sys.byteorder))
    content.close()
    contents.close()
    content = open_contents(tmp_path, boot_id="second").open(INO, size=3, base=base_of(b"abc"))
    assert content.missing(Extent(0, 3)) == []
    assert content.pread(0, 3) == b"abc"


def test_a_clean_file_of_another_length_is_emptied(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    read_all(content, body)
    content.close()
    os.truncate(tmp_path / "contents" / "34" / "1234", 30)
    content = contents.open(INO, size=40, base=base_of(body))
    assert content.missing(Extent(0, 40)) == [0, 1, 2]
    content.fd()
    stat = contents.places.stat(INO)
    assert stat is not None
    assert (stat.st_size, stat.st_blocks) == (40, 0)


def test_a_cut_that_was_not_committed_holds_after_a_kill(tmp_path: Path) -> None:
    body = bytes(range(48))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=48, base=base_of(body))
    content.pwrite(0, b"x" * BLOCK)
    block_map = content.block_map()
    content.truncate(20)

    again = open_contents(tmp_path).open(INO, size=20, base=base_of(body), local_blocks=block_map)
    again.truncate(48)
    assert read_all(again, body) == b"x" * BLOCK + body[16:20] + bytes(28)


def test_a_row_that_was_not_written_yet_is_forgotten_too(tmp_path: Path) -> None:
    body = bytes(range(40))
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=40, base=base_of(body))
    read_all(content, body)
    content.close()
    content = contents.open(INO, size=40, base=base_of(body))
    content.pwrite(0, b"not committed by anybody")
    contents.flush_index()
    again = open_contents(tmp_path).open(INO, size=40, base=base_of(body))
    assert again.missing(Extent(0, 40)) == [0, 1, 2]


def test_what_is_being_written_counts_at_once(tmp_path: Path) -> None:
    """Who asks how full the disk is compares it with what is free: between the two nothing may be missing."""
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=0, base=None, create=True)
    content.pwrite(0, bytes(100_000))
    assert contents.used_bytes() == 100_000
    content.pwrite(0, bytes(100_000))
    contents.flush_index()
    assert contents.used_bytes() == -(-100_000 // 4096) * 4096
    content.truncate(0)
    content.close()
    assert contents.used_bytes() == 0


def test_used_bytes_follow_the_disk(tmp_path: Path) -> None:
    contents = open_contents(tmp_path)
    content = contents.open(INO, size=0, base=None, create=True)
    content.pwrite(0, bytes(100_000))
    contents.flush_index()
    assert contents.used_bytes() >= 100_000
    content.close()
    contents.close()
    contents = open_contents(tmp_path)
    assert contents.used_bytes() >= 100_000
    contents.remove(INO)
    assert contents.used_bytes() == 0
