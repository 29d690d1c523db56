"""Brings files whole into the cache before anybody reads them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

import trio

from fusecache.backends.pace.turns import Turns
from fusecache.cache.content import Content
from fusecache.cache.contents import Contents
from fusecache.errors import FusecacheError, NoSpace, NotFound, Stale
from fusecache.fs.absent import Absent
from fusecache.fs.names import Names
from fusecache.fs.opening import cached_bytes_of, content_of
from fusecache.fs.walk import Found, Walk, has_bytes, shown
from fusecache.namespace.records import Dentry
from fusecache.namespace.tables import Tables
from fusecache.nurseries import unwrapped
from fusecache.types import Extent, InodeNo

_FILES = 16
"""At a time. Of each the blocks of a step are fetched in parallel, as far as requests are let through."""
_STEP_BYTES = 32 << 20
"""Asked for at once of one file; less where a rate makes that take longer than a moment."""
_STEP_S = 0.25
_FAILED = 1000
"""Failures that are named; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be loaded, and how."""

    include: tuple[str, ...] = ()
    """Globs: of names, and those with a slash of the path below what is loaded. None: everything."""
    bytes_per_s: float | None = None
    metadata: bool = False
    """Only listings and attributes, no bytes."""


@dataclass(slots=True)
class Loaded:
    """How far it is; of bytes that were here already nothing was fetched."""

    files_found: int = 0
    bytes_found: int = 0
    files_done: int = 0
    bytes_done: int = 0
    bytes_fetched: int = 0
    failures: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    stopped: str | None = None
    """Why it ended early."""
    began_at: float = field(default_factory=trio.current_time)

    def fail(self, path: bytes, why: Exception) -> None:
        self.failures += 1
        if len(self.failed) < _FAILED:
            self.failed.append({"path": shown(path), "error": str(why) or type(why).__name__})

    def as_dict(self) -> dict[str, object]:
        elapsed_s = trio.current_time() - self.began_at
        left = max(0, self.bytes_found - self.bytes_done)
        per_s = self.bytes_fetched / elapsed_s if elapsed_s > 0 else 0.0
        return {
            "files_found": self.files_found,
            "bytes_found": self.bytes_found,
            "files_done": self.files_done,
            "bytes_done": self.bytes_done,
            "files_left": max(0, self.files_found - self.files_done - self.failures),
            "bytes_left": left,
            "bytes_fetched": self.bytes_fetched,
            "bytes_per_s": round(per_s, 1),
            "eta_s": round(left / per_s, 1) if per_s and left else None,
            "failures": self.failures,
            "failed": list(self.failed),
            "stopped": self.stopped,
            "elapsed_s": round(elapsed_s, 3),
        }


class Loader:
    """Fetches as a reader would; what there is no room for stays in the store."""

    def __init__(
        self,
        tables: Tables,
        names: Names,
        contents: Contents,
        absent: Absent,
        walk: Walk,
        *,
        room: Callable[[], int],
    ) -> None:
        """`room` tells how many bytes may come before something would have to go for them that is in use."""
        self._t = tables
        self._names = names
        self._contents = contents
        self._absent = absent
        self._room = room
        self._coming = 0
        self._has_come = trio.lowlevel.ParkingLot()
        self._walk = walk

    def __repr__(self) -> str:
        return f"<Loader: {self._coming} bytes on their way>"

    async def load(
        self, path: bytes, ino: InodeNo, row: Dentry | None, wish: Wish, *, progress: Callable[[Loaded], None]
    ) -> Loaded:
        """Load what is at or below a path, whose inode and name are given. What fails is told at the end.

        First all is counted, which costs the listings; then it is fetched. A cancellation leaves what has arrived.
        """
        return await _Loading(self, path, wish, progress).run(ino, row)

    async def each(
        self,
        path: bytes,
        ino: InodeNo,
        row: Dentry | None,
        found: Callable[[Found], Awaitable[None]],
        failed: Callable[[bytes, FusecacheError], None],
    ) -> None:
        """Call `found` for each file at or below a path."""
        inode = self._t.inodes.get(ino)
        if inode.is_dir:
            await self._walk.visit(path, ino, found, failed)
        elif row is not None and has_bytes(inode):
            await found(Found(path, row, inode))

    def missing_bytes(self, found: Found) -> int:
        """Return how many bytes of a file are not here."""
        return found.inode.size - cached_bytes_of(self._contents, found.inode)

    async def head(self, found: Found) -> None:
        """Have the attributes of a file, as its next open wants them. Raises NotFound, Stale: it is gone."""
        await self._names.head(self._t.inodes.get(found.inode.ino))

    async def fetch(self, found: Found, turns: Turns, arrived: Callable[[int], None]) -> None:
        """Have all bytes of a file here; `arrived` is told how many have come.

        Raises:
            NotFound, Stale: it is gone. NoSpace: there is no room for it. TransientBackendError.
        """
        await self.head(found)
        with closing(content_of(self._contents, self._t.inodes.get(found.inode.ino))) as content:
            step = _step(content, turns.per_s)
            if not content.whole:
                self._contents.eviction.ask_for(content.ino)
            for start in range(0, content.size, step):
                while missing := content.missing(Extent(start, min(step, content.size - start))):
                    count = sum(content.block_length(each) for each in missing)
                    async with self._reserved(count):
                        await trio.sleep_until(turns.take(trio.current_time(), amount=count))
                        await self._absent.fetch(content, missing, may_pass=True)
                    arrived(count)
                    if content.missing(Extent(start, min(step, content.size - start))) == missing:
                        raise NoSpace("the cache does not keep what is fetched")
                await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _reserved(self, count: int) -> AsyncIterator[None]:
        """Have room for so many bytes in the block, what is on its way for others considered. Raises NoSpace."""
        while count > (room := self._room()) - self._coming:
            if not self._coming:
                raise NoSpace(f"no room for {count} bytes more, but for {max(0, room)}")
            await self._has_come.park()
        self._coming += count
        try:
            yield
        finally:
            self._coming -= count
            self._has_come.unpark_all()


class _Loading:
    """One load."""

    def __init__(self, loader: Loader, path: bytes, wish: Wish, progress: Callable[[Loaded], None]) -> None:
        self._loader = loader
        self._path = path
        self._wish = wish
        self._progress = progress
        self._is_wanted = included(wish.include)
        self._done = Loaded()
        self._turns = Turns(wish.bytes_per_s)

    async def run(self, ino: InodeNo, row: Dentry | None) -> Loaded:
        done = self._done
        await self._loader.each(self._path, ino, row, self._count, done.fail)
        send, receive = trio.open_memory_channel[Found](_FILES)

        async def offer(found: Found) -> None:
            if self._wants(found):
                await send.send(found)

        with unwrapped():
            async with trio.open_nursery() as nursery:
                for _ in range(_FILES):
                    nursery.start_soon(self._work, receive.clone(), nursery.cancel_scope)
                receive.close()
                async with send:
                    await self._loader.each(self._path, ino, row, offer, lambda _path, _exc: None)  # told already
        return done

    async def _count(self, found: Found) -> None:
        if self._wants(found):
            self._done.files_found += 1
            self._done.bytes_found += 0 if self._wish.metadata else found.inode.size
            self._progress(self._done)

    async def _work(self, files: trio.MemoryReceiveChannel[Found], scope: trio.CancelScope) -> None:
        async with files:
            async for found in files:
                try:
                    await self._one(found)
                except NoSpace as exc:
                    self._done.stopped = str(exc)
                    scope.cancel()
                except (NotFound, Stale) as exc:
                    self._done.fail(found.path, type(exc)("it was changed or removed meanwhile"))
                except FusecacheError as exc:
                    self._done.fail(found.path, exc)
                self._progress(self._done)

    async def _one(self, found: Found) -> None:
        done = self._done
        if self._wish.metadata:
            await self._loader.head(found)
        else:
            done.bytes_done += found.inode.size - self._loader.missing_bytes(found)
            await self._loader.fetch(found, self._turns, self._arrived)
        done.files_done += 1

    def _arrived(self, count: int) -> None:
        self._done.bytes_done += count
        self._done.bytes_fetched += count
        self._progress(self._done)

    def _wants(self, found: Found) -> bool:
        below = found.path[len(self._path) :].lstrip(b"/") or found.path.rpartition(b"/")[2]
        return self._is_wanted(below)


def included(globs: Sequence[str]) -> Callable[[bytes], bool]:
    """Return what tells of a path whether one of the globs matches it, or its name if there is no slash in the glob.

    `*` stands for slashes, too, in a glob that has some.
    """
    wanted = [os.fsencode(glob) for glob in globs]

    def is_wanted(path: bytes) -> bool:
        name = path.rpartition(b"/")[2]
        return not wanted or any(fnmatch.fnmatchcase(path if b"/" in glob else name, glob) for glob in wanted)

    return is_wanted


def _step(content: Content, bytes_per_s: float | None) -> int:
    """Return how many bytes are asked for at once: whole blocks."""
    wanted = _STEP_BYTES if bytes_per_s is None else min(_STEP_BYTES, int(bytes_per_s * _STEP_S / _FILES))
    return max(1, wanted // content.block_size) * content.block_size
