"""What was not used for longest is found without a list of everything, and given up if nothing speaks against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.cache.contents import Contents
from fusecache.types import InodeNo
from tests.unit.content_builders import base_of, open_contents, read_all

BODY = bytes(range(40))
BASE = base_of(BODY)
NUMBERS = [InodeNo(n) for n in range(10, 16)]


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    contents = open_contents(tmp_path)
    for ino in NUMBERS:
        use(contents, ino)
    contents.flush_index()
    around(contents)
    yield contents
    contents.close()


def use(contents: Contents, ino: InodeNo) -> None:
    content = contents.open(ino, size=len(BODY), base=BASE)
    assert read_all(content, BODY) == BODY
    content.close()


def around(contents: Contents) -> list[InodeNo]:
    """What one turn of the hand finds."""
    return contents.unused(100)


def test_everything_unused_comes_once_around(contents: Contents) -> None:
    assert around(contents) == NUMBERS
    assert [contents.unused(4) for _ in range(3)] == [NUMBERS[:4], NUMBERS[4:], NUMBERS[:4]]


def test_what_was_used_is_passed_over_once(contents: Contents) -> None:
    use(contents, NUMBERS[1])
    assert around(contents) == [ino for ino in NUMBERS if ino != NUMBERS[1]]
    assert around(contents) == NUMBERS


def test_what_is_open_is_not_among_them_and_stays(contents: Contents) -> None:
    content = contents.open(NUMBERS[0], size=len(BODY), base=BASE)
    around(contents)
    assert NUMBERS[0] not in around(contents)
    assert contents.release(NUMBERS[0], BASE.label) == 0
    assert content.pread(0, 40) == BODY
    content.close()
    assert contents.release(NUMBERS[0], BASE.label) > 0


def test_what_is_given_up_frees_the_disk_and_is_fetched_again(contents: Contents) -> None:
    before = contents.used_bytes()
    freed = contents.release(NUMBERS[0], BASE.label)
    assert before - contents.used_bytes() == freed > 0
    assert not contents.exists(NUMBERS[0])
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
    around(contents)
    assert around(contents) == NUMBERS[1:]
    assert contents.release(NUMBERS[0], BASE.label) == 0
    assert contents.release(InodeNo(9), BASE.label) == 0


def test_a_damaged_index_offers_nothing(contents: Contents) -> None:
    contents._index._db.execute("DROP TABLE content")
    assert contents.unused(10) == []


def test_what_a_full_disk_kept_from_being_written_is_among_them(contents: Contents) -> None:
    """To give it up is what makes room."""
    late = [InodeNo(n) for n in (9, 12, 20)]
    for ino in late:
        use(contents, ino)
    for _ in range(2):
        found = around(contents)
    assert found == sorted({*NUMBERS, *late})
    assert contents.release(late[0], BASE.label) > 0
