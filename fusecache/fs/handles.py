"""What applications have open: handles, and the one state an inode's handles share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from fusecache.cache.content import Content
from fusecache.cache.readahead import Readahead
from fusecache.errors import Stale
from fusecache.types import HandleNo, InodeNo


@dataclass(slots=True)
class OpenFile:
    """An inode with at least one handle."""

    ino: InodeNo
    content: Content
    handles: int = 0
    writers: int = 0
    dirtied: bool = False
    """Bytes or size changed since the last commit: `close` and `fsync` commit them."""
    mtime_ns: int = 0
    """Of the last change, while `dirtied`; or what somebody set it to since."""
    ctime_ns: int = 0
    """Of the last change of the bytes, while `dirtied`: a close is none."""
    grown: int = 0
    """Bytes that it has become longer by since the last commit."""
    unlinked: bool = False
    backed: bool = False
    """The kernel reads and writes the content's file by itself: its bytes and size are others than told, until looked
    at. For all handles or for none, as the kernel wants it (docs/decisions/0013)."""
    stamp: tuple[int, int, int] | None = None
    """Of a backed content's file, when it was last looked at; None: the kernel does not have it yet."""


@dataclass(slots=True)
class Handle:
    """One open(2)."""

    file: OpenFile
    writable: bool
    readahead: Readahead = field(default_factory=Readahead)


class Handles:
    """Numbers for what is open."""

    def __init__(self) -> None:
        self._files: dict[InodeNo, OpenFile] = {}
        self._handles: dict[HandleNo, Handle] = {}
        self._last = 0
        self._round: Iterator[OpenFile] = iter(())

    def __repr__(self) -> str:
        return f"<Handles {len(self._handles)} on {len(self._files)} files>"

    def __contains__(self, number: HandleNo) -> bool:
        return number in self._handles

    def file(self, ino: InodeNo) -> OpenFile | None:
        """The shared state of an inode, if it is open."""
        return self._files.get(ino)

    def get(self, number: HandleNo) -> Handle:
        """Return the handle.

        Raises:
            Stale: there is none of that number.
        """
        try:
            return self._handles[number]
        except KeyError:
            raise Stale(f"no handle {number}") from None

    def add(self, file: OpenFile, flags: int) -> HandleNo:
        """Count one more handle on `file`."""
        return self.put(HandleNo(self._last + 1), file, flags)

    def put(self, number: HandleNo, file: OpenFile, flags: int) -> HandleNo:
        """Count one more handle, of a number that no other has."""
        self._files[file.ino] = file
        writable = is_for_writing(flags)
        file.handles += 1
        file.writers += writable
        self._last = max(self._last, number)
        self._handles[number] = Handle(file, writable)
        return number

    def remove(self, number: HandleNo) -> OpenFile:
        """Count one handle less; the caller closes the content when none is left.

        Raises:
            Stale: there is none of that number.
        """
        handle = self.get(number)
        del self._handles[number]
        file = handle.file
        file.handles -= 1
        file.writers -= handle.writable
        if not file.handles:
            del self._files[file.ino]
        return file

    def open_for_writing(self) -> list[OpenFile]:
        """Files whose last bytes are not committed yet."""
        return [file for file in self._files.values() if file.writers]

    def next_writers(self, count: int) -> list[OpenFile]:
        """Return some of them, the next ones at the next call, and in the end all of them again."""
        found = list(islice(self._round, count))
        if len(found) < count:
            self._round = iter(self.open_for_writing())
        return [file for file in found if file.writers]


def is_for_writing(flags: int) -> bool:
    """Whether an open(2) with these flags may write: its close commits."""
    return flags & os.O_ACCMODE != os.O_RDONLY
