"""Short words for what the tests of stores do all the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from fusecache.backends.base import Backend
from fusecache.backends.sources import BytesSource
from fusecache.errors import BackendError, TransientBackendError
from fusecache.persist.copies import cut
from fusecache.types import ETag, Extent, ListPage, ObjectInfo, ObjectKey

WRONG = ETag("11111111111111111111111111111111")


def key(name: str) -> ObjectKey:
    return ObjectKey(name)


async def put(store: Backend, at: str, data: bytes = b"data", **metadata: str) -> ETag:
    return await store.put(key(at), BytesSource(data), metadata=metadata)


async def put_all(store: Backend, names: Sequence[str]) -> None:
    """Write many keys, some at a time: what a store refuses for the moment, as rclone in a burst, is tried again."""
    todo = iter(names)

    async def put_next() -> None:
        for name in todo:
            while True:
                try:
                    await put(store, name)
                except TransientBackendError:
                    await trio.sleep(0.1)
                else:
                    break

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(put_next)


async def read(store: Backend, name: str) -> bytes:
    info = await store.head(key(name))
    return await store.get(key(name), Extent(0, info.size), if_match=info.etag)


async def list_all(store: Backend, prefix: str, *, delimiter: str | None = None, limit: int = 1000) -> ListPage:
    """Follow the pages to the end and lay them together."""
    objects: list[ObjectInfo] = []
    prefixes: list[ObjectKey] = []
    token: str | None = None
    while True:
        page = await store.list(prefix, delimiter=delimiter, token=token, limit=limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        objects += page.objects
        prefixes += page.prefixes
        token = page.next_token
        if token is None:
            return ListPage(tuple(objects), tuple(prefixes), None)


async def names(store: Backend, prefix: str = "") -> list[str]:
    return [info.key for info in (await list_all(store, prefix)).objects]


async def copy_in_parts(store: Backend, source: ObjectInfo, target: str, metadata: Mapping[str, str] | None) -> ETag:
    """Copy by parts of the least size that every store takes; nothing is left if one cannot do that."""
    upload_id = await store.start_copy(source.key, key(target), if_match=source.etag, metadata=metadata)
    try:
        etags = [
            await store.put_part_copy(key(target), upload_id, number, source.key, extent, if_match=source.etag)
            for number, extent in enumerate(cut(source.size, 5 << 20), start=1)
        ]
        return await store.complete_multipart(key(target), upload_id, etags)
    except BackendError:
        await store.abort_multipart(key(target), upload_id)
        raise
