"""Refusals that every store shares, made before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusecache.errors import StoreRefused
from fusecache.types import ETag, ObjectKey


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse metadata that cannot be a header; the caller escapes what is not printable ASCII.

    A value that isn't would be a protocol error deep in the HTTP library, looking like a broken
    connection, and would be tried again for ever.
    """
    for name, value in metadata.items():
        if not (name and name.isascii() and name.isprintable() and not set(name) & set(' :"(),/;<=>?@[\\]{}')):
            raise StoreRefused(f"metadata name {name!r} cannot be sent to a store")
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise StoreRefused(f"metadata {name}={value!r}: only printable ASCII can be sent, escape it first")


def check_copy(source: ObjectKey, target: ObjectKey, metadata: Mapping[str, str] | None) -> None:
    """Refuse a copy of an object onto itself that would change nothing: S3 does."""
    if source == target and metadata is None:
        raise StoreRefused(f"{source}: a copy onto itself must give new metadata")
    if metadata is not None:
        check_metadata(metadata)


def conditions(
    keys: Sequence[ObjectKey], if_match: Sequence[ETag | None] | None
) -> list[tuple[ObjectKey, ETag | None]]:
    """Pair each key of a delete with the etag that it must hold, None for whatever is there."""
    return list(zip(keys, [None] * len(keys) if if_match is None else if_match, strict=True))
