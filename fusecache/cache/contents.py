"""The content store: one sparse file an inode, named by its number.

A new version of an object is a new inode and numbers are never reused, so a name says everything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import trio

from fusecache.cache.blocks import BLOCK_BYTES, block_count
from fusecache.cache.content import Base, Content
from fusecache.cache.descriptors import Descriptors
from fusecache.cache.eviction import Eviction
from fusecache.cache.folders import Folders
from fusecache.cache.index import ContentIndex, IndexRow
from fusecache.cache.layout import disk_usage
from fusecache.cache.ledger import Ledger
from fusecache.cache.originals import Originals
from fusecache.cache.pieces import pieces_of
from fusecache.cache.places import Places, delete
from fusecache.cache.presence import Presence
from fusecache.cache.remains import Remains
from fusecache.cache.scrub import Scrub
from fusecache.cache.sharing import Sharing
from fusecache.cache.shrink import disown
from fusecache.cache.sparse import ContentLost, SparseFile
from fusecache.cache.strays import Strays
from fusecache.cache.summing import read_sums, unsummed
from fusecache.cache.synced import Synced, present_bytes
from fusecache.cache.traffic import Traffic
from fusecache.types import InodeNo, LowerId, ObjectKey, StoreNo

__all__ = ["Base", "Content", "ContentLost", "Contents"]

log = logging.getLogger(__name__)

_KNOWS_ALL = "knows_all"
_MAX_SYNCS = 8
"""What one disk does in parallel; more only queue there."""


class Contents:
    """Opens contents, one shared by all who ask for the same inode. Belongs to the loop.

    Nobody else may use `root`.
    """

    def __init__(
        self,
        root: Path,
        index: ContentIndex,
        *,
        block_size: int = BLOCK_BYTES,
        boot_id: str,
        max_descriptors: int | None = None,
    ) -> None:
        """`boot_id` tells this boot of the machine from others (/proc/sys/kernel/random/boot_id)."""
        self._index = index
        self._block_size = block_size
        self._boot_id = boot_id
        self._open: dict[InodeNo, Content] = {}
        self.eviction = Eviction(index)
        self.traffic = Traffic()
        self.sharing = Sharing()
        self._folders = Folders()
        self._descriptors = Descriptors(max_descriptors)
        self._syncs = trio.CapacityLimiter(_MAX_SYNCS)
        self._turns = trio.Semaphore(_MAX_SYNCS)
        self.originals = Originals(self.sharing, self._syncs)
        self.places = Places(str(root / "contents"))
        used_bytes = index.used_bytes()
        self._ledger = Ledger(used_bytes=disk_usage(self.places.root) if used_bytes is None else used_bytes)
        self.knows_all = bool(index.noted(_KNOWS_ALL))
        """Whether the index was told of every file: not by a process that was killed, nor if it was lost."""
        self._index.note(_KNOWS_ALL, 0)
        self._index.flush(used_bytes=self._ledger.used_bytes)
        self.strays = Strays(self.places, self._ledger, lambda ino: ino in self._open or index.get(ino) is not None)
        self.remains = Remains(self.places, root / "aside", self._ledger)

    def __repr__(self) -> str:
        return f"<Contents {self.places.root}: {len(self._open)} open, {self._ledger!r}>"

    def open(
        self,
        ino: InodeNo,
        *,
        size: int,
        base: Base | None,
        local_blocks: bytes | None = None,
        changed: bytes | None = None,
        create: bool = False,
    ) -> Content:
        """Return the content of `ino`, to be closed once for each opening. Touches no file yet.

        An open one is returned as it is: it knows better than the arguments. `base` None: everything is local.
        `local_blocks` is the map that the namespace kept of a dirty file that was made from its base, `changed` the
        one of what was written of it (None: maybe all that is here); without the first a content with a base is
        clean, and only what the index vouches for is present. `create`: nothing of it is on disk yet.
        """
        content = self._open.get(ino)
        if content is not None:
            return content.retain()
        if base is None:
            content = self._local(ino, size, fresh=create or size == 0)
        elif local_blocks is not None:
            content = self._dirty(ino, size, base, local_blocks, local_blocks if changed is None else changed)
        else:
            content = self._clean(ino, size, base)
        self._open[ino] = content
        return content

    async def sync(self, content: Content) -> Synced:
        """Make what was written to `content` survive a power loss, and return what that was.

        A cancelled caller leaves a sync that still happens.

        Raises:
            ContentLost: the disk refused.
        """
        synced = await self.sync_bytes(content)
        await self.sync_name(content)
        return synced

    async def sync_name(self, content: Content) -> None:
        """The part of `sync` that is about the name of a new file; it may go on while others sync rows.

        Raises:
            ContentLost: the disk refused.
        """
        path = self.places.path(content.ino)
        if not content.on_disk or self._folders.is_synced(path):
            return
        try:
            await trio.to_thread.run_sync(self._folders.sync, path, limiter=self._syncs)
        except OSError as exc:
            raise ContentLost(f"{path}: its name could not be synced: {exc.strerror}") from exc

    async def sync_bytes(self, content: Content) -> Synced:
        """The part of `sync` that is about the bytes: until the name is synced too, they may be lost.

        Raises:
            ContentLost: the disk refused.
        """
        synced = present_bytes(content)
        if content.on_disk:
            # Its turn first: who waits for a thread needs no descriptor.
            with closing(content.retain()):
                async with self._turns:
                    with content.held():
                        await trio.to_thread.run_sync(content.sync, limiter=self._syncs)
        return synced

    async def sum(self, content: Content) -> None:
        """Read the blocks that are here and were not written in order, so that they are known, too.

        What changes meanwhile stays unknown. A cancelled caller leaves a thread that comes to its end.

        Raises:
            ContentLost: the disk refused.
        """
        blocks, changes = unsummed(content), content.changes
        if not blocks or not content.on_disk:
            return
        with closing(content.retain()):
            async with self._turns:
                with content.held():
                    found = await trio.to_thread.run_sync(read_sums, content, blocks, limiter=self._syncs)
        if content.changes == changes:
            content.sums.put(found)

    def drop(self, ino: InodeNo) -> None:
        """Nobody wants it any more. The file stays until `remove`: a power loss may bring its name back."""
        self._index.discard(ino)
        self.originals.forget(ino)
        if (content := self._open.get(ino)) is not None:
            content.drop()

    def remove(self, ino: InodeNo) -> None:
        """Delete the file; an open content keeps working until its last close. Absent is fine."""
        self._index.discard(ino)
        if (content := self._open.get(ino)) is not None:
            content.unlink()
            return
        delete(self.places.path(ino), self._ledger)

    def vouch(self, ino: InodeNo, size: int, label: LowerId) -> None:
        """All of a clean content is here, and somebody uses it, whatever the index was told before a crash."""
        row = self._index.get(ino)
        if row is None or row.bitmap is not None:
            self._index.put(ino, IndexRow(label, size, self._block_size, None, b"", self._boot_id))

    def unused(self, count: int, wanted: int) -> list[InodeNo] | None:
        """Return some closed, clean contents that may go for so many bytes; call it again for others. None: no more.

        The caller says of each that was not released that it has to `eviction.stay`.
        """
        found = self.eviction.turn(count, wanted)
        if found and (in_use := [ino for ino in found if ino in self._open]):
            self.eviction.stay(in_use)
            return [ino for ino in found if ino not in self._open]
        return found

    def opened(self) -> list[Content]:
        """Return those that are open, the one that has been for longest first."""
        return list(self._open.values())

    def release(self, ino: InodeNo, label: LowerId) -> int:
        """Delete the file of a content whose bytes are that version's; return how much of the disk that frees.

        One that is open, or of which the index doesn't say so, stays.
        """
        row, used_bytes = self._index.get(ino), self._ledger.used_bytes
        if ino in self._open or row is None or row.label != label:
            return 0
        self._index.drop(ino)
        delete(self.places.path(ino), self._ledger)
        self.eviction.gone(ino, row.bytes)
        return used_bytes - self._ledger.used_bytes

    async def recount(self) -> None:
        """Count the disk space again: a process that was killed has not told of its last second.

        What changes meanwhile may be counted twice, or not.
        """
        self.flush_index()
        before = self._ledger.used_bytes
        found = await trio.to_thread.run_sync(disk_usage, self.places.root)
        self._ledger.used_bytes += found - before

    def adopt(self, ino: InodeNo, size: int, label: LowerId) -> bool:
        """Have the index know a clean content as one of which nothing is here; False: it does, or somebody uses it."""
        if ino in self._open or self._index.get(ino) is not None:
            return False
        self._index.put(ino, IndexRow(label, size, self._block_size, b"", b"", self._boot_id))
        return True

    def refute(self, ino: InodeNo, row: IndexRow, block_no: int) -> bool:
        """A block of a clean content is not what was fetched: it is absent from now on. False: somebody uses it."""
        if ino in self._open:
            return False
        with closing(self.open(ino, size=row.size, base=Base(*row.label, size=row.size))) as content:
            if content.presence is None or block_no not in content.presence:
                return True
            if not self.sharing.is_unused(content):
                return False
            disown(content, range(block_no, block_no + 1))
        self._ledger.bad_blocks += 1
        return True

    def scrub(self, *, bytes_per_s: int, wall_s: Callable[[], float]) -> Scrub:
        """Return what compares the clean contents with what was fetched; a rate of 0: nothing does."""
        return Scrub(self._index, self.places, self.refute, bytes_per_s=bytes_per_s, wall_s=wall_s)

    def exists(self, ino: InodeNo) -> bool:
        """Whether there is a file; an empty new content has none."""
        return self.places.stat(ino) is not None

    def stamp(self, content: Content, mtime_ns: int) -> None:
        """Have `stat` tell this time of the last write, until the next one. Raises ContentLost: the disk refused."""
        if not content.on_disk:
            return
        try:
            os.utime(content.fd(), ns=(mtime_ns, mtime_ns))
        except OSError as exc:
            raise ContentLost(f"{content!r}: its time could not be set: {exc.strerror}") from exc

    def cached_bytes(self, ino: InodeNo, *, size: int, base: Base | None, local_blocks: bytes | None) -> int:
        """Return how many bytes of a file are here, as `open` would find them. Nobody uses it for that."""
        if (content := self._open.get(ino)) is not None:
            return content.cached_bytes
        if base is None:
            return size
        base, bits = base.within(size), local_blocks
        if bits is None:
            row = self._index.get(ino)
            bits = row.bitmap if row is not None and self._trusted(ino, row, size, base) else b""
        here = Presence(block_count(base.size, self._block_size), bits).bytes_here(self._block_size, base.size)
        return here + size - base.size

    def used_bytes(self) -> int:
        """Return the disk space of all contents; what was written to open ones is guessed until `flush_index`."""
        return self._ledger.used_bytes

    def fits(self, limit: int | None, count: int) -> bool:
        """Whether so many bytes more are within a limit of all contents."""
        return limit is None or self._ledger.used_bytes + count <= limit

    def bad_blocks(self) -> int:
        """Return how many blocks did not match their hash since the start."""
        return self._ledger.bad_blocks

    def readers_of(self, store: StoreNo, key: ObjectKey, *, but: Content | None = None) -> bool:
        """Whether an open content, `but` this one, lacks blocks that only this object has: it must not be destroyed."""
        is_own = but is not None and not but.whole and but.base is not None and but.base.label[:2] == (store, key)
        return self._ledger.readers((store, key)) > is_own

    def reading(self, store: StoreNo, key: ObjectKey) -> list[InodeNo]:
        """Return whose open contents these are."""
        return [ino for ino, content in self._open.items() if content.reading == (store, key)]

    def flush_index(self) -> None:
        """Remember over a restart what is cached now. One transaction; every second or so is plenty."""
        for content in self._open.values():
            content.charge()
            if content.row_unsaved:
                self._remember(content)
        self._index.flush(used_bytes=self._ledger.used_bytes)

    def close(self) -> None:
        """Remember what is cached and close the index; open contents are the caller's."""
        self._index.note(_KNOWS_ALL, int(self.knows_all))
        self.flush_index()
        self._index.close()

    def _local(self, ino: InodeNo, size: int, *, fresh: bool) -> Content:
        return self._made(ino, size, None, None, may_create=fresh)

    def _dirty(self, ino: InodeNo, size: int, base: Base, local_blocks: bytes, changed: bytes) -> Content:
        base = base.within(size)
        count = block_count(base.size, self._block_size)
        presence = Presence(count, local_blocks, changed=changed, pieces=pieces_of(self._block_size))
        # What lies beyond the base, or is present, exists only in the file.
        unused = size == base.size and not (presence.size and base.size)
        return self._made(ino, size, base, presence, may_create=unused)

    def _clean(self, ino: InodeNo, size: int, base: Base) -> Content:
        base = base.within(size)
        count = block_count(base.size, self._block_size)
        row = self._index.get(ino)
        if row is None or not self._trusted(ino, row, size, base):
            # Of a file that is not there either, emptying costs nothing.
            return self._made(
                ino,
                size,
                base,
                Presence(count, b"", pieces=pieces_of(self._block_size)),
                clean=True,
                indexed=row is not None,
                void=True,
            )
        presence = Presence(count, row.bitmap, row.hashes, pieces=pieces_of(self._block_size, row.pieces))
        if row.boot_id != self._boot_id:
            presence.doubt_all()
        return self._made(ino, size, base, presence, clean=True, indexed=True)

    def _trusted(self, ino: InodeNo, row: IndexRow, size: int, base: Base) -> bool:
        if row.label != base.label or row.size != size or row.block_size != self._block_size:
            return False
        stat = self.places.stat(ino)
        return stat is not None and stat.st_size == size

    def _made(
        self,
        ino: InodeNo,
        size: int,
        base: Base | None,
        presence: Presence | None,
        *,
        clean: bool = False,
        indexed: bool = False,
        may_create: bool = False,
        void: bool = False,
    ) -> Content:
        return Content(
            ino,
            SparseFile(
                self.places.path(ino), self._ledger, self._folders, self._descriptors, may_create=may_create, void=void
            ),
            presence,
            size=size,
            base=base,
            block_size=self._block_size,
            clean=clean,
            indexed=indexed,
            ledger=self._ledger,
            forget_row=self._forget_row,
            on_last_close=self._closed,
        )

    def _closed(self, content: Content) -> None:
        del self._open[content.ino]
        if content.row_unsaved:
            self._remember(content)

    def _remember(self, content: Content) -> None:
        row = content.index_row(self._boot_id)
        if row is not None:
            self._index.put(content.ino, row, kept=self.eviction.arrived(content.ino))
        content.row_saved()

    def _forget_row(self, ino: InodeNo, is_clean: bool) -> None:
        (self._index.empty if is_clean else self._index.forget)(ino)
