"""A file system without a kernel, with its persister, over a store in memory whose writes are counted."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from fusecache.backends.base import Backend, Source
from fusecache.backends.pace import Pacer
from fusecache.cache.contents import Content, Contents
from fusecache.cache.fetch import Fetcher
from fusecache.cache.index import ContentIndex
from fusecache.cache.listings import Listings, PageStore
from fusecache.cache.originals import Original, Originals, unchanged_runs
from fusecache.cache.summing import read_sums, unsummed
from fusecache.cache.synced import Synced, present_bytes
from fusecache.config.model import MARKERS, STAGING
from fusecache.config.rules import Rules
from fusecache.fs.absent import Absent
from fusecache.fs.caching import Caching
from fusecache.fs.describe import Describer
from fusecache.fs.files import Files
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.left import NOTHING, Left
from fusecache.fs.nameless import Nameless
from fusecache.fs.names import Names
from fusecache.fs.opening import go_on
from fusecache.fs.recovery import Recovery
from fusecache.fs.release import Releaser
from fusecache.fs.space import Space
from fusecache.fs.stale import Stale
from fusecache.fs.upkeep import Upkeep
from fusecache.fs.waiting import Waiting
from fusecache.fs.xattrs import Xattrs
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.persist.persister import Persister
from fusecache.persist.settings import Settings
from fusecache.persist.staging import Patterns
from fusecache.types import DeleteOutcome, ETag, Extent, ObjectKey, Seq
from tests.fs.harness import BLOCK, DEFAULTS, CountedStore, World, wall_clock
from tests.fs.room import Room, ample_space

MIB = 1 << 20


class RecordedStore(CountedStore):
    """Records the requests that write, in order; `gates` hold up those whose name they are.

    `is_versioned`: etags are of the version, not of the bytes, as those of encrypted objects and of files.
    """

    def __init__(self, *, is_versioned: bool = False) -> None:
        super().__init__()
        self._versions = itertools.count(1) if is_versioned else None
        self.writes: list[str] = []
        self.gates: dict[str, trio.Event] = {}
        self.parts: list[str] = []
        """The parts that were sent: "big 1"."""
        self.part_s = 0.0
        """How long a part takes."""
        self.pause_s = 0.0
        """How long a write takes on its way, and its answer likewise."""

    def objects(self) -> dict[str, bytes]:
        return {key: self.content(key) for key in self.keys()}

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        await self._record(f"put {key}")
        etag = await super().put(key, source, metadata=metadata, if_match=if_match, if_none_match=if_none_match)
        await trio.sleep(self.pause_s)
        return etag

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        await self._record(f"copy {source} {target}")
        etag = await super().copy(source, target, if_match=if_match, size=size, metadata=metadata)
        await trio.sleep(self.pause_s)
        return etag

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        await self._record(f"delete {' '.join(sorted(keys))}")
        outcomes = await super().delete(keys, if_match=if_match)
        await trio.sleep(self.pause_s)
        return outcomes

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        await self._record(f"multipart {key}")
        return await super().start_multipart(key, metadata=metadata)

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        if (gate := self.gates.get("part")) is not None:
            await gate.wait()
        await trio.sleep(self.part_s)
        etag = await super().put_part(key, upload_id, number, source)
        self.parts.append(f"{key} {number}")
        await trio.sleep(self.pause_s)
        return etag

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        etag = await super().put_part_copy(key, upload_id, number, source, extent, if_match=if_match)
        self.parts.append(f"{key} {number} copied")
        await trio.sleep(self.pause_s)
        return etag

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        etag = await super().complete_multipart(key, upload_id, etags, if_match=if_match, if_none_match=if_none_match)
        await trio.sleep(self.pause_s)
        return etag

    @property
    def parts_left(self) -> int:
        return len(self._uploads)

    def hold(self, kind: str) -> trio.Event:
        """Requests of this kind wait until the event is set."""
        return self.gates.setdefault(kind, trio.Event())

    def _store(self, key: ObjectKey, data: bytes, metadata: Mapping[str, str]) -> ETag:
        etag = super()._store(key, data, metadata)
        if self._versions is None:
            return etag
        stored, etag = self._objects[key], ETag(f"v{next(self._versions)}")
        self._objects[key] = replace(stored, info=replace(stored.info, etag=etag))
        return etag

    async def _record(self, request: str) -> None:
        self.writes.append(request)
        await trio.sleep(self.pause_s)
        gate = self.gates.get(request.split()[0])
        if gate is not None:
            await gate.wait()


class PromptDurability(Durability):
    """Syncs at once: an autojump clock would not wait for a thread."""

    async def reached(self, seq: Seq) -> None:
        await trio.lowlevel.checkpoint()
        if self._database.synced_seq < seq:
            self._database.before_sync()
            self._database.sync()

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        self._database.checkpoint()
        self._database.end_checkpoint()


class PromptOriginals(Originals):
    """Likewise."""

    async def _read(self, content: Content, original: Original, end: int, known: bytes) -> list[Extent]:
        await trio.lowlevel.checkpoint()
        return unchanged_runs(content, original, end, known)


class PromptContents(Contents):
    """Likewise."""

    def __init__(self, root: Path, index: ContentIndex, *, block_size: int, boot_id: str) -> None:
        super().__init__(root, index, block_size=block_size, boot_id=boot_id)
        self.originals = PromptOriginals(self.sharing, self._syncs)

    async def sync_bytes(self, content: Content) -> Synced:
        await trio.lowlevel.checkpoint()
        synced = present_bytes(content)
        if content.on_disk:
            content.fd()
            content.sync()
        return synced

    async def sum(self, content: Content) -> None:
        await trio.lowlevel.checkpoint()
        content.sums.put(read_sums(content, unsummed(content)))

    async def sync_name(self, content: Content) -> None:
        await trio.lowlevel.checkpoint()
        if content.on_disk:
            self._folders.sync(self.places.path(content.ino))


@dataclass
class Drained(World):
    """A world whose changes go to the store when it is told to `drain`, or when they are due."""

    persister: Persister = field(kw_only=True)
    describer: Describer = field(kw_only=True)
    space: Space = field(kw_only=True)
    releaser: Releaser = field(kw_only=True)
    caching: Caching = field(kw_only=True)

    async def settle(self) -> None:
        """Drain everything, then wait for what only falls due later."""
        with trio.fail_after(3600):
            await self.persister.drain()

    def tasks_left(self) -> int:
        return self.ns.tables.backlog.dirty().files + self.ns.tables.backlog.local().files


def _namespace(
    root: Path, url: str, settings: Settings, boot_id: str, *, delay_s: float, now_ns: int, reserve_bytes: int
) -> Namespace:
    patterns = Patterns(staging=settings.staging, markers=settings.markers, rules=settings.rules)
    return Namespace(
        root / "namespace.db",
        url=url,
        boot_id=boot_id,
        delay_ns=int(delay_s * 1e9),
        defaults=DEFAULTS,
        is_staging=patterns.is_staging,
        now_ns=now_ns,
        rules=settings.rules,
        staging_said=patterns.staging_said,
        ballast_bytes=reserve_bytes,
    )


@asynccontextmanager
async def a_drained_world(
    root: Path,
    store: RecordedStore,
    *,
    through: Backend | None = None,
    delay_s: float = 1.0,
    settings: Settings | None = None,
    seed: int = 0,
    ttl_s: float = 0.0,
    boot_id: str = "boot",
    reserve_bytes: int = 0,
    room: Room | None = None,
    pacer: Pacer | None = None,
    left: Left = NOTHING,
    block_size: int = BLOCK,
) -> AsyncIterator[Drained]:
    """Mount `store` and drain it, by way of `through` if given. Leaving is a crash: nothing is finished.

    `left`: what the last one had open, and its applications go on with."""
    settings = settings or Settings(staging=STAGING, markers=MARKERS, multipart_threshold=8 * MIB, part_size=5 * MIB)
    rules = settings.rules
    settings = replace(settings, rules=Rules(rules.given, replace(rules.default, ttl_s=ttl_s)))
    wall_ns = wall_clock()
    ns = _namespace(root, store.url, settings, boot_id, delay_s=delay_s, now_ns=wall_ns(), reserve_bytes=reserve_bytes)
    durability = PromptDurability(ns.database)
    readers = {ns.store: store}
    contents = PromptContents(root, ContentIndex(root / "index.db"), block_size=block_size, boot_id=boot_id)
    fetcher = Fetcher(
        readers, limiter=trio.CapacityLimiter(16),
        fits=partial(contents.fits, None if room is None else room.limits.cache_size),
        make_room=lambda: releaser.make_room(),
    )  # fmt: skip
    listings = Listings(readers, PageStore(root / "listings", tag="x"), clock=lambda: wall_ns() / 1e9)
    stale: list[Stale] = []
    persister = Persister(
        ns, durability, contents, fetcher, {ns.store: through or store}, settings, wall_ns=wall_ns,
        rng=random.Random(seed), open_for_writing=lambda: files.open_for_writing(),
        pacers={} if pacer is None else {ns.store: pacer}, stale=stale.append,
    )  # fmt: skip
    files = Files(
        ns, durability, contents, Absent(fetcher, persister.base_instead_of), wall_ns=wall_ns, changed=persister.ring,
    )  # fmt: skip
    names = Names(
        ns, listings, readers, defaults=DEFAULTS, wall_ns=wall_ns,
        dropped=files.dropped, stale=stale.append,
    )  # fmt: skip
    describer = Describer(ns, names, contents, uploading=persister.uploading, wall_ns=wall_ns)
    nameless = Nameless(files.is_open)
    xattrs = Xattrs(ns, names, nameless, describer.facts, read_only=False, wall_ns=wall_ns, changed=persister.ring)
    space = ample_space(root) if room is None else room.space(ns, contents, files, persister)
    fs = FileSystem(
        ns, names, files, contents, durability, nameless=nameless, xattrs=xattrs, space=space, read_only=False,
        max_key_bytes=1024, wall_ns=wall_ns, changed=persister.ring, waiting=Waiting(ns, persister.through),
    )  # fmt: skip
    Recovery(ns, contents, boot_id=boot_id, delay_ns=int(delay_s * 1e9), wall_ns=wall_ns).run(left)
    go_on(left, ns.tables, files, nameless)
    fs.streams.go_on(left.directories)
    fs.tmpfiles.go_on(left)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(fetcher.run)
            nursery.start_soon(persister.run)
            persister.ring()
            upkeep = Upkeep(ns, contents, durability, files)
            releaser = Releaser(ns, contents, durability, wanted=space.to_release, is_open=files.is_open)
            caching = Caching(
                ns, names, contents, durability, describer, Absent(fetcher, persister.base_instead_of), space,
                give_up=releaser.give_up,
            )  # fmt: skip
            yield Drained(
                fs, ns, store, contents, persister=persister, describer=describer, upkeep=upkeep, stale=stale,
                space=space, releaser=releaser, caching=caching,
            )  # fmt: skip
            nursery.cancel_scope.cancel()
        assert "0 tasks, 0 keys>, 0 requests, 0 batches" in repr(persister)
    finally:
        contents.close()
        listings.close()
        ns.close()
