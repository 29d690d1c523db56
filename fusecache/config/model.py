"""The one checked configuration of a mount."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fusecache.config.rules import Policy, Rule, Rules
from fusecache.errors import ConfigError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

STAGING = (
    "_temporary/",
    ".hive-staging*",
    ".spark-staging*",
    ".*.crc",
    "*.inprogress",
    ".*.inprogress.*",
    "*._COPYING_",
    ".*.tmp",
)
"""Names that writers rename away when they are done: local until then. A trailing slash: directories only."""

MARKERS = (
    "_SUCCESS",
    "_committed_*",
    "_delta_log/*",
    "metadata/*.metadata.json",
    "version-hint.text",
    ".hoodie/*",
    "_spark_metadata/*",
    "_manifest*",
)
"""Names that tell readers that a tree is complete: uploaded after everything acknowledged before them."""


_QUEUES = ("sqs", "http", "https")
MAX_UPLOADS = 256
"""At once, whatever people say."""


class Bound(NamedTuple):
    """What a field may be, and why not less or more."""

    name: str
    low: float
    high: float
    reason: str


BOUNDS = (
    Bound("block_size", 64 * KIB, 16 * MIB, "below, requests cost more than bytes; above, a small read waits"),
    Bound("part_size", 5 * MIB, 5 * GIB, "S3 takes parts of 5 MiB to 5 GiB"),
    Bound("multipart_threshold", 1, 5 * GIB, "S3 takes up to 5 GiB in one PUT"),
    Bound("max_uploads", 1, MAX_UPLOADS, "each upload holds a connection and a chunk of memory"),
    Bound("max_connections", 1, 1024, "each is a descriptor and a TLS session, and stores refuse crowds"),
    Bound("upload_limit", 64 * KIB, 1 << 40, "below, a part of a file takes longer than the store waits for it"),
    Bound("request_rate", 0.1, 1e6, "below, nothing arrives; above, it is no limit"),
    Bound("aimd_initial_rate", 0.1, 1e6, "the rates of stores"),
    Bound("aimd_min_rate", 0.01, 1e6, "the rates of stores"),
    Bound("aimd_increase_increment", 0.001, 1.0, "a part of the rate"),
    Bound("aimd_reduction_factor", 1.05, 100.0, "it has to make it slower, and not to stop it"),
    Bound("aimd_adjust_window_s", 0.1, 60.0, "shorter, too few answers tell nothing; longer, a store waits for us"),
    Bound("cache_size", 32 * MIB, 1 << 60, "below, there is no room for a block of each reader"),
    Bound("dirty_limit", MIB, 1 << 60, "below, hardly a file could be written"),
    Bound("dirty_soft_ratio", 0.0, 1.0, "it is a share of dirty_limit"),
    Bound("free_space_ratio", 0.0, 0.9, "the rest is all there is for files"),
    Bound("space_patience_s", 0.0, 86400.0, "an application is waiting meanwhile"),
    Bound("scrub_rate", 0, 1 << 40, "it is a rate, and 0 is none"),
    Bound("persist_delay_s", 0.0, 7 * 86400.0, "what waits longer is forgotten by people, not by us"),
    Bound("stop_deadline_s", 0.0, 7 * 86400.0, "a machine that shuts down waits meanwhile"),
    Bound("watchdog_s", 0.0, 86400.0, "0 is for ever, and so is a day to who waits"),
    Bound("local_ttl_s", 60.0, 365 * 86400.0, "files are looked at once a minute"),
    Bound("ttl_s", 0.0, 365 * 86400.0, "longer is for ever"),
    Bound("small_file", 0, GIB, "an open waits for all of it"),
    Bound("patience_s", 0.1, 3600.0, "an application is waiting meanwhile"),
    Bound("attr_timeout_s", 0.0, 86400.0, "the kernel asks again after it"),
    Bound("entry_timeout_s", 0.0, 86400.0, "the kernel asks again after it"),
    Bound("file_mode", 0, 0o7777, "permission bits only"),
    Bound("dir_mode", 0, 0o7777, "permission bits only"),
    Bound("uid", 0, (1 << 32) - 2, "the kernel's range"),
    Bound("gid", 0, (1 << 32) - 2, "the kernel's range"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a mount is told, complete and checked: who holds one need not look twice.

    Sizes are bytes, durations seconds, paths absolute. None means: not set, the part that
    uses it decides.
    """

    store: str
    mountpoint: Path
    cache_dirs: tuple[Path, ...]
    state_dir: Path
    """The namespace, the lock and the log. It names what only `cache_dirs` hold: they live and die together."""

    cache_size: int | None = None
    """None: most of what is free, and what the store lacks may take more."""
    block_size: int = MIB
    dirty_limit: int | None = None
    """None: what the cache disk holds."""
    dirty_soft_ratio: float = 0.8
    free_space_ratio: float | None = None
    """None: a tenth, at most 32 GiB."""
    scrub_rate: int = 10 * MIB
    """Bytes of the cache that are read and compared in a second; 0: none."""
    space_patience_s: float = 60.0
    """How long a writer waits for room while nothing drains, before ENOSPC."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    force_path_style: bool = False
    sse: str | None = None
    sse_kms_key_id: str | None = None
    storage_class: str | None = None
    requester_pays: bool = False
    events: str | None = None
    """The queue in which the bucket tells of changes: its URL, or sqs://name."""

    read_only: bool = False
    verify: str = "checksum"
    persist_delay_s: float = 1.0
    stop_deadline_s: float = 840.0
    """How long a SIGTERM drains: below what systemd grants a service that it stops (systemd/fusecache@.service)."""
    watchdog_s: float = 60.0
    """How long a loop may stand still: what it does takes milliseconds. 0: for ever."""
    max_uploads: int = 16
    max_connections: int | None = None
    """None: as many as uploads, readers and lookups may need at once, whatever `max_uploads` is tuned to."""
    upload_limit: int | None = None
    """Bytes a second."""
    request_rate: float | None = None
    aimd_enabled: bool = True
    aimd_initial_rate: float = 250.0
    aimd_min_rate: float = 0.1
    aimd_increase_increment: float = 0.05
    aimd_reduction_factor: float = 2.0
    aimd_adjust_window_s: float = 1.0
    """What each is for: `fusecache.backends.pace.knobs`."""
    multipart_threshold: int = 16 * MIB
    part_size: int = 16 * MIB
    staging: tuple[str, ...] = STAGING
    markers: tuple[str, ...] = MARKERS
    write_mode: str = "writeback"
    on_conflict: str = "keep-both"
    dir_markers: str = "empty"
    local_ttl_s: float | None = None
    freshness: str = "ttl"
    head: str = "always"
    """Whether each object is asked for its attributes before they are shown, or one of a directory (lazy)."""
    rules: tuple[Rule, ...] = ()
    """What holds for some paths instead of what is said of all files; patterns come on top."""

    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    file_mode: int = 0o644
    dir_mode: int = 0o755
    attr_timeout_s: float | None = None
    entry_timeout_s: float | None = None
    ttl_s: float = 60.0
    """How long a cached answer about the lower counts as fresh."""
    hedge: bool = False
    """Whether a second request is made for bytes that are late."""
    small_file: int = 8 * MIB
    patience_s: float = 60.0
    """How long a call that must know the lower waits for it before EIO."""

    transport: str = "pyfuse3"
    passthrough: bool = True
    acl: bool = False
    allow_other: bool = False
    kernel_options: tuple[str, ...] = ()
    """Mount options for the kernel as they were given: nosuid, nodev, noexec, noatime."""
    foreground: bool = False
    log_level: str = "info"

    def __post_init__(self) -> None:
        _check_bounds(self)
        _check_store(self)
        for rule in self.rules:
            _check_bound("persist_delay_s", rule.persist_delay_s)
            _check_bound("local_ttl_s", rule.local_ttl_s)
            _check_bound("ttl_s", rule.ttl_s)
        if self.block_size & (self.block_size - 1):
            raise ConfigError(f"block_size {self.block_size} is no power of two")
        for directory in (self.state_dir, *self.cache_dirs):
            if directory == self.mountpoint or self.mountpoint in directory.parents:
                raise ConfigError(f"{directory} lies below the mount point: keep cache and state outside of it")

    def by_path(self) -> Rules:
        """Return the rules, compiled, over what the mount itself was told."""
        default = Policy(
            write_mode=self.write_mode,
            persist_delay_s=self.persist_delay_s,
            on_conflict=self.on_conflict,
            dir_markers=self.dir_markers,
            local_ttl_s=self.local_ttl_s,
            freshness=self.freshness,
            ttl_s=self.ttl_s,
        )
        return Rules(self.rules, default)

    def to_json(self) -> str:
        """Return the text that `from_json` reads: how a mount is handed to its daemon."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Return the configuration that `to_json` wrote."""
        return cls(**_revived(json.loads(text)))


def _check_bounds(config: Config) -> None:
    for bound in BOUNDS:
        _check_bound(bound.name, getattr(config, bound.name))


def _check_bound(name: str, value: float | None) -> None:
    _, low, high, reason = next(bound for bound in BOUNDS if bound.name == name)
    if value is not None and not low <= value <= high:
        option = name.removesuffix("_s")
        raise ConfigError(f"{option} must be between {low:g} and {high:g}, not {value:g}: {reason}")


def _check_store(config: Config) -> None:
    url = urlsplit(config.store)
    if not url.scheme or "://" not in config.store:
        raise ConfigError(f"{config.store!r} is no store: write s3://bucket/prefix or file:///directory")
    if url.scheme == "s3" and not url.netloc:
        raise ConfigError(f"{config.store!r} names no bucket: write s3://bucket/prefix")
    if config.events is not None and (url.scheme != "s3" or urlsplit(config.events).scheme not in _QUEUES):
        raise ConfigError(f"events {config.events!r}: give sqs://name or the URL of an SQS queue, for a mount of s3://")
    if url.password is not None or url.username is not None:
        raise ConfigError("credentials come from the AWS chain (environment, profile, role), never from the URL")
    if config.sse_kms_key_id is not None and config.sse not in ("aws:kms", "aws:kms:dsse"):
        raise ConfigError("sse_kms_key_id needs sse = aws:kms")
    if config.acl and config.transport != "direct":
        raise ConfigError("acl needs the direct transport: --transport direct")
    if config.endpoint_url is not None and urlsplit(config.endpoint_url).scheme not in ("http", "https"):
        raise ConfigError(f"endpoint_url {config.endpoint_url!r} must begin with http:// or https://")


def _revived(plain: dict[str, Any]) -> dict[str, Any]:
    """JSON knows neither paths nor tuples."""
    values = _with_tuples(plain)
    values |= {key: Path(values[key]) for key in ("mountpoint", "state_dir")}
    values["rules"] = tuple(Rule(**_with_tuples(rule)) for rule in plain["rules"])
    return values | {"cache_dirs": tuple(Path(each) for each in values["cache_dirs"])}


def _with_tuples(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
