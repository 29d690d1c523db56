"""Who goes when room is wanted: who was read once before who was read again, each in its turn, and never who stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.policies import Lru, Ours, Policy
from fusecache.cache.contents import Contents
from fusecache.cache.eviction import Eviction
from fusecache.cache.index import ContentIndex
from fusecache.types import InodeNo
from tests.unit.content_builders import base_of, open_contents, read_all

BODY = bytes(range(40))
BASE = base_of(BODY)
NUMBERS = [InodeNo(n) for n in range(10, 16)]
ALL = 1 << 40


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    contents = open_contents(tmp_path)
    for ino in NUMBERS:
        use(contents, ino)
    contents.flush_index()
    yield contents
    contents.close()


def use(contents: Contents, ino: InodeNo) -> None:
    content = contents.open(ino, size=len(BODY), base=BASE)
    contents.eviction.opened(ino, is_here=content.is_here)
    assert read_all(content, BODY) == BODY
    content.close()


def around(contents: Contents) -> list[InodeNo]:
    """Who may go, of one round; nobody does."""
    contents.eviction.begin()
    found: list[InodeNo] = []
    while (some := contents.unused(4, ALL)) is not None:
        found += some
        contents.eviction.stay(some)
    return found


def release(contents: Contents, ino: InodeNo) -> int:
    return contents.release(ino, BASE.label)


def test_everything_unused_comes_once_around(contents: Contents) -> None:
    assert around(contents) == NUMBERS
    assert around(contents) == NUMBERS


def test_what_was_used_is_passed_over_once(contents: Contents) -> None:
    use(contents, NUMBERS[1])
    others = [ino for ino in NUMBERS if ino != NUMBERS[1]]
    assert around(contents) == others
    assert contents.eviction.passed == 1
    assert around(contents) == [*others, NUMBERS[1]]


def test_who_was_used_has_gone_over_to_the_kept_for_good(tmp_path: Path) -> None:
    """Also for the next process: what it finds in its line goes first."""
    with closing(open_contents(tmp_path)) as contents:
        for ino in NUMBERS:
            use(contents, ino)
        contents.flush_index()
        use(contents, NUMBERS[0])
        around(contents)
    with closing(open_contents(tmp_path)) as contents:
        use(contents, InodeNo(99))
        contents.flush_index()
        assert around(contents) == [*NUMBERS[1:], InodeNo(99), NUMBERS[0]]


def test_no_more_is_chosen_than_is_wanted(contents: Contents) -> None:
    contents.eviction.begin()
    assert contents.unused(4, 41) == NUMBERS[:2]
    assert contents.unused(4, 1) == NUMBERS[:1]


def test_who_has_gone_and_comes_back_is_kept(contents: Contents) -> None:
    contents.eviction.begin()
    (gone,) = contents.unused(1, 1) or []
    assert release(contents, gone) > 0
    use(contents, gone)
    opens = contents.eviction.opens
    assert (opens.count, opens.hits, opens.ghosts) == (7, 0, 1)
    contents.flush_index()
    assert around(contents) == [*NUMBERS[1:], gone]


def test_what_is_open_is_not_among_them_and_stays(contents: Contents) -> None:
    content = contents.open(NUMBERS[0], size=len(BODY), base=BASE)
    assert NUMBERS[0] not in around(contents)
    assert release(contents, NUMBERS[0]) == 0
    assert content.pread(0, 40) == BODY
    content.close()
    assert release(contents, NUMBERS[0]) > 0


def test_what_is_given_up_frees_the_disk_and_is_fetched_again(contents: Contents) -> None:
    before = contents.used_bytes()
    freed = release(contents, NUMBERS[0])
    assert before - contents.used_bytes() == freed > 0
    assert not contents.exists(NUMBERS[0])
    assert around(contents) == NUMBERS[1:]
    content = contents.open(NUMBERS[0], size=len(BODY), base=BASE)
    assert content.cached_bytes == 0
    assert read_all(content, BODY) == BODY
    content.close()


def test_bytes_that_are_not_the_version_that_is_meant_stay(contents: Contents) -> None:
    assert contents.release(NUMBERS[0], base_of(BODY, "another").label) == 0
    assert contents.exists(NUMBERS[0])


def test_dirty_ones_are_nowhere(contents: Contents) -> None:
    new = contents.open(InodeNo(9), size=0, base=None, create=True)
    new.pwrite(0, b"only here")
    changed = contents.open(NUMBERS[0], size=len(BODY), base=BASE)
    changed.pwrite(0, b"only here")
    for content in (new, changed):
        content.close()
    contents.flush_index()
    assert around(contents) == NUMBERS[1:]
    assert release(contents, NUMBERS[0]) == 0
    assert release(contents, InodeNo(9)) == 0


def test_a_damaged_index_offers_nothing(contents: Contents) -> None:
    contents._index._db.execute("DROP TABLE content")
    assert around(contents) == []


def test_what_a_full_disk_kept_from_being_written_is_among_them(contents: Contents) -> None:
    """To give it up is what makes room."""
    late = [InodeNo(n) for n in (9, 12, 20)]
    for ino in late:
        use(contents, ino)
    assert sorted({*around(contents), *around(contents)}) == sorted({*NUMBERS, *late})
    assert release(contents, late[0]) > 0


def test_an_index_without_lines_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("""
            CREATE TABLE content (
                ino INTEGER PRIMARY KEY, store INTEGER NOT NULL, object_key TEXT NOT NULL, etag TEXT NOT NULL,
                size INTEGER NOT NULL, block_size INTEGER NOT NULL, bitmap BLOB, hashes BLOB NOT NULL,
                boot_id TEXT NOT NULL);
            CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
            INSERT INTO counter VALUES ('used_bytes', 4096);
            INSERT INTO content VALUES (7, 0, 'k', 'e', 40, 16, NULL, x'', 'b'), (5, 0, 'k', 'e', 2, 16, NULL, x'', '');
            PRAGMA user_version = 1""")
    with closing(ContentIndex(path)) as index:
        assert index.used_bytes() == 4096
        assert index.oldest(kept=False, count=9, before=index.next_place()) == [(5, 2), (7, 40)]
        assert (index.line_bytes(kept=False), index.line_bytes(kept=True)) == (42, 0)
        index.move([InodeNo(5)], kept=True)
        assert (index.line_bytes(kept=False), index.line_bytes(kept=True)) == (40, 2)
        assert Eviction(index).turn(9, ALL) is None  # a round has to begin


def hits(policy: Policy, hot: int, scan: int) -> int:
    """Some files that are read again and again, and between two rounds others that are read once."""
    found = 0
    for turn in range(20):
        found += sum(policy.access(key, 100) for key in range(hot))
        for key in range(scan):
            policy.access(1000 + turn * scan + key, 100)
    return found


def test_who_reads_everything_once_does_not_drive_out_what_is_used() -> None:
    limit = 100 * 100
    assert hits(Lru(limit), hot=40, scan=70) == 0
    assert hits(Ours(limit), hot=40, scan=70) > 17 * 40
