"""What the configuration of a mount makes of each part: for a mount, and for its state while nobody has mounted it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fusecache.backends.base import Backend
from fusecache.backends.factory import parse_store
from fusecache.backends.options import StoreOptions
from fusecache.backends.pace import Aimd, Limits, Pacer
from fusecache.cache.contents import Contents
from fusecache.cache.index import ContentIndex
from fusecache.cache.listings import Listings, PageStore
from fusecache.config import Config
from fusecache.config.model import MAX_UPLOADS
from fusecache.fs.guesses import Guesses
from fusecache.fs.names import Names
from fusecache.fs.notified import Notified
from fusecache.fs.pressure import Limits as SpaceLimits
from fusecache.fs.recovery import Recovery
from fusecache.fs.stale import TellStale
from fusecache.namespace.lower import Defaults
from fusecache.namespace.namespace import Namespace
from fusecache.persist.staging import Patterns
from fusecache.types import InodeNo, StoreNo

_STREAMED_S = 3600.0
"""How long a page of a listing is kept at least: for who reads a directory, whatever is believed of it."""

if TYPE_CHECKING:
    from fusecache.doctor.doctor import Doctor
    from fusecache.doctor.repair import Repairer

MAX_GETS = 16
"""Ranged GETs in flight, up to 8 MiB each in memory."""

_BALLAST_BYTES = 16 << 20
"""Of the disk, for the namespace's journal and for its database: a thousand changes and more go on when it is full."""

_METADATA_REQUESTS = 32
"""Connections beside those of uploads and GETs, so that a lookup waits for neither."""


def doctor_of(config: Config, reader: Backend, repairer: Repairer | None, *, is_mounted: bool) -> Doctor:
    """Return what examines a mount, mounted or not."""
    from fusecache.doctor.doctor import Doctor  # who serves a mount need not import it

    return Doctor(
        namespace_db=namespace_path(config),
        cache=config.cache_dirs[0],
        backend=reader,
        wall_ns=time.time_ns,
        is_mounted=is_mounted,
        repairer=repairer,
    )


def namespace_path(config: Config) -> Path:
    """Return where the namespace of a mount is."""
    return config.state_dir / "namespace.db"


def contents_of(config: Config) -> Contents:
    """Open the content store of a mount."""
    cache_dir = config.cache_dirs[0]
    return Contents(cache_dir, ContentIndex(cache_dir / "index.db"), block_size=config.block_size, boot_id=boot_id())


def listings_of(config: Config, readers: Mapping[StoreNo, Backend]) -> Listings:
    """Open what is known of the directories of the stores of a mount."""
    keep_s = max(_STREAMED_S, config.by_path().longest_fresh_s)
    pages = PageStore(config.cache_dirs[0] / "listings", tag=str(config.mountpoint), keep_s=keep_s)
    return Listings(readers, pages, clock=time.time)


def names_of(
    config: Config,
    namespace: Namespace,
    listings: Listings,
    readers: Mapping[StoreNo, Backend],
    *,
    dropped: Callable[[InodeNo], None],
    stale: TellStale,
) -> Names:
    """Return what resolves the names of a mount."""
    return Names(
        namespace,
        listings,
        readers,
        defaults=defaults_of(config),
        wall_ns=time.time_ns,
        dropped=dropped,
        stale=stale,
        guesses=Guesses(is_allowed=config.head == "lazy"),
    )


def notified_of(config: Config, namespace: Namespace, names: Names) -> Notified:
    """Return what heeds the notices of the store of a mount."""
    store = parse_store(config.store)
    return Notified(namespace, names, bucket=store.bucket, prefix=store.prefix, wall_s=time.time)


def namespace_of(config: Config, url: str) -> Namespace:
    """Open the namespace of a mount over the store `url`. Raises NamespaceError."""
    rules = config.by_path()
    patterns = Patterns(staging=config.staging, markers=config.markers, rules=rules)
    return Namespace(
        namespace_path(config),
        url=url,
        boot_id=boot_id(),
        delay_ns=int(config.persist_delay_s * 1e9),
        defaults=defaults_of(config),
        is_staging=patterns.is_staging,
        staging_said=patterns.staging_said,
        rules=rules,
        now_ns=time.time_ns(),
        ballast_bytes=_BALLAST_BYTES,
    )


def recovery_of(config: Config, namespace: Namespace, contents: Contents) -> Recovery:
    """Return what makes a namespace and its contents agree before they are used."""
    return Recovery(
        namespace,
        contents,
        boot_id=boot_id(),
        delay_ns=int(config.persist_delay_s * 1e9),
        wall_ns=time.time_ns,
    )


def defaults_of(config: Config) -> Defaults:
    """Return the attributes of what carries none."""
    return Defaults(uid=config.uid, gid=config.gid, file_mode=config.file_mode, dir_mode=config.dir_mode)


def pacer_of(config: Config) -> Pacer:
    """Return what sets the pace of the store of a mount."""
    return Pacer(
        Aimd(
            enabled=config.aimd_enabled,
            initial_rate=config.aimd_initial_rate,
            min_rate=config.aimd_min_rate,
            increase_increment=config.aimd_increase_increment,
            reduction_factor=config.aimd_reduction_factor,
            adjust_window_s=config.aimd_adjust_window_s,
        ),
        limits_of(config),
    )


def limits_of(config: Config) -> Limits:
    """Return what a person allows the store to get."""
    return Limits(upload_bytes_per_s=config.upload_limit, requests_per_s=config.request_rate)


def store_options(config: Config) -> StoreOptions:
    """Return how the store of a mount is asked."""
    return StoreOptions(
        endpoint_url=config.endpoint_url,
        region=config.region,
        profile=config.profile,
        force_path_style=config.force_path_style,
        sse=config.sse,
        sse_kms_key_id=config.sse_kms_key_id,
        storage_class=config.storage_class,
        requester_pays=config.requester_pays,
        checksums=config.verify != "off",
        # Each is made when it is needed: so there may be one for each upload that `tune` may allow later.
        max_connections=config.max_connections or MAX_UPLOADS + MAX_GETS + _METADATA_REQUESTS,
    )


def space_limits(config: Config) -> SpaceLimits:
    """Return what a mount may take of its cache disk: all but what is kept free, unless a size was said."""
    return SpaceLimits(
        config.dirty_limit,
        config.dirty_soft_ratio,
        config.free_space_ratio,
        cache_size=config.cache_size,
        bounds_writers=config.cache_size is not None,
    )


def boot_id() -> str:
    """Return what changes with each start of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
