"""Reading a content file that nobody else can write to."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from fusecache.cache.descriptors import Descriptors
from fusecache.cache.folders import Folders
from fusecache.cache.ledger import Ledger
from fusecache.cache.sparse import SparseFile


def a_file(path: Path, data: bytes) -> SparseFile:
    path.write_bytes(data)
    return SparseFile(
        str(path), Ledger(used_bytes=0), Folders(), Descriptors(8), may_create=False, void=False
    )  # nothing of it is open yet


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_its_bytes_are_given_while_nobody_can_write(tmp_path: Path) -> None:
    file = a_file(tmp_path / "f", b"hello")
    file.open()
    before = descriptors()
    assert file.quiet_bytes(4) == b"hell"
    assert descriptors() == before - 1, "one's own descriptor would be in the way"
    assert file.is_quiet()


def test_a_writer_or_a_mapping_keeps_them(tmp_path: Path) -> None:
    file = a_file(tmp_path / "f", b"hello")
    descriptor = os.open(tmp_path / "f", os.O_RDWR)
    assert file.quiet_bytes(5) is None
    mapped = mmap.mmap(descriptor, 5)
    os.close(descriptor)
    before = descriptors()
    assert file.quiet_bytes(5) is None
    assert not file.is_quiet()
    assert descriptors() == before
    mapped.close()
    assert file.quiet_bytes(5) == b"hello"


def test_there_may_be_no_file_and_it_may_be_in_use(tmp_path: Path) -> None:
    file = a_file(tmp_path / "f", b"hello")
    with file.held():
        assert file.quiet_bytes(5) is None
    (tmp_path / "f").unlink()
    assert file.quiet_bytes(5) == b""
