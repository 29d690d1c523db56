"""Contents against a plain bytearray, over closes, kills of the process and losses of power."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fusecache.cache.blocks import hash_block
from fusecache.cache.contents import Base, Content, ContentLost, Contents
from fusecache.cache.index import ContentIndex
from fusecache.errors import NoSpace
from fusecache.types import ETag, Extent, InodeNo, ObjectKey, StoreNo

BLOCK = 16
INO = InodeNo(0x1234)
STORE = StoreNo(0)
KEY = ObjectKey("data/part-0")
OFFSETS = st.integers(0, 6 * BLOCK)
BODIES = st.binary(min_size=1, max_size=3 * BLOCK)


def open_contents(root: Path, *, boot_id: str = "first") -> Contents:
    return Contents(root, ContentIndex(root / "index.db"), block_size=BLOCK, boot_id=boot_id)


def base_of(body: bytes, etag: str = "e1") -> Base:
    return Base(STORE, KEY, ETag(etag), len(body))


def fetch(content: Content, body: bytes, extent: Extent) -> list[int]:
    blocks = content.missing(extent)
    for block_no in blocks:
        start = block_no * BLOCK
        content.fill(block_no, body[start : start + content.block_length(block_no)])
    return blocks


def read_all(content: Content, body: bytes = b"") -> bytes:
    fetch(content, body, Extent(0, content.size))
    return content.pread(0, content.size + 1)


class ContentMachine(RuleBasedStateMachine):
    """The test plays the namespace: it commits what the content asks for, and survives the kills."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.contents = open_contents(self.root)
        self.boot_count = 0

    @initialize(body=st.none() | st.binary(max_size=5 * BLOCK))
    def begin(self, body: bytes | None) -> None:
        self.object = body or b""
        self.version = 0
        self.model = bytearray(self.object)
        self.base = None if body is None else base_of(body, "v0")
        self.dirty = body is None
        self.map: bytes | None = None
        self.content = self.contents.open(INO, size=len(self.model), base=self.base, create=body is None)

    def commit(self) -> None:
        """What the namespace does before it acknowledges a change."""
        if not self.content.clean:
            self.dirty = True
        if self.content.map_unsaved:
            self.map, self.base = self.content.block_map(), self.content.base
            self.content.map_saved()

    @rule(offset=OFFSETS, data=BODIES)
    def write(self, offset: int, data: bytes) -> None:
        for block_no in self.content.missing_for_write(Extent(offset, len(data))):
            self.fill(block_no)
        assert self.content.pwrite(offset, data) == len(data)
        self.commit()
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + len(data)] = data

    @rule(size=OFFSETS)
    def truncate(self, size: int) -> None:
        self.content.truncate(size)
        self.commit()
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    @rule(block_no=st.integers(0, 6))
    def fill(self, block_no: int) -> None:
        """Also of blocks that are present or gone: a fetch lands when it lands."""
        self.content.fill(block_no, self.object[block_no * BLOCK : (block_no + 1) * BLOCK])

    @rule(offset=OFFSETS, length=st.integers(0, 3 * BLOCK))
    def read(self, offset: int, length: int) -> None:
        fetch(self.content, self.object, Extent(offset, length))
        assert self.content.pread(offset, length) == self.model[offset : offset + length]

    @rule()
    def upload(self) -> None:
        self.version += 1
        self.object = bytes(self.model)
        self.base = base_of(self.object, f"v{self.version}")
        self.content.relabel(self.base)
        self.dirty, self.map = False, None

    @rule()
    def move_object(self) -> None:
        if self.content.base is not None:
            self.version += 1
            self.content.rebase(base_of(self.object, f"v{self.version}"))
            self.base = self.content.base

    @rule()
    def flush_index(self) -> None:
        self.contents.flush_index()

    @rule()
    def reopen(self) -> None:
        size = self.content.size
        self.content.close()
        self.open(size)

    @rule()
    def kill(self) -> None:
        """SIGKILL: of what is in memory only the page cache and the namespace remain."""
        size = self.drop_process()
        self.contents = open_contents(self.root, boot_id=f"boot {self.boot_count}")
        self.open(size)

    @rule(spoil=st.integers(0, 6))
    def lose_power(self, spoil: int) -> None:
        """The namespace comes back; a clean file comes back with a block that never reached the disk."""
        size = self.drop_process()
        self.boot_count += 1
        path = self.root / "contents" / "34" / "1234"
        if not self.dirty and path.exists() and path.stat().st_size > spoil * BLOCK:
            with path.open("r+b") as file:
                file.seek(spoil * BLOCK)
                file.write(b"\xff")
        self.contents = open_contents(self.root, boot_id=f"boot {self.boot_count}")
        self.open(size)

    def drop_process(self) -> int:
        if self.content._file.fd >= 0:
            os.close(self.content._file.fd)
        self.contents._index._db.close()
        return len(self.model)

    def open(self, size: int) -> None:
        local_blocks = (self.map or b"") if self.dirty and self.base is not None else None
        if self.dirty:
            stat = self.contents.stat(INO)
            assert (stat.st_size if stat else 0) == size, "found again by the file's length"
        self.content = self.contents.open(INO, size=size, base=self.base, local_blocks=local_blocks)
        assert self.content.base == self.base

    @invariant()
    def what_is_here_is_right(self) -> None:
        content = self.content
        assert content.size == len(self.model)
        for start in range(0, len(self.model), BLOCK):
            if not content.missing(Extent(start, BLOCK)):
                assert content.pread(start, BLOCK) == self.model[start : start + BLOCK]
        assert content.whole == (not content.missing(Extent(0, content.size)))
        assert 0 <= content.cached_bytes <= content.size
        assert self.contents.readers_of(STORE, KEY) == (not content.whole)
        if content._file.fd >= 0:
            assert os.fstat(content._file.fd).st_size == content.size

    def teardown(self) -> None:
        if hasattr(self, "content"):
            assert read_all(self.content, self.object) == self.model
            self.content.close()
        assert not self.contents.readers_of(STORE, KEY)
        self.contents.close()
        shutil.rmtree(self.root)


ContentMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestContentMachine = pytest.mark.slow(ContentMachine.TestCase)


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
    stat = contents.stat(INO)
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
