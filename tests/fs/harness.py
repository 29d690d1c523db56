"""A file system without a kernel over a store in memory: driven by paths, and every request is counted."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fusecache import errors
from fusecache.backends.memory import MemoryBackend
from fusecache.backends.sources import BytesSource
from fusecache.cache.contents import Contents
from fusecache.cache.fetch import Fetcher
from fusecache.cache.index import ContentIndex
from fusecache.cache.listings import Listings, PageStore
from fusecache.config.rules import Policy, Rule, Rules
from fusecache.errors import NotADirectory
from fusecache.fs.absent import Absent
from fusecache.fs.attrs import Changes
from fusecache.fs.describe import Describer
from fusecache.fs.files import Files
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.nameless import Nameless
from fusecache.fs.names import Names
from fusecache.fs.stale import Stale
from fusecache.fs.streams import DirEntry
from fusecache.fs.upkeep import Upkeep
from fusecache.fs.waiting import Waiting
from fusecache.fs.xattrs import Xattrs
from fusecache.namespace.durability import Durability
from fusecache.namespace.lower import Defaults
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode, Place
from fusecache.namespace.tree import Owner
from fusecache.persist.succession import Succession
from fusecache.types import ROOT_INO, ETag, Extent, HandleNo, InodeNo, ListPage, ObjectInfo, ObjectKey
from tests.fs.room import ample_space

BLOCK = 64 << 10
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where a directory may be made for what needs no disk: many short runs, one after the other."""
"""Small blocks: a file of a few of them is still a small file for a test."""
TTL_S = 60.0
DEFAULTS = Defaults(uid=11, gid=12, file_mode=0o640, dir_mode=0o750)
FILE = Owner(stat.S_IFREG | 0o644, 1000, 1000)
LINK = Owner(stat.S_IFLNK | 0o777, 1000, 1000)
FIFO = Owner(stat.S_IFIFO | 0o600, 1000, 1000)
DIRECTORY = Owner(stat.S_IFDIR | 0o755, 1000, 1000)


class CountedStore(MemoryBackend):
    """Counts the requests that read. While `gate` is not set, GETs wait for it."""

    def __init__(self) -> None:
        super().__init__(wall_ns=lambda: 1_700_000_000_000_000_000)
        self.requests: Counter[str] = Counter()
        self.conditions: list[ETag | None] = []
        self.gate = trio.Event()
        self.gate.set()

    def since(self) -> Counter[str]:
        """Return the requests since the last look."""
        seen, self.requests = self.requests, Counter()
        return seen

    def forget(self, key: str) -> None:
        """Somebody deletes an object."""
        del self._objects[ObjectKey(key)]

    async def foreign(self, objects: dict[str, bytes], **metadata: str) -> None:
        """Somebody else puts objects into the store."""
        for key, data in objects.items():
            await self.put(ObjectKey(key), BytesSource(data), metadata=metadata)

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        self.requests["get"] += 1
        self.conditions.append(if_match)
        await self.gate.wait()
        return await super().get(key, extent, if_match=if_match)

    async def head(self, key: ObjectKey) -> ObjectInfo:
        self.requests["head"] += 1
        return await super().head(key)

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        self.requests["list"] += 1
        return await super().list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)


@dataclass
class World:
    """The parts of one mount, and what applications do with it in words of one line."""

    fs: FileSystem
    ns: Namespace
    store: CountedStore
    contents: Contents
    upkeep: Upkeep = field(kw_only=True)
    stale: list[Stale] = field(default_factory=list, kw_only=True)
    """What the kernel was told not to believe any more."""
    kernel: dict[HandleNo, InodeNo] = field(default_factory=dict)
    names: Names | None = field(default=None, kw_only=True)

    # --- names ---

    async def place(self, path: str | bytes) -> Place:
        """The place of a path whose directories exist. A `bytes` path may hold any name."""
        raw = path.encode() if isinstance(path, str) else path
        *above, name = raw.split(b"/")
        ino = ROOT_INO
        for each in above:
            inode = (await self.fs.lookup(ino, each)).inode
            if not inode.is_dir:  # the kernel sees to that
                raise NotADirectory(path)
            ino = inode.ino
        return Place(ino, name)

    async def stat(self, path: str | bytes) -> Inode:
        if not path:
            return (await self.fs.getattr(ROOT_INO)).inode
        return (await self.fs.lookup(*await self.place(path))).inode

    async def ls(self, path: str = "") -> list[str]:
        """Names in the order of the stream, those of directories with a slash."""
        return [
            each.name.decode() + "/" * each.entry.inode.is_dir
            for each in await self.entries((await self.stat(path)).ino)
        ]

    async def entries(self, ino: InodeNo) -> list[DirEntry]:
        number = await self.fs.opendir(ino)
        try:
            found: list[DirEntry] = []
            while some := await self.fs.readdir(number, found[-1].position if found else 0):
                found += some
            return found
        finally:
            self.fs.releasedir(number)

    async def mkdir(self, path: str) -> InodeNo:
        return (await self.fs.mkdir(await self.place(path), DIRECTORY)).inode.ino

    async def symlink(self, target: str, path: str) -> InodeNo:
        return (await self.fs.symlink(await self.place(path), target.encode(), LINK)).inode.ino

    async def link(self, old: str, new: str) -> None:
        ino = (await self.stat(old)).ino
        await self.fs.link(ino, await self.place(new))

    async def unlink(self, path: str) -> None:
        await self.fs.unlink(await self.place(path))

    async def rmdir(self, path: str) -> None:
        await self.fs.rmdir(await self.place(path))

    async def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        await self.fs.rename(await self.place(old), await self.place(new), replace=replace)

    async def exchange(self, one: str, other: str) -> None:
        await self.fs.exchange(await self.place(one), await self.place(other))

    async def mkfifo(self, path: str) -> InodeNo:
        return (await self.fs.mknod(await self.place(path), FIFO, 0)).inode.ino

    # --- extended attributes ---

    async def setxattr(self, path: str, name: bytes, value: bytes) -> None:
        await self.fs.xattrs.set((await self.stat(path)).ino, name, value)

    async def getxattr(self, path: str, name: bytes) -> bytes:
        return await self.fs.xattrs.get((await self.stat(path)).ino, name)

    async def xattrs(self, path: str) -> dict[bytes, bytes]:
        ino = (await self.stat(path)).ino
        return {name: await self.fs.xattrs.get(ino, name) for name in await self.fs.xattrs.list(ino)}

    # --- bytes ---

    async def create(self, path: str, flags: int = os.O_WRONLY) -> HandleNo:
        number, entry = await self.fs.create(await self.place(path), FILE, flags)
        self.kernel[number] = entry.inode.ino
        return number

    async def open(self, path: str, flags: int = os.O_RDONLY) -> HandleNo:
        """Open as the kernel does: what is not there is created with O_CREAT, and after ESTALE it looks again."""
        if flags & os.O_CREAT:
            return await self.create(path, flags)
        try:
            return await self._open(path, flags)
        except errors.Stale:
            return await self._open(path, flags)

    async def _open(self, path: str, flags: int) -> HandleNo:
        ino = (await self.stat(path)).ino
        number = await self.fs.open(ino, flags)
        self.kernel[number] = ino
        return number

    async def read(self, number: HandleNo, offset: int = 0, length: int = 1 << 30) -> bytes:
        return await self.fs.read(number, offset, length)

    async def close(self, number: HandleNo) -> None:
        self.fs.flush(number)
        try:
            await self.fs.arrived(number)
        finally:
            self.fs.release(number)
            del self.kernel[number]

    async def write_file(self, path: str, data: bytes) -> None:
        number = await self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        await self.fs.write(number, 0, data)
        await self.close(number)

    async def write_at(self, path: str, offset: int, data: bytes) -> None:
        number = await self.open(path, os.O_WRONLY)
        await self.fs.write(number, offset, data)
        await self.close(number)

    async def read_file(self, path: str) -> bytes:
        number = await self.open(path)
        try:
            return await self.read(number)
        finally:
            await self.close(number)

    async def truncate(self, path: str, size: int) -> None:
        await self.fs.setattr((await self.stat(path)).ino, Changes(size=size))

    async def setattr(self, path: str, **changes: int) -> Inode:
        return (await self.fs.setattr((await self.stat(path)).ino, Changes(**changes))).inode


class _NoDrain:
    async def file(self, ino: InodeNo) -> None:
        raise AssertionError("no path waits for a store here")

    async def tree(self, ino: InodeNo) -> None:
        raise AssertionError("no path waits for a store here")


def wall_clock() -> Callable[[], int]:
    """Return the wall time in nanoseconds, which goes on as trio's does: a test may own it."""
    started_ns = time.time_ns() - int(trio.current_time() * 1e9)
    return lambda: started_ns + int(trio.current_time() * 1e9)


@asynccontextmanager
async def a_world(
    root: Path,
    store: CountedStore | None = None,
    *,
    ttl_s: float = TTL_S,
    read_only: bool = False,
    rules: Sequence[Rule] = (),
) -> AsyncIterator[World]:
    """Mount a store, without a kernel and without a drain. Time is trio's, so that a test may own it."""
    backend = store if store is not None else CountedStore()
    wall_ns = wall_clock()
    ns = Namespace(
        root / "namespace.db",
        url=backend.url,
        boot_id="boot",
        delay_ns=10**9,
        defaults=DEFAULTS,
        is_staging=lambda names: b"_temporary" in names,
        rules=Rules(rules, Policy(ttl_s=ttl_s)),
        now_ns=wall_ns(),
    )
    readers = {ns.store: backend}
    durability = Durability(ns.database)
    contents = Contents(root, ContentIndex(root / "index.db"), block_size=BLOCK, boot_id="boot")
    fetcher = Fetcher(readers, limiter=trio.CapacityLimiter(16))
    listings = Listings(readers, PageStore(root / "listings", tag="x"), clock=lambda: wall_ns() / 1e9)
    succession = Succession(ns, readers)
    files = Files(
        ns, durability, contents, Absent(fetcher, succession.instead_of), wall_ns=wall_ns, changed=lambda: None,
    )  # fmt: skip
    stale: list[Stale] = []
    names = Names(
        ns, listings, readers, defaults=DEFAULTS, wall_ns=wall_ns,
        dropped=files.dropped, stale=stale.append,
    )  # fmt: skip
    describer = Describer(ns, names, contents, uploading=tuple, wall_ns=wall_ns)
    nameless = Nameless(files.is_open)
    xattrs = Xattrs(ns, names, nameless, describer.facts, read_only=read_only, wall_ns=wall_ns, changed=lambda: None)
    fs = FileSystem(
        ns,
        names,
        files,
        contents,
        durability,
        nameless=nameless,
        xattrs=xattrs,
        space=ample_space(root),
        read_only=read_only,
        max_key_bytes=1024,
        wall_ns=wall_ns,
        changed=lambda: None,
        waiting=Waiting(ns, _NoDrain()),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(fetcher.run)
        try:
            yield World(
                fs, ns, backend, contents, upkeep=Upkeep(ns, contents, durability, files), stale=stale, names=names
            )
        finally:
            nursery.cancel_scope.cancel()
            contents.close()
            listings.close()
            ns.close()


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes of which no two blocks are the same."""
    unit = b"".join((i * 2654435761 + seed).to_bytes(8, "little") for i in range(size // 8 + 1))
    return unit[:size]


def numbered(count: int, directory: str = "", data: bytes = b"x") -> dict[str, bytes]:
    return {f"{directory}f{n:05d}": data for n in range(count)}


def total(requests: Counter[str], kinds: Iterable[str] = ("get", "head", "list")) -> int:
    return sum(requests[kind] for kind in kinds)
