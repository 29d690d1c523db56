"""Where the bytes of a content come from that are not here."""

from __future__ import annotations

from dataclasses import dataclass

from fusecache.types import ETag, LowerId, ObjectKey, StoreNo


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
