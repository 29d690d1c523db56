"""Bytes on their way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusecache.backends.base import CHUNK_BYTES
from fusecache.backends.sources import BytesSource, FileRange, SourceTruncated


def test_chunks_are_bounded_and_can_be_read_again(tmp_path: Path) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 10)
    (tmp_path / "f").write_bytes(data)
    for source in BytesSource(data), FileRange(tmp_path / "f", 0, len(data)):
        for _ in range(2):
            chunks = list(source)
            assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 10]
            assert b"".join(chunks) == data
        assert source.length == len(data)


def test_ranges_of_one_descriptor(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        left, right = FileRange(file.fileno(), 0, 5), FileRange(file.fileno(), 5, 5)
        assert [b"".join(right), b"".join(left)] == [b"56789", b"01234"]
        assert file.tell() == 0
    assert list(FileRange(tmp_path / "f", 3, 0)) == []


def test_a_promise_that_the_file_breaks(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123")
    with pytest.raises(SourceTruncated, match="ends at byte 4, 6 were promised"):
        list(FileRange(tmp_path / "f", 2, 4))
    with pytest.raises(SourceTruncated, match="gone"):
        list(FileRange(tmp_path / "absent", 0, 1))
