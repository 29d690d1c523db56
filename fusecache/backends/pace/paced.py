"""A decorator that sends each request when the store is ready for it, and again where that does no harm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import trio

from fusecache.backends.base import Backend, Source
from fusecache.backends.pace.pacer import Pacer, Priority, RequestClass
from fusecache.backends.repeat import Repeats
from fusecache.errors import Throttled
from fusecache.types import Body, Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload

T = TypeVar("T")


class Paced:
    """`inner`, whose requests wait for their turn.

    With `repeats` those that may be carried out twice are, a few times after transient errors, each in a turn of its
    own: what a task has asked for before was not in vain then. All others, and what fails for longer, is tried again by
    whoever asks.
    """

    def __init__(self, inner: Backend, pacer: Pacer, priority: Priority, *, repeats: Repeats | None = None) -> None:
        self._inner = inner
        self._pacer = pacer
        self._priority = priority
        self._repeats = repeats

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def check(self) -> None:
        await self._inner.check()

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> Body:
        return await self._ask(RequestClass.READ, key, lambda: self._inner.get(key, extent, if_match=if_match))

    async def head(self, key: ObjectKey) -> ObjectInfo:
        return await self._ask(RequestClass.READ, key, lambda: self._inner.head(key))

    async def glance(self, key: ObjectKey) -> ObjectInfo | None:
        return await self._ask(RequestClass.READ, key, lambda: self._inner.glance(key))

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        def request() -> Awaitable[ListPage]:
            return self._inner.list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)

        return await self._ask(RequestClass.LIST, prefix, request)

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        def request() -> Awaitable[ETag]:
            return self._inner.put(key, source, metadata=metadata, if_match=if_match, if_none_match=if_none_match)

        way = self._ask if if_match is None and not if_none_match else self._once
        return await way(RequestClass.WRITE, key, request, source.length)

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        def request() -> Awaitable[ETag]:
            return self._inner.copy(source, target, if_match=if_match, size=size, metadata=metadata)

        way = self._ask if source != target else self._send
        return await way(RequestClass.COPY, target, request)

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        asked_s = trio.current_time()
        outcomes = await self._ask(
            RequestClass.DELETE, keys[0] if keys else "", lambda: self._inner.delete(keys, if_match=if_match)
        )
        for outcome in outcomes:
            if isinstance(outcome.error, Throttled):
                self._pacer.refused_one(RequestClass.DELETE, outcome.key, asked_s)
        return outcomes

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        return await self._once(RequestClass.WRITE, key, lambda: self._inner.start_multipart(key, metadata=metadata))

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        def request() -> Awaitable[str]:
            return self._inner.start_copy(source, target, if_match=if_match, metadata=metadata)

        return await self._once(RequestClass.WRITE, target, request)

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        def request() -> Awaitable[ETag]:
            return self._inner.put_part(key, upload_id, number, source)

        return await self._ask(RequestClass.WRITE, key, request, source.length)

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        def request() -> Awaitable[ETag]:
            return self._inner.put_part_copy(key, upload_id, number, source, extent, if_match=if_match)

        return await self._ask(RequestClass.COPY, key, request)

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        def request() -> Awaitable[ETag]:
            return self._inner.complete_multipart(key, upload_id, etags, if_match=if_match, if_none_match=if_none_match)

        return await self._once(RequestClass.WRITE, key, request)

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        await self._ask(RequestClass.WRITE, key, lambda: self._inner.abort_multipart(key, upload_id))

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        return await self._ask(RequestClass.LIST, key or "", lambda: self._inner.list_uploads(key))

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        return await self._ask(RequestClass.LIST, key, lambda: self._inner.list_parts(key, upload_id))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _ask(self, kind: RequestClass, key: str, request: Callable[[], Awaitable[T]], upload_bytes: int = 0) -> T:
        """Send what may be carried out twice."""
        if self._repeats is None:
            return await self._once(kind, key, request, upload_bytes)
        return await self._repeats.ask(lambda: self._once(kind, key, request, upload_bytes))

    async def _send(self, kind: RequestClass, key: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send what changes what its repeat would find."""
        if self._repeats is None:
            return await self._once(kind, key, request)
        return await self._repeats.send(lambda: self._once(kind, key, request))

    async def _once(
        self, kind: RequestClass, key: str, request: Callable[[], Awaitable[T]], upload_bytes: int = 0
    ) -> T:
        async with self._pacer.turn(kind, key, self._priority, upload_bytes=upload_bytes):
            return await request()
