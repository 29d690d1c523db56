"""A decorator that asks again: for reads only, as an application waits for their answer.

Writes pass through untouched: the persister alone decides when to try them again.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import trio

from fusecache.backends.base import Backend, Source
from fusecache.errors import BackendUnavailable, TransientBackendError
from fusecache.types import Body, Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload

T = TypeVar("T")


class RetryingReader:
    """`inner`, whose get, head and lists are repeated after transient errors for `patience_s` seconds.

    The delays grow exponentially from `first_delay_s` to `max_delay_s` with full jitter (each is
    anything between 0 and the bound, so that many readers do not come back together), and are never
    less than the store asked for. When the patience is over, or the next delay would outlast it,
    the last error is raised.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        patience_s: float,
        rng: random.Random,
        first_delay_s: float = 0.1,
        max_delay_s: float = 10.0,
    ) -> None:
        self._inner = inner
        self._patience_s = patience_s
        self._rng = rng
        self._first_delay_s = first_delay_s
        self._max_delay_s = max_delay_s

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def check(self) -> None:
        await self._inner.check()

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> Body:
        return await self._patiently(lambda: self._inner.get(key, extent, if_match=if_match))

    async def head(self, key: ObjectKey) -> ObjectInfo:
        return await self._patiently(lambda: self._inner.head(key))

    async def glance(self, key: ObjectKey) -> ObjectInfo | None:
        return await self._patiently(lambda: self._inner.glance(key))

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        return await self._patiently(
            lambda: self._inner.list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)
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
        return await self._inner.copy(source, target, if_match=if_match, size=size, metadata=metadata)

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        return await self._inner.delete(keys, if_match=if_match)

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        return await self._inner.start_multipart(key, metadata=metadata)

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        return await self._inner.start_copy(source, target, if_match=if_match, metadata=metadata)

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        return await self._inner.put_part(key, upload_id, number, source)

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
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
        return await self._inner.complete_multipart(
            key, upload_id, etags, if_match=if_match, if_none_match=if_none_match
        )

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        await self._inner.abort_multipart(key, upload_id)

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        return await self._patiently(lambda: self._inner.list_uploads(key))

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        return await self._patiently(lambda: self._inner.list_parts(key, upload_id))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        last: TransientBackendError = BackendUnavailable(f"{self.url}: no answer within {self._patience_s:g} s")
        deadline = trio.current_time() + self._patience_s
        bound_s = self._first_delay_s
        with trio.move_on_at(deadline):
            while True:
                try:
                    return await request()
                except TransientBackendError as exc:
                    last = exc
                delay_s = max(last.retry_after_s, self._rng.uniform(0.0, bound_s))
                bound_s = min(2 * bound_s, self._max_delay_s)
                if trio.current_time() + delay_s > deadline:
                    break
                await trio.sleep(delay_s)
        raise last
