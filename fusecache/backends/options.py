"""How to reach a store, as the command line and the configuration say it. Imports no client library."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_KEY_BYTES = 1024
"""Of S3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a user may set about a store. Credentials are no option: they come from the AWS chain only."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    force_path_style: bool = False
    sse: str | None = None
    """`AES256`, `aws:kms` or `aws:kms:dsse`, for new objects; a copy keeps its source's encryption."""
    sse_kms_key_id: str | None = None
    storage_class: str | None = None
    """For new objects; a copy keeps its source's class."""
    requester_pays: bool = False
    checksums: bool = True
    """Compare what the store tells of an object with what was sent."""
    max_connections: int = 64
    """More requests than this at a time wait for a free connection, of small objects or of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options(StoreOptions):
    """One bucket, or the part of it below `prefix` ('' or 'x/y/')."""

    bucket: str
    prefix: str = ""
    fast_lane: bool = True
    """Small objects go by obstore where they can; False: all by aiobotocore."""

    @property
    def max_key_bytes(self) -> int:
        """How long a key may be, less the prefix."""
        return _MAX_KEY_BYTES - len(self.prefix.encode())
