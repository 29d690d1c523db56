"""What of a content a power loss spares, once its sync is over."""

from __future__ import annotations

from typing import NamedTuple

from fusecache.cache.content import Content

_SMALL_BYTES = 16 << 10
"""What is cheaper to write twice than to wait for: up to here, bytes are synced with their rows."""


class Synced(NamedTuple):
    """What of a content was safe from a power loss when its sync began."""

    changes: int
    size: int
    blocks: bytes | None
    """Of a partly local one: these blocks."""
    base_size: int | None
    """None: every byte is here."""
    carried: bytes | None = None
    """All of them: they are safe once the caller has made them so."""


def present_bytes(content: Content) -> Synced:
    """Return what a sync that begins now makes safe."""
    if content.whole or content.base is None:
        return Synced(content.changes, content.size, None, None)
    return Synced(content.changes, content.size, content.block_map(), content.base.size)


def carried_bytes(content: Content) -> Synced | None:
    """Return all of a small file, to be synced with its rows; None: `sync` it. Its own bytes are not synced by this."""
    if content.size > _SMALL_BYTES or not content.whole:
        return None
    data = content.pread(0, content.size)
    return present_bytes(content)._replace(carried=data) if len(data) == content.size else None
