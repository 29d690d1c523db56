"""A decorator that makes calls of a store fail: one, for tests that try every failure point, or each nth."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from fusecache.backends.base import Backend, Source
from fusecache.errors import BackendError
from fusecache.types import Body, Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload

T = TypeVar("T")


class FaultyBackend:
    """`inner`, but its `fail_at`-th call (from 1; None: never) raises `failure`, and so does each `every`th.

    With `before` the call is not carried out at all; without, it is, and only its answer is lost.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        fail_at: int | None = None,
        every: int | None = None,
        failure: BackendError,
        before: bool = True,
    ) -> None:
        self._inner = inner
        self._every = every
        self._fail_at = fail_at
        self._failure = failure
        self._before = before
        self._call_count = 0

    @property
    def fired(self) -> bool:
        """Whether the failure has happened."""
        return self._fail_at is not None and self._call_count >= self._fail_at

    @property
    def call_count(self) -> int:
        return self._call_count

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def check(self) -> None:
        await self._call(self._inner.check())

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> Body:
        return await self._call(self._inner.get(key, extent, if_match=if_match))

    async def head(self, key: ObjectKey) -> ObjectInfo:
        return await self._call(self._inner.head(key))

    async def glance(self, key: ObjectKey) -> ObjectInfo | None:
        return await self._call(self._inner.glance(key))

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        listing = self._inner.list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)
        return await self._call(listing)

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        putting = self._inner.put(key, source, metadata=metadata, if_match=if_match, if_none_match=if_none_match)
        return await self._call(putting)

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        return await self._call(self._inner.copy(source, target, if_match=if_match, size=size, metadata=metadata))

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        return await self._call(self._inner.delete(keys, if_match=if_match))

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        return await self._call(self._inner.start_multipart(key, metadata=metadata))

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        return await self._call(self._inner.start_copy(source, target, if_match=if_match, metadata=metadata))

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        return await self._call(self._inner.put_part(key, upload_id, number, source))

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        copying = self._inner.put_part_copy(key, upload_id, number, source, extent, if_match=if_match)
        return await self._call(copying)

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        completing = self._inner.complete_multipart(
            key, upload_id, etags, if_match=if_match, if_none_match=if_none_match
        )
        return await self._call(completing)

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        await self._call(self._inner.abort_multipart(key, upload_id))

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        return await self._call(self._inner.list_uploads(key))

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        return await self._call(self._inner.list_parts(key, upload_id))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _call(self, request: Coroutine[Any, Any, T]) -> T:
        self._call_count += 1
        is_struck = self._every is not None and self._call_count % self._every == 0
        if self._call_count != self._fail_at and not is_struck:
            return await request
        if self._before:
            request.close()  # a coroutine that is never awaited warns
        else:
            await request
        raise self._failure
