"""The file system as calls: what the kernel asks for, without the kernel.

Both transports, and the tests, drive this. Every change is one transaction of the namespace; the
answer does not wait for the store, unless what the lower has must be known first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from fusecache.cache.contents import Contents
from fusecache.errors import AlreadyExists, InvalidArgument, IsADirectory, NotPermitted
from fusecache.fs.attrs import Changes, without_set_id
from fusecache.fs.backing import Backing
from fusecache.fs.checks import Checks
from fusecache.fs.copying import Copying
from fusecache.fs.files import Files
from fusecache.fs.guesses import check_guess, is_guess
from fusecache.fs.handles import is_for_writing
from fusecache.fs.nameless import Nameless
from fusecache.fs.names import Entry, Names
from fusecache.fs.ranges import Ranges
from fusecache.fs.space import Space
from fusecache.fs.streams import DirEntry, Streams
from fusecache.fs.tmpfiles import Tmpfiles
from fusecache.fs.waiting import Waiting
from fusecache.fs.xattrs import Xattrs
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Inode, Place
from fusecache.namespace.tree import Owner
from fusecache.types import HandleNo, InodeNo

_DIR_BATCH = 64
"""Names looked up at a time for a listing: about two of the kernel's 4 KiB buffers."""
_TICK_S = 1e-9
"""The kernel rounds it up to a tick of its clock: open(2) looks at what it has made and need not ask. A write(2) takes
it back, and what else changes the bytes does so within the resolution of their times."""


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
        nameless: Nameless,
        xattrs: Xattrs,
        space: Space,
        read_only: bool,
        max_key_bytes: int,
        wall_ns: Callable[[], int],
        changed: Callable[[], None],
        waiting: Waiting,
    ) -> None:
        self._ns = namespace
        self._t = namespace.tables
        self._names = names
        self._files = files
        self._contents = contents
        self._durability = durability
        self._nameless = nameless
        self.requests = self._t.requests
        self.xattrs = xattrs
        self._space = space
        self.ranges = Ranges(files, space)
        self.tmpfiles = Tmpfiles(namespace, files, nameless, wall_ns=wall_ns)
        self.copying = Copying(namespace, contents, files, space)
        self._checks = Checks(self._t, names, read_only=read_only, max_key_bytes=max_key_bytes)
        self._wall_ns = wall_ns
        self._changed = changed
        self._waiting = waiting
        self._backing = Backing(namespace, contents, files, space)
        self.streams = Streams(names, self._t)

    # --- names ---

    async def lookup(self, parent: InodeNo, name: bytes) -> Entry:
        """Resolve a name. Raises NotFound, NotADirectory, NameTooLong, StoreUnreachable."""
        self._checks.length(name)
        ino = (await self._names.find(parent, name)).inode_no
        inode = self._t.inodes.get(ino)
        if is_guess(inode) and self._names.guesses.answers(parent):
            return self._names.guessed(inode, parent)
        return await self.getattr(ino)

    async def getattr(self, ino: InodeNo) -> Entry:
        """Return the attributes, with one HEAD if only a listing told them so far."""
        gone = self._nameless.get(ino)
        if gone is not None:
            return Entry(gone, 0.0)
        inode = self._t.inodes.get(ino)
        if not inode.headed and inode.base_key is not None:
            inode = await self._names.head(inode)
        return self._entry(inode)

    def forget(self, ino: InodeNo) -> None:
        """The kernel let go of an inode."""
        self._nameless.forget(ino)
        self.tmpfiles.forget(ino)

    async def setattr(self, ino: InodeNo, changes: Changes) -> Entry:
        """Change attributes; a new size is a write. One transaction each."""
        self._checks.writable()
        inode = await self._judged(ino)
        if changes.size is not None:
            self._checks.bytes_of(inode)
            if changes.size > inode.size:
                await self._space.room(changes.size - inode.size, ino)
                inode = (await self.getattr(ino)).inode
            self._files.truncate(inode, changes.size)
            inode = (await self.getattr(ino)).inode
        if not changes.is_size_only:
            self._set(self.xattrs.applied(changes, inode), changes.mtime_ns)
        return await self.getattr(ino)

    async def mkdir(self, place: Place, owner: Owner) -> Entry:
        await self._checks.new(place)
        inode = self._ns.tree.mkdir(place, self._inherited(place, owner), now_ns=self._wall_ns())
        self._changed()
        return self._entry(inode)

    async def mknod(self, place: Place, owner: Owner, rdev: int) -> Entry:
        """Make an empty file; or a fifo, socket or device, which no store can keep."""
        await self._checks.new(place)
        owner, now_ns = self._inherited(place, owner), self._wall_ns()
        if stat.S_ISREG(owner.mode):
            inode = self._ns.tree.create(place, owner, now_ns=now_ns, is_open=False)
        else:
            inode = self._ns.tree.mknod(place, owner, rdev=rdev, now_ns=now_ns)
        self._changed()
        return self._entry(inode)

    async def symlink(self, place: Place, target: bytes, owner: Owner) -> Entry:
        await self._checks.new(place)
        inode = self._ns.tree.create(place, self._inherited(place, owner), now_ns=self._wall_ns(), symlink=target)
        self._changed()
        return self._entry(inode)

    async def link(self, ino: InodeNo, place: Place) -> Entry:
        """Give a file one more name: each is an object of its own in the store, and one inode here."""
        await self._checks.new(place)
        if (await self.getattr(ino)).inode.is_dir:
            raise NotPermitted(f"inode {ino} is a directory")
        if ino in self.tmpfiles:
            inode = self.tmpfiles.name(ino, place)
        else:
            inode = self._ns.tree.link(ino, place, now_ns=self._wall_ns())
        self._changed()
        return self._entry(inode)

    async def readlink(self, ino: InodeNo) -> bytes:
        inode = (await self.getattr(ino)).inode
        if inode.symlink is None:
            raise InvalidArgument(f"inode {ino} is no symbolic link")
        return inode.symlink

    async def unlink(self, place: Place) -> None:
        self._checks.writable()
        row = await self._names.find(*place)
        assert row.ino is not None
        if self._t.inodes.get(row.ino).is_dir:
            raise IsADirectory(repr(place.name))
        keep = self._files.is_open(row.ino)
        self._lost_name(self._ns.tree.unlink(place, now_ns=self._wall_ns(), keep=keep), keep)
        self._changed()

    async def rmdir(self, place: Place) -> None:
        self._checks.writable()
        row = await self._names.find(*place)
        await self._checks.empty(row)
        now_ns = self._wall_ns()
        inode = self._t.inodes.get(row.inode_no)
        self._ns.tree.rmdir(place, now_ns=now_ns)
        self._lost_name(inode._replace(ctime_ns=now_ns), keep=False)
        self._changed()

    async def rename(self, old: Place, new: Place, *, replace: bool = True) -> None:
        """Move a name in one transaction, whatever is below it.

        Out of staging to a path whose closes wait for the store, so does this.

        Raises:
            StoreUnreachable: it is there by its new name, and not in the store within the patience.
        """
        self._checks.writable()
        self._checks.name(new)
        moved = await self._names.find(*old)
        target = await self._names.find_any(*new)
        if target is not None:
            if not replace:
                raise AlreadyExists(repr(new.name))
            if target.ino == moved.ino:
                return
            await self._checks.replaceable(moved, target)
        keep = target is not None and target.ino is not None and self._files.is_open(target.ino)
        replaced = self._ns.tree.rename(old, new, now_ns=self._wall_ns(), keep=keep)
        if replaced is not None:
            self._lost_name(replaced, keep)
        self._changed()
        await self.renamed(moved.inode_no, new)

    async def renamed(self, ino: InodeNo, new: Place) -> None:
        """What `rename` waits for once the name is there; for who did not live to see the end of it."""
        await self._waiting.renamed(ino, new, is_dir=self._t.inodes.get(ino).is_dir)

    async def exchange(self, one: Place, other: Place) -> None:
        """Swap two names, whatever they are, in one transaction."""
        self._checks.writable()
        for place in (one, other):
            self._checks.name(place)
            await self._names.find(*place)
        self._ns.tree.exchange(one, other, now_ns=self._wall_ns())
        self._changed()

    # --- directories ---

    async def opendir(self, ino: InodeNo) -> HandleNo:
        """Open a directory, also one that was removed and is still somebody's: it is empty."""
        if ino not in self._nameless:
            self._names.directory(ino)
        self._names.guesses.walked(ino)
        return self.streams.open(ino)

    async def readdir(self, number: HandleNo, position: int) -> list[DirEntry]:
        """Return some of the entries after `position`; none at the end.

        Attributes that only a listing told are believed for no time, unless such guesses are known to be good there.
        """
        stream = self.streams.get(number)
        while names := await stream.names(position, _DIR_BATCH):
            rows = self._t.dentries.among(stream.ino, names)
            if rows:
                return [self._dir_entry(rows[name], n) for n, name in enumerate(names, position + 1) if name in rows]
            position += len(names)  # all of them were removed meanwhile
        return []

    def releasedir(self, number: HandleNo) -> None:
        self.streams.close(number)

    async def fsyncdir(self) -> None:
        """Make every name change so far survive a power loss."""
        await self._durability.reached(self._ns.database.seq)

    # --- files ---

    async def create(self, place: Place, owner: Owner, flags: int) -> tuple[HandleNo, Entry]:
        """Create and open a file, or open the one that is there, unless O_EXCL."""
        self._checks.writable()
        self._checks.name(place)
        await self._space.pace()
        present = await self._names.find_any(*place)
        if present is not None and present.ino is not None:
            if flags & os.O_EXCL:
                raise AlreadyExists(repr(place.name))
            return await self.open(present.ino, flags), await self.getattr(present.ino)
        is_open = is_for_writing(flags)
        inode = self._ns.tree.create(place, self._inherited(place, owner), now_ns=self._wall_ns(), is_open=is_open)
        if not is_open:
            self._changed()
        number = self._files.opened_new(inode, flags, may_back=self._backing.is_allowed(inode.ino, flags))
        attr_timeout_s = _TICK_S if self._files.is_written_unseen(inode.ino) else None
        return number, Entry(inode, self._names.timeout_s(inode), attr_timeout_s)

    async def tmpfile(self, parent: InodeNo, owner: Owner, flags: int) -> tuple[HandleNo, Entry]:
        """Create and open a file without a name; a `link` gives it one, if it comes before the last close."""
        self._checks.writable()
        await self._space.pace()
        heir = self._inherited(Place(parent, b""), owner)
        number, inode = self.tmpfiles.make(heir, flags, may_back=self._backing.is_allowed(parent, flags))
        return number, self._entry(inode)

    async def open(self, ino: InodeNo, flags: int, *, drops_set_id: bool = False) -> HandleNo:
        """Open a file. `drops_set_id`: who asks has no right to keep such bits on what O_TRUNC empties."""
        if is_for_writing(flags) or flags & os.O_TRUNC:
            self._checks.writable()
        if is_for_writing(flags) and not flags & os.O_TRUNC:  # that makes room
            await self._space.pace()
        inode = await self._judged(ino)
        self._checks.bytes_of(inode)
        if flags & os.O_TRUNC and drops_set_id and without_set_id(inode.mode) != inode.mode:
            self._set(inode._replace(mode=without_set_id(inode.mode)), None)
        may_back = self._backing.is_allowed(ino, flags)
        number = self._files.open(inode, flags, may_back=may_back)
        if may_back:
            await self._files.complete(number, flags)
        return number

    def back_files(self) -> None:
        """From now on the kernel reads and writes whole files of the cache by itself."""
        self._backing.begin()

    def backing(self, number: HandleNo) -> int | None:
        """The descriptor of the file that the kernel may have in place of asking; good until the next await."""
        return self._backing.of(number)

    def refuse_backing(self, number: HandleNo, exc: OSError) -> None:
        """The kernel does not take this file: it asks, and unless that may pass, for all that is opened later."""
        self._backing.refused(number, exc)

    async def read(self, number: HandleNo, offset: int, length: int) -> bytes:
        return await self._files.read(number, offset, length)

    async def write(self, number: HandleNo, offset: int, data: bytes | memoryview) -> int:
        if not self._space.admits(len(data)):
            await self._space.room(len(data), self._files.opened(number).ino)
        return await self._files.write(number, offset, data)

    def flush(self, number: HandleNo) -> None:
        self._files.flush(number)

    async def arrived(self, number: HandleNo) -> None:
        """After `flush` or `fsync`: where the path says so, return when the store has what was written.

        Raises:
            StoreUnreachable: not within the patience. The file is as it was left, and goes on being retried.
        """
        ino = self._files.written(number)
        if ino is not None:
            await self._waiting.closed(ino)

    def release(self, number: HandleNo) -> InodeNo:
        """Forget a handle, and return whose it was."""
        ino = self._files.opened(number).ino
        reaped = self._files.release(number)
        self._reaped([] if reaped is None else [reaped])
        return ino

    def release_all(self, numbers: Sequence[HandleNo]) -> list[InodeNo]:
        """Like `release` for all of them, with one commit; those that are not known are passed over."""
        inos, reaped = self._files.release_all(numbers)
        self._reaped(reaped)
        return inos

    def _reaped(self, inodes: Sequence[Inode]) -> None:
        for inode in inodes:
            if inode.ino in self._nameless:
                self._nameless.keep(inode)

    async def fsync(self, number: HandleNo) -> None:
        await self._files.fsync(number)

    def statfs(self) -> os.statvfs_result:
        """The cache disk: what may still be written before something has to be persisted."""
        return self._space.statvfs()

    # --- helpers ---

    def _dir_entry(self, row: Dentry, position: int) -> DirEntry:
        entry = self._entry(self._t.inodes.get(row.inode_no))
        if is_guess(entry.inode):
            entry = self._names.guessed(entry.inode, row.parent)
        return DirEntry(row.name, entry, position)

    async def _judged(self, ino: InodeNo) -> Inode:
        """As `getattr`; Stale: the kernel has judged who asks by a guess that is wrong, and does so again."""
        guess = self._nameless.get(ino) or self._t.inodes.get(ino)
        inode = (await self.getattr(ino)).inode
        check_guess(guess, inode)
        return inode

    def _entry(self, inode: Inode) -> Entry:
        if not inode.is_dir:
            attr_timeout_s = 0.0 if self._files.is_written_unseen(inode.ino) else None
            return Entry(self._files.attributes(inode), self._names.timeout_s(inode), attr_timeout_s)
        if self._t.directories.get(inode.ino).prefix is not None:
            inode = inode._replace(nlink=1)  # how many subdirectories the store has, nobody counts: so find(1) knows
        return Entry(inode, self._names.timeout_s(inode))

    def _inherited(self, place: Place, owner: Owner) -> Owner:
        return self.xattrs.heir(owner, self._t.inodes.get(place.parent))

    def _set(self, inode: Inode, mtime_ns: int | None) -> None:
        now_ns = self._wall_ns()
        if self._nameless.get(inode.ino) is not None:
            self._nameless.keep(inode._replace(ctime_ns=now_ns))
            return
        self._ns.tree.set_attributes(inode, now_ns=now_ns)
        if mtime_ns is not None:
            self._files.touched(inode.ino, mtime_ns)
        self._changed()

    def _lost_name(self, inode: Inode, keep: bool) -> None:
        if inode.nlink and not inode.is_dir:
            return
        self._names.forget(inode.ino)
        self._nameless.keep(inode._replace(nlink=0))
        if inode.is_dir:
            return
        if keep:
            self._files.unlinked(inode.ino)
        else:
            self._contents.drop(inode.ino)
