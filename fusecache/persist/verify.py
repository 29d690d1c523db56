"""Whether an object is what was sent, where the store's own word for it isn't enough: by reading it back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import trio

from fusecache.backends.base import CHUNK_BYTES, Backend, Source
from fusecache.errors import Miswritten, NoSuchObject, PreconditionFailed
from fusecache.types import ETag, Extent, ObjectInfo, ObjectKey, StoreNo

log = logging.getLogger(__name__)

_CHUNKS = 8
"""Of `CHUNK_BYTES` at most: what is compared at a time. A body of one is read on the loop."""
_THREADS = 2


class Sent(NamedTuple):
    """What an object should hold."""

    size: int
    """Of all of it."""
    ranges: Mapping[int, Source]
    """By their offsets, the bytes that came from here; the store has copied the others from what it had."""

    @classmethod
    def whole(cls, source: Source) -> Sent:
        return cls(source.length, {0: source})


class Verifier:
    """Compares objects with local bytes. Each comparison is one GET or more, of exactly that version."""

    def __init__(self, backends: Mapping[StoreNo, Backend], mode: str) -> None:
        """`mode`: `checksum`, `readback` or `off`, as the option `verify` has it."""
        self._backends = backends
        self._mode = mode
        self._threads = trio.CapacityLimiter(_THREADS)

    async def written(self, store: StoreNo, key: ObjectKey, etag: ETag, sent: Sent) -> None:
        """After a write: read it back, if that is wanted.

        Raises:
            Miswritten: it is something else, or by now somebody else's.
        """
        if self._mode == "readback" and not await self._is_same(store, key, etag, sent):
            log.error("%s: what was read back is not what was sent; it is sent again", key)
            raise Miswritten(f"{key}: what was read back is not what was sent")

    async def holds(self, store: StoreNo, found: ObjectInfo, sent: Sent) -> bool:
        """Whether an object of ours, the answer to whose request is not known, has these bytes.

        A store that verifies what it gets has taken nothing else; of others we look.
        """
        if found.size != sent.size:
            return False
        if self._mode == "off" or (self._mode == "checksum" and self._backends[store].capabilities.checksums):
            return True
        return await self._is_same(store, found.key, found.etag, sent)

    async def _is_same(self, store: StoreNo, key: ObjectKey, etag: ETag, sent: Sent) -> bool:
        for offset, source in sent.ranges.items():
            if not await self._has_range(store, key, etag, offset, source):
                return False
        return True

    async def _has_range(self, store: StoreNo, key: ObjectKey, etag: ETag, offset: int, source: Source) -> bool:
        chunks = iter(source)
        while piece := await self._piece(chunks, source.length):
            try:
                body = await self._backends[store].get(key, Extent(offset, len(piece)), if_match=etag)
            except (NoSuchObject, PreconditionFailed):
                return False
            if bytes(body) != piece:
                return False
            offset += len(piece)
        return True

    async def _piece(self, chunks: Iterator[bytes], size: int) -> bytes:
        if size <= CHUNK_BYTES:
            return _next_piece(chunks)
        return await trio.to_thread.run_sync(_next_piece, chunks, limiter=self._threads)


def _next_piece(chunks: Iterator[bytes]) -> bytes:
    return b"".join(islice(chunks, _CHUNKS))
