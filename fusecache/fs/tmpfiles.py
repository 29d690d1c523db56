"""Open files that have no name, and may get one (open(2), O_TMPFILE)."""

from __future__ import annotations

import os
from collections.abc import Callable

from fusecache.fs.files import Files
from fusecache.fs.left import Left
from fusecache.fs.nameless import Nameless
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode, Owner, Place
from fusecache.types import HandleNo, InodeNo

_KIND = os.O_TMPFILE | os.O_EXCL


class Tmpfiles:
    """Until they have a name they are as files that were unlinked: gone with their last close, or with the mount."""

    def __init__(self, namespace: Namespace, files: Files, nameless: Nameless, *, wall_ns: Callable[[], int]) -> None:
        self._ns = namespace
        self._files = files
        self._nameless = nameless
        self._wall_ns = wall_ns
        self._unnamed: set[InodeNo] = set()

    def __repr__(self) -> str:
        return f"<Tmpfiles {len(self._unnamed)} without a name>"

    def __contains__(self, ino: InodeNo) -> bool:
        """Whether it may get a name."""
        return ino in self._unnamed and self._files.is_open(ino)

    def go_on(self, left: Left) -> None:
        """What an earlier process had open without a name may get one still.

        Of such that lost the one that they got nothing need be known: the kernel does not ask for a link of those.
        """
        may_be_named = {file.ino for file in left.files if file.flags & _KIND == os.O_TMPFILE}
        self._unnamed.update(ino for ino in may_be_named if ino in self._nameless)

    def make(self, owner: Owner, flags: int, *, may_back: bool) -> tuple[HandleNo, Inode]:
        """Make a file, and open it. With O_EXCL it never gets a name."""
        inode = self._ns.tmpfiles.make(owner, now_ns=self._wall_ns())
        number = self._files.opened_new(inode, flags, may_back=may_back)
        self._files.unlinked(inode.ino)
        self._nameless.keep(inode)
        if not flags & os.O_EXCL:
            self._unnamed.add(inode.ino)
        return number, inode

    def name(self, ino: InodeNo, place: Place) -> Inode:
        """Give it a name.

        Raises:
            AlreadyExists: the name is taken. InvalidArgument: no store could keep it.
        """
        inode = self._ns.tmpfiles.name(ino, place, now_ns=self._wall_ns())
        self.forget(ino)
        self._nameless.named(ino)
        self._files.named(ino)
        return inode

    def forget(self, ino: InodeNo) -> None:
        """The kernel let go of an inode."""
        self._unnamed.discard(ino)
