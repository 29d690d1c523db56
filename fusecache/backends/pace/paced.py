"""A decorator that sends each request when the store is ready for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from fusecache.backends.base import Backend, Source
from fusecache.backends.pace.pacer import Pacer, Priority, RequestClass
from fusecache.errors import Throttled
from fusecache.types import Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload


class Paced:
    """`inner`, whose requests wait for their turn. Nothing is tried again here, and no error is changed."""

    def __init__(self, inner: Backend, pacer: Pacer, priority: Priority) -> None:
        self._inner = inner
        self._pacer = pacer
        self._priority = priority

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def check(self) -> None:
        await self._inner.check()

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        async with self._turn(RequestClass.READ, key):
            return await self._inner.get(key, extent, if_match=if_match)

    async def head(self, key: ObjectKey) -> ObjectInfo:
        async with self._turn(RequestClass.READ, key):
            return await self._inner.head(key)

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        async with self._turn(RequestClass.LIST, prefix):
            return await self._inner.list(
                prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit
            )

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        async with self._turn(RequestClass.WRITE, key, source.length):
            return await self._inner.put(key, source, metadata=metadata, if_match=if_match, if_none_match=if_none_match)

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        async with self._turn(RequestClass.COPY, target):
            return await self._inner.copy(source, target, if_match=if_match, size=size, metadata=metadata)

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        asked_s = trio.current_time()
        async with self._turn(RequestClass.DELETE, keys[0] if keys else ""):
            outcomes = await self._inner.delete(keys, if_match=if_match)
        for outcome in outcomes:
            if isinstance(outcome.error, Throttled):
                self._pacer.refused_one(RequestClass.DELETE, outcome.key, asked_s=asked_s)
        return outcomes

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        async with self._turn(RequestClass.WRITE, key):
            return await self._inner.start_multipart(key, metadata=metadata)

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        async with self._turn(RequestClass.WRITE, key, source.length):
            return await self._inner.put_part(key, upload_id, number, source)

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        async with self._turn(RequestClass.COPY, key):
            return await self._inner.put_part_copy(key, upload_id, number, source, extent, if_match=if_match)

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        async with self._turn(RequestClass.WRITE, key):
            return await self._inner.complete_multipart(
                key, upload_id, etags, if_match=if_match, if_none_match=if_none_match
            )

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        async with self._turn(RequestClass.WRITE, key):
            await self._inner.abort_multipart(key, upload_id)

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        async with self._turn(RequestClass.LIST, key or ""):
            return await self._inner.list_uploads(key)

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        async with self._turn(RequestClass.LIST, key):
            return await self._inner.list_parts(key, upload_id)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _turn(self, kind: RequestClass, key: str, upload_bytes: int = 0) -> AbstractAsyncContextManager[None]:
        return self._pacer.turn(kind, key, self._priority, upload_bytes=upload_bytes)
