"""Where the bytes of a content come from that are not here."""

from __future__ import annotations

from dataclasses import dataclass

from fusecache.types import ETag, LowerId, ObjectKey, StoreNo

REUSED_BYTES = 5 << 20
"""Of a base of at least this size it is remembered what was written: S3 copies no less as a part of a new object."""


@dataclass(frozen=True, slots=True)
class Base:
    """The version in the store that missing blocks come from."""

    store: StoreNo
    key: ObjectKey
    etag: ETag
    size: int
    """Bytes of the object that still count, shrunk by truncations: what is beyond is zeros."""

    @property
    def label(self) -> LowerId:
        return LowerId(self.store, self.key, self.etag)
