"""A cache disk of a test's own size, and the room for writers on it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from fusecache.cache.contents import Contents
from fusecache.fs.files import Files
from fusecache.fs.pressure import Levels, Limits
from fusecache.fs.space import Space, space_of
from fusecache.fs.unseen import Unseen
from fusecache.namespace.namespace import Namespace
from fusecache.persist.persister import Persister

PAGE = 4096


@dataclass
class Disk:
    """So many bytes for contents, and for what others put there."""

    size: int
    others: int = 0

    def statvfs(self, contents: Contents) -> os.statvfs_result:
        contents.flush_index()  # counts what open ones take
        free = max(0, self.size - self.others - contents.used_bytes()) // PAGE
        return os.statvfs_result((PAGE, PAGE, self.size // PAGE, free, free, 10**6, 10**6, 10**6, 0, 255))


@dataclass
class Room:
    """What decides how much may be written."""

    disk: Disk
    limits: Limits = field(default_factory=Limits)
    patience_s: float = 60.0

    def space(self, ns: Namespace, contents: Contents, files: Files, persister: Persister) -> Space:
        """Tie it to the parts of a mount, as a volume does."""
        return space_of(
            ns, contents, files, self.limits, patience_s=self.patience_s,
            disk=lambda: self.disk.statvfs(contents), drained=persister.drained,
        )  # fmt: skip


def ample_space(root: Path) -> Space:
    """Nobody ever waits."""
    return Space(
        Limits(),
        patience_s=0.0,
        disk=lambda: os.statvfs(root),
        levels=lambda free: Levels(1 << 50, used=0, dirty=0, local=0),
        drained=lambda: (0.0, 0.0),
        paused=tuple,
        is_open=lambda ino: False,
        unseen=Unseen(int, is_on=bool),
    )
