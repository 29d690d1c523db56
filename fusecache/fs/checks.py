"""What must hold before a name is made, replaced or removed; what the lower has is asked for where it counts."""

from __future__ import annotations

from fusecache.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotFound,
    NotPermitted,
    ReadOnly,
)
from fusecache.fs.names import Names, is_reserved
from fusecache.fs.streams import Stream
from fusecache.namespace.keys import MAX_NAME_BYTES
from fusecache.namespace.records import Dentry, Inode, Place
from fusecache.namespace.tables import Tables
from fusecache.types import ROOT_INO


class Checks:
    """Refuses what cannot be done, before anything is."""

    def __init__(self, tables: Tables, names: Names, *, read_only: bool, max_key_bytes: int) -> None:
        self._t = tables
        self._names = names
        self._read_only = read_only
        self._max_key_bytes = max_key_bytes

    def writable(self) -> None:
        """Raises ReadOnly."""
        if self._read_only:
            raise ReadOnly("mounted read-only")

    def length(self, name: bytes) -> None:
        """The kernel lets names of up to 1024 bytes through. Raises NameTooLong."""
        if len(name) > MAX_NAME_BYTES:
            raise NameTooLong(repr(name))

    def name(self, place: Place) -> None:
        """Something may be at `place`. Raises NameTooLong, also for a key; NotPermitted, NotFound."""
        self.length(place.name)
        if is_reserved(*place):
            raise NotPermitted(f"{place.name!r} is where relocations step aside")
        self._names.directory(place.parent)
        if not self._t.directories.get(place.parent).parent and place.parent != ROOT_INO:
            raise NotFound("the directory was removed")
        if len(self._t.directories.home_key(place).encode()) > self._max_key_bytes:
            raise NameTooLong(f"the key of {place.name!r} would have more than {self._max_key_bytes} bytes")

    def bytes_of(self, inode: Inode) -> None:
        """It has some: what else there is the kernel itself opens, or follows. Raises IsADirectory, InvalidArgument."""
        if inode.is_dir:
            raise IsADirectory(f"inode {inode.ino}")
        if inode.is_special or inode.symlink is not None:
            raise InvalidArgument(f"inode {inode.ino} has no bytes")

    async def new(self, place: Place) -> None:
        """Something may be made at `place`. Raises ReadOnly, AlreadyExists, and as `name`."""
        self.writable()
        self.name(place)
        if await self._names.find_any(*place) is not None:
            raise AlreadyExists(repr(place.name))

    async def empty(self, row: Dentry) -> None:
        """Nothing is in this directory, here or in the store. Raises DirectoryNotEmpty, NotADirectory."""
        self._names.directory(row.inode_no)
        stream = Stream(row.inode_no, self._names, self._t)
        position = 0
        while names := await stream.names(position, 1):
            found = self._t.dentries.get(row.inode_no, names[0])
            if found is not None and found.ino is not None:
                raise DirectoryNotEmpty(repr(row.name))
            position += 1
        if self._t.dentries.has_live(row.inode_no):  # made while we looked
            raise DirectoryNotEmpty(repr(row.name))

    async def replaceable(self, moved: Dentry, target: Dentry) -> None:
        """What is at `target` may give way. Raises IsADirectory, NotADirectory, DirectoryNotEmpty."""
        moves_dir = self._t.inodes.get(moved.inode_no).is_dir
        if self._t.inodes.get(target.inode_no).is_dir:
            if not moves_dir:
                raise IsADirectory(repr(target.name))
            await self.empty(target)
        elif moves_dir:
            raise NotADirectory(repr(target.name))
