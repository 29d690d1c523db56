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

    @classmethod
    def of(cls, label: LowerId | None, size: int | None) -> Base | None:
        """Return the base that two columns of a row name, None if they name none."""
        return None if label is None or size is None else cls(*label, size=size)

    @property
    def label(self) -> LowerId:
        return LowerId(self.store, self.key, self.etag)

    def within(self, size: int) -> Base:
        """Return what of it a file of that size has: it may have been cut before its base was told so."""
        return self if self.size <= size else Base(self.store, self.key, self.etag, size)
