"""The directories of a content store, and what is in them."""

from __future__ import annotations

import os
from pathlib import Path

from fusecache.cache.folders import sync_directory
from fusecache.cache.sparse import STAT_BLOCK

FAN_OUT = 256
"""Directories, so that none gets so large that its lookups leave the page cache."""


def make_directories(root: str) -> None:
    """Make those of a content store, if they are not there."""
    if Path(f"{root}/{FAN_OUT - 1:02x}").is_dir():  # made last
        return
    for number in range(FAN_OUT):
        Path(f"{root}/{number:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (root, os.path.dirname(root)):
        sync_directory(path)


def disk_usage(root: str) -> int:
    """Count what is there: only when the index was lost, as it takes a stat a file."""
    total = 0
    for number in range(FAN_OUT):
        with os.scandir(f"{root}/{number:02x}") as entries:
            total += sum(entry.stat(follow_symlinks=False).st_blocks * STAT_BLOCK for entry in entries)
    return total
