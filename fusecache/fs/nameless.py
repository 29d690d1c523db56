"""Inodes that have no name and no row any more, and that somebody still holds: a removed directory that is open."""

from __future__ import annotations

from collections.abc import Callable

from fusecache.namespace.records import Inode
from fusecache.types import InodeNo


class Nameless:
    """What is left of removed inodes until the kernel forgets them. A file that is open still has its row."""

    def __init__(self, is_open: Callable[[InodeNo], bool]) -> None:
        """`is_open` tells whether an inode's row is kept for those who have it open."""
        self._is_open = is_open
        self._inodes: dict[InodeNo, Inode] = {}

    def __repr__(self) -> str:
        return f"<Nameless {len(self._inodes)}>"

    def __contains__(self, ino: InodeNo) -> bool:
        """Whether it lost its last name, with or without a row."""
        return ino in self._inodes

    def get(self, ino: InodeNo) -> Inode | None:
        """Return the inode if this is all that is left of it; None: its row says what it is."""
        inode = self._inodes.get(ino)
        return None if inode is None or self._is_open(ino) else inode

    def keep(self, inode: Inode) -> None:
        """It lost its last name or its row just now, or changed since."""
        self._inodes[inode.ino] = inode

    def named(self, ino: InodeNo) -> None:
        """It has a name, for the first time."""
        del self._inodes[ino]

    def forget(self, ino: InodeNo) -> None:
        """The kernel let go of an inode."""
        if self._inodes and not self._is_open(ino):
            self._inodes.pop(ino, None)
