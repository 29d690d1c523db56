"""Which keys a person must be told about."""

from __future__ import annotations

import pytest

from fusecache.doctor.findings import Kind
from fusecache.doctor.keys import KeyCheck
from fusecache.types import ETag, ObjectInfo, ObjectKey


def odd(*keys: str, size: int = 1) -> list[tuple[Kind, str]]:
    check = KeyCheck()
    found = []
    for key in sorted(keys):
        info = ObjectInfo(ObjectKey(key), size, ETag("e"), 0)
        found += [(finding.kind, finding.where) for finding in check.check(info)]
    return found


@pytest.mark.parametrize("key", ["a", "a/b", "ü/☃", "a\u203009b", ".hidden", "..a", "a" * 255, ".fusecache-tmp/7/x"])
def test_plain_keys_are_not_told(key: str) -> None:
    assert odd(key) == []


def test_a_marker_is_plain() -> None:
    assert odd("dir/", size=0) == []


@pytest.mark.parametrize("key", ["a//b", "a/../b", "/lead", "./a", "a\nb", "a/‰x"])
def test_what_is_shown_under_another_name(key: str) -> None:
    assert odd(key) == [(Kind.QUOTED, key)]


@pytest.mark.parametrize("key", ["a" * 256, "dir/" + "ü" * 128, "a/" + "b" * 300 + "/c", "dir/"])
def test_what_no_path_can_name(key: str) -> None:
    assert odd(key) == [(Kind.UNNAMEABLE, key)]


def test_a_file_with_others_below_it_is_found_once_whatever_comes_between() -> None:
    assert odd("a", "a!", "a-b", "a/x", "a/y", "b", "bc/d") == [(Kind.HIDDEN, "a")]
    assert odd("a", "a/b", "a/b/c") == [(Kind.HIDDEN, "a"), (Kind.HIDDEN, "a/b")]
    assert odd("a/b", "ab", "a.b/c") == []
    assert odd("dir/", "dir//x", size=0) == [(Kind.QUOTED, "dir//x")]


def test_conflict_copies_are_listed() -> None:
    assert odd("d/x.conflict-0f0f", "d/x.conflict-0f-2", "conflict-x") == [
        (Kind.CONFLICT, "d/x.conflict-0f-2"),
        (Kind.CONFLICT, "d/x.conflict-0f0f"),
    ]
