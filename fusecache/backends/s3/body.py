"""A request body as botocore and httpx like it: known length, read while it is sent."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import trio

from fusecache.backends.s3.ahead import Kept

INLINE_BYTES = 128 << 10
"""Up to here the bytes are read on the loop: just written, they are in the page cache, and a hop to a
thread and back costs more (≈ 60 µs) than copying them. Of what was read ahead nothing needs to be read."""


class UploadBody:
    """`source` as a body. Plain bytes would be iterated line by line (127 ms CPU a MiB of random data).

    botocore asks for `read` to accept an object as a body, takes the Content-Length from `len`, and
    rewinds by `seek` before it follows a redirect; the bytes themselves are only ever iterated, since
    their signature does not cover them (see `s3.client`).
    """

    def __init__(self, source: Kept, readers: trio.CapacityLimiter) -> None:
        self._source = source
        self._readers = readers

    def __len__(self) -> int:
        return self._source.length

    def __bool__(self) -> bool:
        return True  # an empty body is still a body

    def read(self, size: int = -1) -> bytes:
        raise io.UnsupportedOperation("this body is iterated, not read")

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset or whence:
            raise io.UnsupportedOperation("this body can only be rewound")
        return 0

    def tell(self) -> int:
        return 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Chunks(self._source, self._readers)


class _Chunks:
    """One pass over a source; a class, as an async generator left half-way would wait for the collector."""

    def __init__(self, source: Kept, readers: trio.CapacityLimiter) -> None:
        self._chunks = iter(source)
        self._inline = source.is_here or source.length <= INLINE_BYTES
        self._readers = readers

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> bytes:
        if self._inline:
            return next(self._chunks, b"")
        return await trio.to_thread.run_sync(next, self._chunks, b"", limiter=self._readers)
