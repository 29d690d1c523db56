"""What an earlier process of this mount left open: the kernel goes on using it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fusecache.fs.handles import is_for_writing
from fusecache.types import HandleNo, InodeNo


class LeftFile(NamedTuple):
    """An open(2) of a file, as it was answered."""

    number: HandleNo
    ino: InodeNo
    flags: int
    is_backed: bool
    """The kernel has the content's file, and reads and writes it by itself."""


class LeftDirectory(NamedTuple):
    """An open directory, and the names that it has shown, in their order."""

    number: HandleNo
    ino: InodeNo
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """All of it. Nothing: the mount is a new one."""

    files: tuple[LeftFile, ...] = ()
    directories: tuple[LeftDirectory, ...] = ()

    def open_files(self) -> set[InodeNo]:
        """Inodes that need what they are, also without a name."""
        return {each.ino for each in self.files}

    def being_written(self) -> set[InodeNo]:
        """Those of them whose last bytes wait for a close."""
        return {each.ino for each in self.files if is_for_writing(each.flags)}


NOTHING = Left()
