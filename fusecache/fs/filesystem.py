"""The file system as calls: what the kernel asks for, without the kernel.

Both transports, and the tests, drive this. Every change is one transaction of the namespace; the
answer does not wait for the store, unless what the lower has must be known first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusecache.cache.contents import Contents
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
from fusecache.fs.files import Files
from fusecache.fs.names import Entry, Names, is_reserved
from fusecache.fs.streams import Stream
from fusecache.namespace.durability import Durability
from fusecache.namespace.keys import MAX_NAME_BYTES
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Inode, Place
from fusecache.namespace.tree import Owner
from fusecache.types import HandleNo, InodeNo

_DIR_BATCH = 64
"""Names looked up at a time for a listing: about two of the kernel's 4 KiB buffers."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a setattr sets; None: as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None

    def applied_to(self, inode: Inode) -> Inode:
        """Return `inode` with these attributes; the size is not among them."""
        mode = inode.mode if self.mode is None else stat.S_IFMT(inode.mode) | stat.S_IMODE(self.mode)
        return inode._replace(
            mode=mode,
            uid=inode.uid if self.uid is None else self.uid,
            gid=inode.gid if self.gid is None else self.gid,
            atime_ns=inode.atime_ns if self.atime_ns is None else self.atime_ns,
            mtime_ns=inode.mtime_ns if self.mtime_ns is None else self.mtime_ns,
        )


@dataclass(frozen=True, slots=True)
class DirEntry:
    """A name of a directory stream, and the position after it."""

    name: bytes
    entry: Entry
    position: int


class FileSystem:
    """POSIX calls by inode number. What they raise is in `fusecache.errors`; `errno.py` has the numbers."""

    def __init__(
        self,
        namespace: Namespace,
        names: Names,
        files: Files,
        contents: Contents,
        durability: Durability,
        *,
        cache_dir: Path,
        read_only: bool,
        max_key_bytes: int,
        wall_ns: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._ns = namespace
        self._t = namespace.tables
        self._names = names
        self._files = files
        self._contents = contents
        self._durability = durability
        self._cache_dir = cache_dir
        self._read_only = read_only
        self._max_key_bytes = max_key_bytes
        self._wall_ns = wall_ns
        self._changed = changed
        self._streams: dict[HandleNo, Stream] = {}
        self._last_stream = 0
        self._unlinked: dict[InodeNo, Inode] = {}
        """Inodes without a name that the kernel may still ask about, until it forgets them."""

    # --- names ---

    async def lookup(self, parent: InodeNo, name: bytes) -> Entry:
        """Resolve a name. Raises NotFound, NotADirectory, NameTooLong, StoreUnreachable."""
        if len(name) > MAX_NAME_BYTES:  # the kernel lets up to 1024 through
            raise NameTooLong(repr(name))
        row = await self._names.find(parent, name)
        assert row.ino is not None
        return await self.getattr(row.ino)

    async def getattr(self, ino: InodeNo) -> Entry:
        """Return the attributes, with one HEAD if only a listing told them so far."""
        gone = self._unlinked.get(ino)
        if gone is not None:
            return Entry(self._files.attributes(gone), 0.0)
        inode = self._t.inodes.get(ino)
        if not inode.headed and inode.base_key is not None:
            inode = await self._names.head(inode)
        return Entry(self._files.attributes(inode), self._names.timeout_s(inode))

    def forget(self, ino: InodeNo) -> None:
        """The kernel let go of an inode."""
        if self._unlinked and not self._files.is_open(ino):
            self._unlinked.pop(ino, None)

    async def setattr(self, ino: InodeNo, changes: Changes) -> Entry:
        """Change attributes; a new size is a write. One transaction each."""
        self._check_writable()
        inode = (await self.getattr(ino)).inode
        if changes.size is not None:
            if inode.is_dir:
                raise IsADirectory(f"inode {ino}")
            self._files.truncate(inode, changes.size)
            inode = (await self.getattr(ino)).inode
        changed = changes.applied_to(inode)
        if changed != inode and ino in self._unlinked:
            self._unlinked[ino] = changed
        elif changed != inode:
            self._ns.tree.set_attributes(changed, now_ns=self._wall_ns())
            if changes.mtime_ns is not None:
                self._files.touched(ino, changes.mtime_ns)
            self._changed()
        return await self.getattr(ino)

    async def mkdir(self, place: Place, owner: Owner) -> Entry:
        await self._check_new(place)
        inode = self._ns.tree.mkdir(place, owner, now_ns=self._wall_ns())
        self._changed()
        return Entry(inode, self._names.timeout_s(inode))

    async def symlink(self, place: Place, target: bytes, owner: Owner) -> Entry:
        await self._check_new(place)
        inode = self._ns.tree.create(place, owner, now_ns=self._wall_ns(), symlink=target)
        self._changed()
        return Entry(inode, self._names.timeout_s(inode))

    async def link(self, ino: InodeNo, place: Place) -> Entry:
        """Give a file one more name: each is an object of its own in the store, and one inode here."""
        await self._check_new(place)
        if (await self.getattr(ino)).inode.is_dir:
            raise NotPermitted(f"inode {ino} is a directory")
        inode = self._ns.tree.link(ino, place, now_ns=self._wall_ns())
        self._changed()
        return Entry(self._files.attributes(inode), self._names.timeout_s(inode))

    async def readlink(self, ino: InodeNo) -> bytes:
        inode = (await self.getattr(ino)).inode
        if inode.symlink is None:
            raise InvalidArgument(f"inode {ino} is no symbolic link")
        return inode.symlink

    async def unlink(self, place: Place) -> None:
        self._check_writable()
        row = await self._names.find(*place)
        assert row.ino is not None
        if self._t.inodes.get(row.ino).is_dir:
            raise IsADirectory(repr(place.name))
        keep = self._files.is_open(row.ino)
        self._lost_name(self._ns.tree.unlink(place, now_ns=self._wall_ns(), keep=keep), keep)
        self._changed()

    async def rmdir(self, place: Place) -> None:
        self._check_writable()
        row = await self._names.find(*place)
        await self._check_empty(row)
        self._ns.tree.rmdir(place, now_ns=self._wall_ns())
        self._changed()

    async def rename(self, old: Place, new: Place, *, replace: bool = True) -> None:
        """Move a name in one transaction, whatever is below it."""
        self._check_writable()
        self._check_name(new)
        moved = await self._names.find(*old)
        target = await self._names.find_any(*new)
        if target is not None:
            if not replace:
                raise AlreadyExists(repr(new.name))
            if target.ino == moved.ino:
                return
            await self._check_replaceable(moved, target)
        keep = target is not None and target.ino is not None and self._files.is_open(target.ino)
        replaced = self._ns.tree.rename(old, new, now_ns=self._wall_ns(), keep=keep)
        if replaced is not None:
            self._lost_name(replaced, keep)
        self._changed()

    # --- directories ---

    async def opendir(self, ino: InodeNo) -> HandleNo:
        self._names.directory(ino)
        self._last_stream += 1
        number = HandleNo(self._last_stream)
        self._streams[number] = Stream(ino, self._names, self._t)
        return number

    async def readdir(self, number: HandleNo, position: int) -> list[DirEntry]:
        """Return some of the entries after `position`; none at the end.

        Attributes that only a listing told are believed for no time: a stat asks again, with a HEAD.
        """
        stream = self._streams[number]
        while names := await stream.names(position, _DIR_BATCH):
            rows = ((n, self._t.dentries.get(stream.ino, name)) for n, name in enumerate(names, position + 1))
            entries = [self._dir_entry(row, n) for n, row in rows if row is not None and row.ino is not None]
            if entries:
                return entries
            position += len(names)  # all of them were removed meanwhile
        return []

    def releasedir(self, number: HandleNo) -> None:
        del self._streams[number]

    async def fsyncdir(self) -> None:
        """Make every name change so far survive a power loss."""
        await self._durability.reached(self._ns.database.seq)

    # --- files ---

    async def create(self, place: Place, owner: Owner, flags: int) -> tuple[HandleNo, Entry]:
        """Create and open a file, or open the one that is there, unless O_EXCL."""
        self._check_writable()
        self._check_name(place)
        present = await self._names.find_any(*place)
        if present is not None and present.ino is not None:
            if flags & os.O_EXCL:
                raise AlreadyExists(repr(place.name))
            return await self.open(present.ino, flags), await self.getattr(present.ino)
        inode = self._ns.tree.create(place, owner, now_ns=self._wall_ns())
        return self._files.opened_new(inode, flags), Entry(inode, self._names.timeout_s(inode))

    async def open(self, ino: InodeNo, flags: int) -> HandleNo:
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            self._check_writable()
        inode = (await self.getattr(ino)).inode
        if inode.is_dir:
            raise IsADirectory(f"inode {ino}")
        return self._files.open(inode, flags)

    async def read(self, number: HandleNo, offset: int, length: int) -> bytes:
        return await self._files.read(number, offset, length)

    async def write(self, number: HandleNo, offset: int, data: bytes) -> int:
        return await self._files.write(number, offset, data)

    def flush(self, number: HandleNo) -> None:
        self._files.flush(number)

    def release(self, number: HandleNo) -> None:
        self._files.release(number)

    async def fsync(self, number: HandleNo) -> None:
        await self._files.fsync(number)

    def statfs(self) -> os.statvfs_result:
        """The cache disk: what may still be written before something has to be persisted."""
        return os.statvfs(self._cache_dir)

    # --- checks ---

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnly("mounted read-only")

    def _check_name(self, place: Place) -> None:
        if len(place.name) > MAX_NAME_BYTES:
            raise NameTooLong(repr(place.name))
        if is_reserved(*place):
            raise NotPermitted(f"{place.name!r} is where relocations step aside")
        self._names.directory(place.parent)
        if not self._t.directories.get(place.parent).parent and place.parent != 1:
            raise NotFound("the directory was removed")
        if len(self._t.directories.home_key(place).encode()) > self._max_key_bytes:
            raise NameTooLong(f"the key of {place.name!r} would have more than {self._max_key_bytes} bytes")

    async def _check_new(self, place: Place) -> None:
        self._check_writable()
        self._check_name(place)
        if await self._names.find_any(*place) is not None:
            raise AlreadyExists(repr(place.name))

    async def _check_empty(self, row: Dentry) -> None:
        assert row.ino is not None
        self._names.directory(row.ino)
        stream = Stream(row.ino, self._names, self._t)
        position = 0
        while names := await stream.names(position, 1):
            found = self._t.dentries.get(row.ino, names[0])
            if found is not None and found.ino is not None:
                raise DirectoryNotEmpty(repr(row.name))
            position += 1
        if self._t.dentries.has_live(row.ino):  # made while we looked
            raise DirectoryNotEmpty(repr(row.name))

    async def _check_replaceable(self, moved: Dentry, target: Dentry) -> None:
        assert moved.ino is not None
        assert target.ino is not None
        moves_dir = self._t.inodes.get(moved.ino).is_dir
        if self._t.inodes.get(target.ino).is_dir:
            if not moves_dir:
                raise IsADirectory(repr(target.name))
            await self._check_empty(target)
        elif moves_dir:
            raise NotADirectory(repr(target.name))

    def _dir_entry(self, row: Dentry, position: int) -> DirEntry:
        assert row.ino is not None
        inode = self._files.attributes(self._t.inodes.get(row.ino))
        guessed = not inode.headed and inode.base_key is not None
        return DirEntry(row.name, Entry(inode, 0.0 if guessed else self._names.timeout_s(inode)), position)

    def _lost_name(self, inode: Inode, keep: bool) -> None:
        if inode.nlink and not inode.is_dir:
            return
        self._names.forget(inode.ino)
        if inode.is_dir:
            return
        self._unlinked[inode.ino] = inode
        if keep:
            self._files.unlinked(inode.ino)
        else:
            self._contents.remove(inode.ino)
