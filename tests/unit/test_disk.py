"""The cache disk is asked how much it has; when its directory is gone, what it said last goes on to count."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from fusecache.fs.disk import Disk


def test_it_goes_on_without_its_directory_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "cache"
    directory.mkdir()
    disk = Disk(directory)
    told = disk.statvfs()
    assert (told.f_blocks, told.f_frsize) == (os.statvfs(tmp_path).f_blocks, os.statvfs(tmp_path).f_frsize)
    assert not caplog.records
    shutil.rmtree(directory)
    last = disk.statvfs()
    assert disk.statvfs() is last
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
