"""Copies inside a store, of any size: a large one is an upload in parts, which no crash may leave in the bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import trio

from fusecache.backends.base import Backend
from fusecache.errors import (
    BackendUnavailable,
    NoSuchObject,
    StoreRefused,
    TransientBackendError,
)
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.uploads import Upload
from fusecache.nurseries import unwrapped
from fusecache.persist.backoff import Backoff
from fusecache.persist.leftovers import Leftovers
from fusecache.persist.ranges import MAX_COPIED_BYTES, MAX_PARTS
from fusecache.types import ETag, Extent, InodeNo, LowerId, ObjectKey, StoreNo

_NOBODY = InodeNo(0)
"""Whose bytes are sent: nobody's, the store has them."""
_PARALLEL = 8
"""Parts of one object at a time: S3 copies one at some 100 MB/s."""
_ATTEMPTS = 8
"""Of one part before the copy is given up: one refusal must not repeat a thousand parts."""


class Copies:
    """Makes them. What a cancellation or a crash leaves of one is aborted."""

    def __init__(
        self,
        namespace: Namespace,
        backends: Mapping[StoreNo, Backend],
        slots: trio.CapacityLimiter,
        leftovers: Leftovers,
        backoff_s: Backoff,
    ) -> None:
        self._namespace = namespace
        self._uploads = namespace.tables.uploads
        self._backends = backends
        self._slots = slots
        self._leftovers = leftovers
        self._backoff_s = backoff_s

    async def make(self, source: LowerId, target: ObjectKey, *, size: int, metadata: Mapping[str, str]) -> ETag:
        """Copy with our signature; without it where the object's own metadata leave no room (S3: 2 KiB in all).

        A cancellation, or an error, leaves the target as it was or with the copy.
        Raises:
            NoSuchObject, PreconditionFailed: the source is gone, or another version.
        """
        try:
            return await self._make(source, target, size, metadata)
        except StoreRefused:
            if source.key == target:
                raise
            return await self._make(source, target, size, None)

    async def _make(self, source: LowerId, target: ObjectKey, size: int, metadata: Mapping[str, str] | None) -> ETag:
        backend = self._backends[source.store]
        if size > backend.capabilities.max_copy_bytes:
            return await self._in_parts(source, target, size, metadata)
        async with self._slots:
            return await backend.copy(source.key, target, if_match=source.etag, size=size, metadata=metadata)

    async def _in_parts(
        self, source: LowerId, target: ObjectKey, size: int, metadata: Mapping[str, str] | None
    ) -> ETag:
        others = await self._leftovers.clear(source.store, target)
        with self._namespace.database.transaction():
            upload = self._uploads.intend(
                _NOBODY, source.store, target, others=others, signature="", part_bytes=0, unchanged=(), base=None
            )
            self._uploads.give_up(upload.upload)  # nobody goes on with it but who holds it
        with self._leftovers.held(upload.upload):
            start_copy = self._backends[source.store].start_copy
            begin = partial(start_copy, source.key, target, if_match=source.etag, metadata=metadata)
            upload = await self._leftovers.begin(upload, begin)
            try:
                etag = await self._copy(upload, source, size)
            except NoSuchObject as exc:
                raise BackendUnavailable(f"{target}: its upload in parts is gone, and is begun anew") from exc
            self._leftovers.forget(upload)
        return etag

    async def _copy(self, upload: Upload, source: LowerId, size: int) -> ETag:
        backend, upload_id = self._backends[upload.store], upload.upload_id
        assert upload_id is not None
        extents = cut(size, min(MAX_COPIED_BYTES, backend.capabilities.max_copy_bytes))
        etags: dict[int, ETag] = {}

        async def copy(parts: Iterator[tuple[int, Extent]]) -> None:
            for number, extent in parts:  # shared with the others
                etags[number] = await self._copy_part(upload.key, upload_id, number, source, extent)

        with unwrapped():
            async with trio.open_nursery() as nursery:
                parts = enumerate(extents, start=1)
                for _ in range(min(_PARALLEL, len(extents))):
                    nursery.start_soon(copy, parts)
        async with self._slots:
            return await backend.complete_multipart(upload.key, upload_id, [etags[number] for number in sorted(etags)])

    async def _copy_part(self, target: ObjectKey, upload_id: str, number: int, source: LowerId, extent: Extent) -> ETag:
        backend, attempts = self._backends[source.store], 0
        while True:
            try:
                async with self._slots:
                    return await backend.put_part_copy(
                        target, upload_id, number, source.key, extent, if_match=source.etag
                    )
            except TransientBackendError as exc:
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise
                delay_s = self._backoff_s(attempts, retry_after_s=exc.retry_after_s)
            await trio.sleep(delay_s)


def cut(size: int, part_bytes: int) -> list[Extent]:
    """Cut `size` bytes into at most `MAX_PARTS` extents of equal length but the last."""
    step = max(part_bytes, -(-size // MAX_PARTS))
    return [Extent(offset, min(step, size - offset)) for offset in range(0, size, step)]
