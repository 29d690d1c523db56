"""Which names stay local, and which come last."""

from __future__ import annotations

import pytest

from fusecache.config.model import MARKERS, STAGING
from fusecache.persist.staging import Patterns

PATTERNS = Patterns(staging=STAGING, markers=MARKERS)


def split(path: str) -> list[bytes]:
    return path.encode().split(b"/")


@pytest.mark.parametrize(
    "path",
    [
        "out/_temporary/0/task/part-0",
        "_temporary/x",
        ".hive-staging_hive_1/x",
        "a/.part-0.crc",
        "x.inprogress",
        ".x.inprogress.1",
        "a/b._COPYING_",
        ".x.tmp",
        "a/_temporary/",
    ],
)
def test_staging(path: str) -> None:
    assert PATTERNS.is_staging(split(path))


@pytest.mark.parametrize("path", ["out/_temporary", "x.crc", "a/temporary/x", "x.tmp", "inprogress", "A/_TEMPORARY/x"])
def test_not_staging(path: str) -> None:
    assert not PATTERNS.is_staging(split(path))


def test_no_patterns_match_nothing() -> None:
    none = Patterns(staging=(), markers=())
    assert not none.is_staging(split("_temporary/x"))
    assert none.marked_depth(split("_SUCCESS")) is None


def test_a_name_that_is_no_text() -> None:
    assert not PATTERNS.is_staging([b"\xff\xfe", b"x"])
    assert PATTERNS.is_staging([b"\xff\xfe", b".\xff.tmp"])


@pytest.mark.parametrize(
    ("path", "depth"),
    [
        ("_SUCCESS", 0),
        ("a/b/_SUCCESS", 2),
        ("t/_delta_log/0001.json", 1),
        ("t/_delta_log/_sidecars/x", 1),
        ("t/metadata/v1.metadata.json", 1),
        ("t/metadata/version-hint.text", 2),
        ("t/metadata/snap.avro", None),
        ("t/.hoodie/metadata/files/x", 1),
        ("t/data/part-0", None),
        ("_delta_log", None),
    ],
)
def test_the_tree_of_a_marker(path: str, depth: int | None) -> None:
    assert PATTERNS.marked_depth(split(path)) == depth
