"""What attributes become: of what is made in a directory, and of what is changed, as POSIX and Linux want it."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from fusecache.namespace.records import Inode
from fusecache.namespace.tree import Owner


@dataclass(frozen=True, slots=True)
class Changes:
    """What a setattr sets; None: as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    drops_set_id: bool = False
    """The kernel leaves it to us: somebody without privileges is about to write, or cuts the file."""

    @property
    def is_size_only(self) -> bool:
        """A change of the bytes, which brings its own times."""
        others = (self.mode, self.uid, self.gid, self.atime_ns, self.mtime_ns)
        return self.size is not None and not self.drops_set_id and all(value is None for value in others)

    def applied_to(self, inode: Inode) -> Inode:
        """Return `inode` with these attributes; the size is not among them."""
        mode = inode.mode if self.mode is None else stat.S_IFMT(inode.mode) | stat.S_IMODE(self.mode)
        is_chown = self.uid is not None or self.gid is not None
        if self.mode is None and (is_chown or self.drops_set_id) and not inode.is_dir:
            mode = without_set_id(mode)
        return inode._replace(
            mode=mode,
            uid=inode.uid if self.uid is None else self.uid,
            gid=inode.gid if self.gid is None else self.gid,
            atime_ns=inode.atime_ns if self.atime_ns is None else self.atime_ns,
            mtime_ns=inode.mtime_ns if self.mtime_ns is None else self.mtime_ns,
        )


def without_set_id(mode: int) -> int:
    """A program that somebody else may have changed runs with nobody's rights.

    The set-group-ID bit of what no group may execute is left: it asks for mandatory locks (chown(2)).
    """
    return mode & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))


def inherited(owner: Owner, parent: Inode) -> Owner:
    """Return the owner of what is made in `parent`: below a set-group-ID directory, all belongs to its group."""
    if not parent.mode & stat.S_ISGID:
        return owner
    mode = owner.mode | stat.S_ISGID if stat.S_ISDIR(owner.mode) else owner.mode
    return owner._replace(mode=mode, gid=parent.gid)
