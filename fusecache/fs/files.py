"""Bytes of open files: read through the cache, written to the local file, committed at close."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing

import trio

from fusecache.cache.base import REUSED_BYTES
from fusecache.cache.changes import changed_map, mark
from fusecache.cache.content import Content
from fusecache.cache.contents import Contents
from fusecache.cache.sums import is_complete
from fusecache.cache.synced import Synced, carried_bytes
from fusecache.fs.absent import Absent
from fusecache.fs.backed import can_be_backed, complete, is_shared, look, take_back
from fusecache.fs.closing import closed, committed, of_each
from fusecache.fs.handles import Handles, OpenFile, is_for_writing
from fusecache.fs.left import LeftFile
from fusecache.fs.opening import believe, content_of, reopened
from fusecache.fs.reading import Reading
from fusecache.fs.sealing import seal
from fusecache.namespace.closes import Closed
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.namespace.seals import Held
from fusecache.nurseries import unwrapped
from fusecache.types import Extent, HandleNo, InodeNo


class Files:
    """What open(2) to close(2) do. `changed` is called when a commit left something to persist."""

    def __init__(
        self,
        namespace: Namespace,
        durability: Durability,
        contents: Contents,
        absent: Absent,
        *,
        wall_ns: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._ns = namespace
        self._inodes = namespace.tables.inodes
        self._durability = durability
        self._contents = contents
        self._absent = absent
        self._reading = Reading(contents, absent)
        self._wall_ns = wall_ns
        self._changed = changed
        self._handles = Handles()
        self.unsaved_bytes = 0
        """So much longer are files than their rows say, those that are being written."""
        unsynced = self._ns.tables.seals.unsynced()
        self.unsealed = dict.fromkeys(ino for ino, sums in unsynced if sums is None or not is_complete(sums))
        """Closed files that were not written in order: nobody would believe them after a power loss, or if their bytes
        on the cache disk became others."""
        self.mapped: dict[InodeNo, None] = {}
        """Those of them that somebody may still write to, by a mapping: to be looked at again."""
        self.carried = dict.fromkeys(self._ns.tables.seals.all_carried())
        """Files whose synced bytes are with the rows, or were: those synced longest ago first."""
        self.bytes_written = 0
        """By applications, since the mount; of what the kernel writes by itself, by how much it made files longer."""

    def __repr__(self) -> str:
        return f"<Files {self._handles!r}>"

    # --- open and close ---

    def open(self, inode: Inode, flags: int, *, may_back: bool = False) -> HandleNo:
        """Open an inode; with O_TRUNC its bytes are gone when this returns, and no writer's close is needed for it.

        `may_back`: the kernel may have the content's file, if that has all the bytes, and all other handles do."""
        file = self._handles.file(inode.ino)
        if file is None:
            content = content_of(self._contents, inode)
            file = OpenFile(inode.ino, content, backed=may_back and can_be_backed(content, flags))
        self._reading.opened(file, flags)
        self._look(file)
        number = self._handles.add(file, flags)
        if flags & os.O_TRUNC:  # of an empty file, too: its times change
            self._cut(file, 0)
            if not file.writers:
                self._commit(file)
        self._begin_unseen(file)
        return number

    def go_on(self, left: LeftFile, inode: Inode, *, dirtied: bool) -> None:
        """Have a handle that an earlier process opened; of a file that is `dirtied` its close has to commit."""
        if (file := self._handles.file(left.ino)) is None:
            file = reopened(self._contents, inode, dirtied=dirtied, is_backed=left.is_backed)
            self._grew(file, file.content.size - inode.size)
        self._handles.put(left.number, file, left.flags)
        self._begin_unseen(file)  # an fsync may have committed what was written, and been killed
        self._look(file)

    async def complete(self, number: HandleNo, flags: int) -> None:
        """Have the kernel get a small file, too, that was just opened. A cancellation closes the handle."""
        file = self._handles.get(number).file
        was_here, was_backed = file.content.whole, file.backed
        try:
            await complete(file, flags, self._absent)
        except BaseException:
            self.release(number)
            raise
        if not was_backed:
            self._reading.completed(file, flags, was_here=was_here)
        self._begin_unseen(file)

    def opened_new(self, inode: Inode, flags: int, *, may_back: bool = False) -> HandleNo:
        """Open an inode that was created just now: if for writing, it is dirty already, and committed at close."""
        content = self._contents.open(inode.ino, size=0, base=None, create=True)
        file = OpenFile(inode.ino, content, mtime_ns=inode.mtime_ns, ctime_ns=inode.ctime_ns)
        file.dirtied = is_for_writing(flags)
        file.backed = may_back and file.dirtied
        return self._handles.add(file, flags)

    def flush(self, number: HandleNo) -> None:
        """A descriptor was closed: commit what was written. Acknowledged, and not yet synced."""
        handle = self._handles.get(number)
        if handle.writable and handle.file.dirtied and not handle.file.backed:
            self._commit(handle.file)

    def written(self, number: HandleNo) -> InodeNo | None:
        """The inode that a descriptor may write; None: it may not, or the inode has no name."""
        handle = self._handles.get(number)
        return handle.file.ino if handle.writable and not handle.file.unlinked else None

    def release(self, number: HandleNo) -> Inode | None:
        """The last descriptor of an open(2) is gone. Returns the inode as it was, if that was all that kept it."""
        file = self._handles.remove(number)
        if file.dirtied and not file.writers:
            self._look(file)
            self._commit(file)
        return None if file.handles else self._let_go(file)

    def release_all(self, numbers: Sequence[HandleNo]) -> tuple[list[InodeNo], list[Inode]]:
        """Like `release` for each that there is, with one commit: return whose they were, and what was reaped.

        What goes wrong with one is said in the log, and the affair of that one alone."""
        files = [self._handles.remove(number) for number in numbers if number in self._handles]
        written = {file.ino: file for file in files if file.dirtied and not file.writers}
        ones = of_each(written.values(), self._looked_at)
        for one in committed(self._ns.closes, ones, now_ns=self._wall_ns()):
            self._committed(written[one.inode.ino], one)
        ended = {file.ino: file for file in files if not file.handles}
        return [file.ino for file in files], list(filter(None, of_each(ended.values(), self._let_go)))

    def _looked_at(self, file: OpenFile) -> Closed:
        self._look(file)
        return closed(file, self._inodes.get(file.ino), self._contents.sharing)

    def _let_go(self, file: OpenFile) -> Inode | None:
        """Nobody has it open any more."""
        take_back(file)
        file.content.close()
        self._grew(file, -file.grown)  # not committed: the disk was full
        if not file.unlinked:
            if file.content.map_unsaved:
                self._save_map(file.content)  # what was fetched since the last commit
            return None
        inode = self._inodes.get(file.ino)
        self._contents.drop(file.ino)
        self._ns.tree.reap(file.ino)
        return inode

    async def fsync(self, number: HandleNo) -> None:
        """Make what was written survive a power loss: bytes before the rows that name them, or with them if few."""
        file = self._handles.get(number).file
        self._look(file)
        content = file.content
        if content.clean:
            await self._durability.reached(self._ns.database.seq)
            return
        while (carried := carried_bytes(content)) is None:
            emptied = content.emptied
            synced = await self._contents.sync_bytes(content)
            if self._ns.tables.seals.get(file.ino).held() is not None:  # which counts no more with the commit
                await self._contents.sync_name(content)
            if content.emptied != emptied:
                continue  # what was synced is beside, under an older sync's number
            self._synced(file, synced)
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._contents.sync_name, content)
                    nursery.start_soon(self._durability.reached, self._ns.database.seq)
            return
        self._synced(file, carried)
        self.carried.pop(file.ino, None)
        self.carried[file.ino] = None
        await self._durability.reached(self._ns.database.seq)

    async def seal(self, ino: InodeNo) -> None:
        """Make the bytes of a closed file survive a power loss, by themselves, and find out what they hash to; an open
        one has it still before it.

        Raises:
            Stale: it is gone. ContentLost: the disk refused.
        """
        inode = self._inodes.get(ino)
        if self._handles.file(ino) is None and not await seal(self._ns, self._contents, inode):
            self.mapped[ino] = None

    def is_open(self, ino: InodeNo) -> bool:
        return self._handles.file(ino) is not None

    def is_written_unseen(self, ino: InodeNo) -> bool:
        """Whether the kernel writes it by itself now: its size and times are old when they are told."""
        return (file := self._handles.file(ino)) is not None and file.backed and file.writers > 0

    def look_at_writers(self, count: int) -> None:
        """Take in what the kernel has written by itself: to so many files at a time, to each in its turn."""
        for file in self._handles.next_writers(count):
            self._look(file, closely=False)

    def open_for_writing(self) -> list[InodeNo]:
        """Inodes whose latest bytes wait for a close."""
        return [file.ino for file in self._handles.open_for_writing() if not file.unlinked]

    def unlinked(self, ino: InodeNo) -> None:
        """An open inode lost its last name: its bytes live until the last close.

        What is missing of them is fetched now: the object is about to go.
        """
        if (file := self._handles.file(ino)) is not None:
            file.unlinked = True
            self._absent.prefetch(file.content)

    def named(self, ino: InodeNo) -> None:
        """An open inode that had no name got one: what is committed of it falls due."""
        if (file := self._handles.file(ino)) is not None:
            file.unlinked = False
            if not file.dirtied:
                self._commit(file)

    def dropped(self, ino: InodeNo) -> None:
        """The store has another version than this inode, or none: old handles read on what is whole here."""
        if (file := self._handles.file(ino)) is not None:
            file.unlinked = True
            return
        self._contents.drop(ino)
        self._ns.tree.reap(ino)

    def opened(self, number: HandleNo) -> OpenFile:
        """What a handle shares with all others of its inode."""
        return self._handles.get(number).file

    def content(self, number: HandleNo) -> Content:
        """The bytes behind a handle, as long as it is open; of the size that they have now."""
        file = self._handles.get(number).file
        self._look(file, closely=False)
        return file.content

    # --- bytes ---

    async def read(self, number: HandleNo, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer only at the end of the file. Raises as `Reading.read`."""
        return await self._reading.read(self._handles.get(number), offset, length)

    async def write(self, number: HandleNo, offset: int, data: bytes | memoryview, *, hole: bool = False) -> int:
        """Write; the bytes survive the death of this process when it returns."""
        file = self._handles.get(number).file
        self._look(file)
        content = file.content
        with closing(content.retain()):  # so that nothing of it goes to make room for others
            while not content.whole and (missing := content.missing_for_write(Extent(offset, len(data)))):
                await self._absent.fetch(content, missing)  # and look again: much may have happened meanwhile
        if not file.dirtied:
            self._begin(file)
        size = content.size
        if mark(content, Extent(offset, len(data))):
            self._save_map(content)
        written = content.pwrite(offset, data, hole=hole)
        self.bytes_written += written
        self._grew(file, content.size - size)
        if content.map_unsaved:
            self._save_map(content)
        file.mtime_ns = file.ctime_ns = self._wall_ns()
        return written

    def truncate(self, inode: Inode, size: int) -> None:
        """Cut or extend a file. Of a file that nobody has open for writing, this is the commit too."""
        with closing(content_of(self._contents, inode)) as content:
            file = self._handles.file(inode.ino) or OpenFile(inode.ino, content)
            self._look(file)
            self._cut(file, size)
            if not file.writers:
                self._commit(file)

    def attributes(self, inode: Inode) -> Inode:
        """Return the inode with the size and times of what was written and not committed yet."""
        file = self._handles.file(inode.ino)
        if file is None or not file.dirtied:
            return inode
        self._look(file, closely=False)
        ctime_ns = max(inode.ctime_ns, file.ctime_ns)
        return inode._replace(size=file.content.size, mtime_ns=file.mtime_ns, ctime_ns=ctime_ns)

    def touched(self, ino: InodeNo, mtime_ns: int) -> None:
        """The times of an open file were set: neither its commit nor a recovery must undo that."""
        if (file := self._handles.file(ino)) is not None:
            file.mtime_ns = mtime_ns
            if file.dirtied:
                self._contents.stamp(file.content, mtime_ns)

    # --- helpers ---

    def _begin(self, file: OpenFile) -> None:
        """The first change since the last commit: the inode is dirty before its bytes are."""
        content = file.content
        believe(self._ns.tables.seals, content, self._inodes.get(file.ino))
        if content.base is not None and content.whole:
            if content.base.size < REUSED_BYTES:
                content.relabel(None)  # nothing has to come from its object any more
            elif file.backed:
                self._contents.originals.keep(content)
        base_size = content.base.size if content.base is not None else None
        inode = self._ns.tree.begin_write(
            file.ino,
            blocks=content.block_map() or None,
            changed=changed_map(content),
            base_size=base_size,
            now_ns=self._wall_ns(),
        )
        file.mtime_ns, file.ctime_ns = inode.mtime_ns, inode.ctime_ns  # until a byte has changed: there may be no room
        file.dirtied = True

    def _begin_unseen(self, file: OpenFile) -> None:
        """Who writes by the kernel's hand does not tell, so he does from the open on."""
        if file.backed and file.writers and not file.dirtied:
            self._begin(file)

    def _save_map(self, content: Content) -> None:
        assert content.base is not None
        blocks, changed = content.block_map(), changed_map(content)
        self._ns.tree.wrote_blocks(content.ino, blocks=blocks, changed=changed, base_size=content.base.size)
        content.map_saved()

    def _look(self, file: OpenFile, *, closely: bool = True) -> None:
        if file.backed and file.dirtied:
            grown = look(file, self._contents, closely=closely)
            self.bytes_written += max(0, grown)
            self._grew(file, grown)

    def _grew(self, file: OpenFile, count: int) -> None:
        file.grown += count
        self.unsaved_bytes += count

    def _cut(self, file: OpenFile, size: int) -> None:
        content, before = file.content, file.content.size
        if not size and content.base is not None:
            content.truncate(0, kept_as=self._kept_as(file))
            content.relabel(None)
            if file.dirtied:  # else said in beginning: after a crash, no block of the old object belongs here
                self._ns.tree.made_whole(file.ino)
        if not file.dirtied:
            self._begin(file)
        content.truncate(size, kept_as=self._kept_as(file) if not size else None)
        if content.map_unsaved:
            self._save_map(content)
        self._grew(file, size - before)
        file.mtime_ns = file.ctime_ns = self._wall_ns()

    def _kept_as(self, file: OpenFile) -> int | None:
        """Where the synced bytes of a file go that is emptied: nowhere if the kernel has it, or somebody's mapping."""
        return None if is_shared(file, self._contents.sharing) else self._ns.tables.seals.get(file.ino).synced_token

    def _synced(self, file: OpenFile, synced: Synced) -> None:
        """Record what the disk holds; what was written while it was synced is not among it."""
        is_all = synced.changes == file.content.changes
        generation = self._inodes.get(file.ino).generation if is_all else -1
        held = Held(generation, synced.size, synced.blocks, synced.base_size, synced.carried)
        if file.dirtied:
            self._commit(file, held)
            self._begin_unseen(file)
        else:
            self._ns.tree.synced(file.ino, held)

    def _commit(self, file: OpenFile, held: Held | None = None) -> None:
        one = closed(file, self._inodes.get(file.ino), self._contents.sharing, held=held)
        self._ns.closes.commit([one], now_ns=self._wall_ns())
        self._committed(file, one)

    def _committed(self, file: OpenFile, one: Closed) -> None:
        content, sums = file.content, one.sums
        if sums is None or not is_complete(sums) or (one.held is None and content.base is not None):
            self.unsealed[file.ino] = None
        content.map_saved()
        self._grew(file, -file.grown)
        file.dirtied = False
        self._changed()
