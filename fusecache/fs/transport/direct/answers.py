"""What the file system says, as the kernel reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from struct import Struct

from fusecache.fs.names import Entry
from fusecache.fs.streams import DirEntry, Shown
from fusecache.fs.transport.direct.abi import (
    fuse_attr,
    fuse_attr_out,
    fuse_dirent,
    fuse_entry_out,
    fuse_kstatfs,
)
from fusecache.namespace.records import Inode

_SECTOR = 512  # the unit of `blocks`, whatever the disk's
_BLOCK_SIZE = 4096
_MAX_NAME = 255
_GENERATION = 0
"""An inode number is never used again, so there is one generation."""
_NS = 1_000_000_000
_TYPE_SHIFT = 12
"""From st_mode to DT_REG and the like."""
_DIRENTS = [Struct(f"{fuse_dirent.format}{length}s{-length % 8}x") for length in range(_MAX_NAME + 1)]
"""A struct fuse_dirent with a name of each length, which ends at a multiple of 8 bytes."""
_MAX_DIRENT = _DIRENTS[-1].size
LEAST_NAME_BYTES = fuse_dirent.size + 8
"""What a name takes in a listing, if it is short."""


class Answers:
    """Packs entries; timeouts, where given, replace what the file system would let the kernel believe."""

    def __init__(self, *, entry_timeout_s: float | None, attr_timeout_s: float | None) -> None:
        self._entry_timeout_s = entry_timeout_s
        self._attr_timeout_s = attr_timeout_s

    def entry(self, entry: Entry) -> bytes:
        """Return a struct fuse_entry_out: a name leads here."""
        inode, timeout_s, _ = entry
        attr_s, attr_ns = _timeout(self._attr_timeout(entry))
        entry_s, entry_ns = _timeout(timeout_s if self._entry_timeout_s is None else self._entry_timeout_s)
        head = fuse_entry_out.pack(inode.ino, _GENERATION, entry_s, attr_s, entry_ns, attr_ns)
        return head + _attributes(inode)

    def attributes(self, entry: Entry) -> bytes:
        """Return a struct fuse_attr_out."""
        seconds, rest_ns = _timeout(self._attr_timeout(entry))
        return fuse_attr_out.pack(seconds, rest_ns, 0) + _attributes(entry.inode)

    def name_and_entry(self, found: DirEntry) -> bytes:
        """Return a struct fuse_direntplus: the name, and what a LOOKUP of it would have answered."""
        inode = found.entry.inode
        shown = Shown(found.name, inode.ino, inode.mode, found.position)
        return self.entry(found.entry) + packed_names([shown], _MAX_DIRENT)

    def _attr_timeout(self, entry: Entry) -> float:
        if self._attr_timeout_s is not None:
            return self._attr_timeout_s
        return entry.timeout_s if entry.attr_timeout_s is None else entry.attr_timeout_s


def packed_names(names: Iterable[Shown], size: int) -> bytes:
    """Return as many struct fuse_dirent, what readdir(3) shows, as fit in so many bytes."""
    packed, layouts = [], _DIRENTS
    for name, ino, mode, position in names:
        layout = layouts[len(name)]
        size -= layout.size
        if size < 0:
            break
        packed.append(layout.pack(ino, position, len(name), mode >> _TYPE_SHIFT, name))
    return b"".join(packed)


def statfs(disk: os.statvfs_result) -> bytes:
    """Return a struct fuse_statfs_out."""
    return fuse_kstatfs.pack(
        disk.f_blocks, disk.f_bfree, disk.f_bavail, disk.f_files, disk.f_ffree, disk.f_bsize, _MAX_NAME, disk.f_frsize
    )


def _attributes(inode: Inode) -> bytes:
    atime, atime_ns = divmod(inode.atime_ns, _NS)
    mtime, mtime_ns = divmod(inode.mtime_ns, _NS)
    ctime, ctime_ns = divmod(inode.ctime_ns, _NS)
    size = inode.size
    return fuse_attr.pack(
        inode.ino, size, -(-size // _SECTOR), atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns,
        inode.mode, inode.nlink, inode.uid, inode.gid, inode.rdev & 0xFFFFFFFF, _BLOCK_SIZE, 0,
    )  # fmt: skip


def _timeout(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * _NS)
