"""The persister's knobs, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusecache.config import Config
from fusecache.config.rules import Rules

MAX_BATCH = 1000
"""Keys of one delete request: S3's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the store is used, and which names are special."""

    max_uploads: int = 16
    """Requests in flight, parts and copies included: each holds a connection and a chunk of memory, or its part."""
    multipart_threshold: int = 16 << 20
    part_size: int = 16 << 20
    staging: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    """What else holds, by path."""
    verify: str = "checksum"
    """How it is seen that an object is what was sent: `checksum`, `readback` or `off`."""
    backoff_base_s: float = 0.2
    backoff_cap_s: float = 10.0
    patience_s: float = 60.0
    """How long a close that waits for the store does, while that takes nothing."""
    stuck_retry_s: float = 60.0
    """A refused task is tried again after this, doubling to `stuck_retry_cap_s`: somebody may have acted."""
    stuck_retry_cap_s: float = 600.0


def settings_of(config: Config) -> Settings:
    """Return what the configuration of a mount says of the persister."""
    return Settings(
        max_uploads=config.max_uploads,
        multipart_threshold=config.multipart_threshold,
        part_size=config.part_size,
        staging=config.staging,
        markers=config.markers,
        rules=config.by_path(),
        verify=config.verify,
        patience_s=config.patience_s,
    )
