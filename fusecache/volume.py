"""Builds the parts of a mount and ties them together: the only place that knows them all."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from fusecache.backends.base import Backend
from fusecache.backends.factory import open_backend, open_queue
from fusecache.backends.pace import Paced, Pacer, Priority
from fusecache.backends.repeat import Repeats
from fusecache.backends.retry import RetryingReader
from fusecache.building import (
    MAX_GETS,
    contents_of,
    doctor_of,
    limits_of,
    listings_of,
    names_of,
    namespace_of,
    namespace_path,
    notified_of,
    pacer_of,
    recovery_of,
    space_limits,
    store_options,
)
from fusecache.cache.fetch import Fetcher
from fusecache.cache.hedge import Hedge
from fusecache.config import Config
from fusecache.errors import ConfigError, NamespaceError, TransientBackendError
from fusecache.fs.absent import Absent
from fusecache.fs.caching import Caching
from fusecache.fs.describe import Describer
from fusecache.fs.disk import Disk
from fusecache.fs.expiry import Expiry
from fusecache.fs.files import Files
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.left import NOTHING, Left
from fusecache.fs.looking import Looking
from fusecache.fs.nameless import Nameless
from fusecache.fs.names import Names
from fusecache.fs.opening import go_on
from fusecache.fs.release import Releaser
from fusecache.fs.space import Space, space_of
from fusecache.fs.stale import Pages, TellStale
from fusecache.fs.strays import Strays
from fusecache.fs.upkeep import Upkeep
from fusecache.fs.waiting import Waiting
from fusecache.fs.xattrs import Xattrs
from fusecache.namespace.durability import Durability
from fusecache.namespace.marked import key_of, path_of
from fusecache.namespace.namespace import Namespace
from fusecache.nurseries import unwrapped
from fusecache.persist.persister import Persister
from fusecache.persist.report import DrainReport
from fusecache.persist.settings import settings_of
from fusecache.persist.steady import Steady
from fusecache.types import FlushProgress

log = logging.getLogger(__name__)

_INDEX_EVERY_S = 1.0
"""How much of what was fetched a crash may forget: it is fetched again."""
_CHECK_S = 5.0
"""How long a mount waits for a store that was there before; whoever restarts daemons has little patience."""

TUNABLE = ("max_uploads", "upload_limit", "request_rate")
"""What of the configuration may change while it is mounted."""


class Volume:
    """One mount, less the kernel: the file system, the persister, and what people ask about them."""

    def __init__(self, config: Config, backend: Backend, parts: _Parts) -> None:
        self.config = config
        self.filesystem = parts.filesystem
        self.caching = parts.caching
        self._backend = backend
        self._parts = parts

    async def run(self) -> None:
        """Do what goes on in the background, until cancelled."""
        with unwrapped():
            async with trio.open_nursery() as nursery:
                await nursery.start(self._parts.fetcher.run)
                nursery.start_soon(self._parts.persister.run)
                nursery.start_soon(self._parts.upkeep.run)
                nursery.start_soon(self._parts.expiry.run)
                nursery.start_soon(self._parts.releaser.run)
                nursery.start_soon(self._parts.scrub.run)
                nursery.start_soon(self._parts.strays.run)
                nursery.start_soon(self._heed_store)
                nursery.start_soon(self._remember_cache)

    def stat_mount(self) -> dict[str, Any]:
        """Return the facts of the contract for `stat --json` of a mount, less what only the daemon knows."""
        namespace = self._parts.namespace
        try:
            report, aside = self._parts.persister.report(), self._parts.recovery.asides()
            space = self._parts.space.report()
        except NamespaceError:  # it cannot be read any more: what is left to say is why
            report, aside, space = DrainReport(), [], None
        contents = self._parts.contents
        cache: dict[str, Any] = {"bytes": contents.used_bytes(), "limit": self._parts.limits.cache_size}
        cache |= contents.traffic.as_dict(contents.eviction.opens, fetched_bytes=self._parts.fetcher.fetched_bytes)
        cache |= {"bad_blocks": contents.bad_blocks(), "scrub": asdict(self._parts.scrub.done)}
        cache |= {"hedges": {"sent": self._parts.hedge.sent, "won": self._parts.hedge.won}}
        facts = {"stores": [self._backend.url], **report.as_dict(), "cache": cache, "pressure": space}
        facts["bytes_written"] = self._parts.files.bytes_written
        facts["events"] = self.config.events and {"queue": self.config.events, **self._parts.notified.report()}
        return facts | {"read_only": namespace.database.degraded, "set_aside": aside}

    async def stat_path(self, path: bytes) -> dict[str, Any]:
        """Return the facts of a path, `b""` for the root. Raises NotFound."""
        return await self._parts.describer.describe(path)

    def may_read(self, path: bytes, uid: int, gids: Sequence[int]) -> bool:
        return self._parts.describer.may_read(path, uid, gids)

    async def flush(self, path: bytes, *, progress: Callable[[FlushProgress], None]) -> FlushProgress:
        """Wait until what was acknowledged under `path` before this call is in the store, or stuck.

        Raises:
            NotFound: nothing is there.
        """
        ino, _ = await self._parts.describer.resolve(path)
        return await self._parts.persister.flush(ino, progress=progress)

    async def tidy(self) -> None:
        """Wait some seconds at most until no upload in parts is left in the store that nobody goes on with."""
        await self._parts.persister.tidy()

    async def examine(
        self, path: bytes, *, repair: bool, progress: Callable[[dict[str, object]], None]
    ) -> dict[str, object]:
        """Compare database, content files and bucket while they are in use; `repair`: put right what is safe.

        Of the bucket, what is at or below `path`. Raises NotFound.
        """
        # Slow to import, and needed by this command alone; as is the exporter below.
        from fusecache.doctor.repair import Repairer

        parts = self._parts
        _, row = await parts.describer.resolve(path)
        key = "" if row is None else parts.namespace.tables.directories.home_key(row.place)
        tables, durability = parts.namespace.tables, Durability(parts.namespace.database)
        repairer = Repairer(
            self.config.cache_dirs[0],
            tables,
            parts.contents,
            durability,
            parts.reader,
            replaced=lambda ino, extent: parts.stale(Pages(ino, extent)),
        )
        doctor = doctor_of(self.config, parts.reader, repairer if repair else None, is_mounted=True)
        return await doctor.examine(key, progress=progress)

    async def pause(self, path: bytes) -> None:
        """Change nothing at or below `path` in the store any more, until it is resumed. Synced. Raises NotFound."""
        await self._parts.describer.resolve(path)
        await self._parts.persister.pause(key_of(path))

    async def resume(self, path: bytes) -> list[str]:
        """Go on with what was paused at or below `path`; return the paths that were. Synced."""
        return [path_of(key) for key in await self._parts.persister.resume(key_of(path))]

    async def retry(self, path: bytes) -> int:
        """Try again now what the store refused at or below `path`; return how much that is. Raises NotFound."""
        ino, _ = await self._parts.describer.resolve(path)
        return await self._parts.persister.retry(ino)

    async def export(
        self, path: bytes, to: Path, *, progress: Callable[[dict[str, object]], None]
    ) -> dict[str, object]:
        """Copy what no store has of what is at or below `path` to the directory `to`; see `Exporter`.

        Raises:
            NotFound. OSError: nothing can be put there.
        """
        from fusecache.persist.export import Exporter

        ino, _ = await self._parts.describer.resolve(path)
        exporter = Exporter(self._parts.namespace.tables, self._parts.contents)
        return (await exporter.export(ino, to, progress=progress)).as_dict()

    async def sync(self, path: bytes, *, progress: Callable[[dict[str, object]], None]) -> dict[str, object]:
        """Look at the store now, at what is known at or below `path`; return how much that was, and what had changed.

        Raises:
            NotFound: the store has nothing there. StoreUnreachable: what was looked at until then counts.
        """
        return (await self._parts.looking.look(path, progress=progress)).as_dict()

    def tune(self, **limits: Any) -> dict[str, object]:
        """Change some of the limits, until it is unmounted; return all of them as they are then.

        Raises:
            ConfigError: such a value cannot be; nothing changed.
        """
        if unknown := limits.keys() - TUNABLE:
            raise ConfigError(f"{min(unknown)} cannot change while it is mounted")
        if limits:
            self.config = config = replace(self.config, **limits)
            self._parts.persister.tune(max_uploads=config.max_uploads)
            self._parts.pacer.tune(limits_of(config))
        return {name: getattr(self.config, name) for name in TUNABLE}

    async def _heed_store(self) -> None:
        """Heed what the store tells of its own accord, if it was told where."""
        if self.config.events is not None:
            await self._parts.notified.run(partial(open_queue, self.config.events, store_options(self.config)))

    async def _remember_cache(self) -> None:
        while True:
            await trio.sleep(_INDEX_EVERY_S)
            self._parts.contents.flush_index()


class _Parts:
    """What a volume is made of, in the order in which one needs the other."""

    def __init__(
        self, config: Config, backend: Backend, pacer: Pacer, reader: Backend, namespace: Namespace, stale: TellStale
    ) -> None:
        self.namespace = namespace
        self.reader = reader
        self.pacer = pacer
        self.stale = stale
        readers = {namespace.store: reader}
        durability = Durability(namespace.database)
        self.contents = contents_of(config)
        self.limits = space_limits(config)
        self.hedge = Hedge(is_on=config.hedge)
        self.fetcher = Fetcher(
            readers,
            limiter=trio.CapacityLimiter(MAX_GETS),
            fits=partial(self.contents.fits, self.limits.cache_size),
            make_room=lambda: self.releaser.make_room(),
            hedge=self.hedge,
        )
        self.listings = listings_of(config, readers)
        self.persister = self._persister(config, Paced(backend, pacer, Priority.DRAIN, repeats=Repeats()), durability)
        self.files = Files(
            namespace,
            durability,
            self.contents,
            Absent(self.fetcher, self.persister.base_instead_of, small_bytes=config.small_file),
            wall_ns=time.time_ns,
            changed=self.persister.changed,
        )
        self.nameless = Nameless(self.files.is_open)
        names = names_of(config, namespace, self.listings, readers, dropped=self.files.dropped, stale=stale)
        self.looking = Looking(namespace, names)
        self.notified = notified_of(config, namespace, names)
        self.upkeep = Upkeep(namespace, self.contents, durability, self.files)
        self.space = self._space(config)
        self.releaser = Releaser(
            namespace, self.contents, durability, wanted=self.space.to_release, is_open=self.files.is_open
        )
        self.recovery = recovery_of(config, namespace, self.contents)
        self.describer = Describer(
            namespace, names, self.contents, uploading=self.persister.uploading, wall_ns=time.time_ns
        )
        self.caching = self._caching(names, durability)
        self.strays = Strays(namespace.tables, self.contents, give_up=self.releaser.give_up)
        self.scrub = self.contents.scrub(bytes_per_s=config.scrub_rate, wall_s=time.time)
        self.filesystem = self._filesystem(config, names, durability, backend.capabilities.max_key_bytes)
        self.expiry = Expiry(
            namespace, self.filesystem.unlink, is_open=self.files.is_open, wall_ns=time.time_ns, stale=stale
        )

    def _persister(self, config: Config, backend: Backend, durability: Durability) -> Persister:
        store = self.namespace.store
        return Persister(
            self.namespace,
            durability,
            self.contents,
            self.fetcher,
            {store: backend},
            settings_of(config),
            wall_ns=Steady(wall_ns=time.time_ns, monotonic_ns=time.monotonic_ns),
            rng=random.Random(),
            open_for_writing=lambda: self.files.open_for_writing(),
            pacers={store: self.pacer},
            stale=self.stale,
        )

    def _space(self, config: Config) -> Space:
        return space_of(
            self.namespace,
            self.contents,
            self.files,
            self.limits,
            patience_s=config.space_patience_s,
            disk=Disk(config.cache_dirs[0]).statvfs,
            drained=self.persister.drained,
        )

    def _caching(self, names: Names, durability: Durability) -> Caching:
        absent = Absent(self.fetcher, self.persister.base_instead_of)
        parts = (self.namespace, names, self.contents, durability, self.describer, absent, self.space)
        return Caching(*parts, give_up=self.releaser.give_up)

    def _filesystem(self, config: Config, names: Names, durability: Durability, max_key_bytes: int) -> FileSystem:
        nameless = self.nameless
        xattrs = Xattrs(
            self.namespace,
            names,
            nameless,
            self.describer.facts,
            read_only=config.read_only,
            wall_ns=time.time_ns,
            changed=self.persister.changed,
        )
        return FileSystem(
            self.namespace,
            names,
            self.files,
            self.contents,
            durability,
            nameless=nameless,
            xattrs=xattrs,
            space=self.space,
            read_only=config.read_only,
            max_key_bytes=max_key_bytes,
            wall_ns=time.time_ns,
            changed=self.persister.changed,
            waiting=Waiting(self.namespace, self.persister.through),
        )


@asynccontextmanager
async def open_volume(config: Config, *, stale: TellStale, left: Left | None = None) -> AsyncIterator[Volume]:
    """Open the store, the namespace and the cache of a mount. Nobody else may use its directories.

    `stale` is told what the kernel must not believe any more, as the store has changed. With what an earlier process
    has `left` this one goes on with its mount, and does not wait for the store.
    A store that was mounted before may be away: what is here is served, and drained once it answers.

    Raises:
        BackendError: the store cannot be used. NamespaceError: nor the namespace.
    """
    async with AsyncExitStack() as stack:
        pacer = pacer_of(config)
        backend = await stack.enter_async_context(
            open_backend(config.store, store_options(config), refused=pacer.refused_one, at_once=left is None)
        )
        if left is None:
            await _check(backend, is_known=namespace_path(config).exists())
        namespace = stack.enter_context(contextlib.closing(namespace_of(config, backend.url)))
        paced = Paced(backend, pacer, Priority.READER)
        reader = RetryingReader(paced, patience_s=config.patience_s, rng=random.Random())
        parts = _Parts(config, backend, pacer, reader, namespace, stale)
        stack.callback(parts.contents.close)
        parts.recovery.run(left or NOTHING)
        if left is not None:
            go_on(left, namespace.tables, parts.files, parts.nameless)
            parts.filesystem.streams.go_on(left.directories)
            parts.filesystem.tmpfiles.go_on(left)
        yield Volume(config, backend, parts)


async def _check(backend: Backend, *, is_known: bool) -> None:
    """Look whether the store can be used; one that `is_known` need not answer now.

    Else a daemon that died during an outage would not come back before its end, and with it what was acknowledged.
    """
    if not is_known:
        await backend.check()
        return
    try:
        with trio.fail_after(_CHECK_S):
            await backend.check()
    except (TransientBackendError, trio.TooSlowError) as exc:
        why = str(exc) or f"no answer within {_CHECK_S:g} s"
        log.warning("%s is away, and mounted nevertheless: what is here is drained later (%s)", backend.url, why)
