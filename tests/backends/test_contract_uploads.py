"""Uploads in parts that never came to their end: found again, and aborted by what was found."""

from __future__ import annotations

import os
import time

import pytest

from fusecache.backends.base import Backend
from fusecache.backends.sources import BytesSource
from fusecache.errors import NoSuchObject
from tests.backends.conftest import OpenStore
from tests.backends.helpers import key, list_all, names, put

CLOCKS_NS = 60 * 10**9
"""A server's clock and ours, and what it rounds."""


async def test_what_was_begun_is_listed_until_it_is_completed_or_aborted(open_store: OpenStore) -> None:
    async with open_store() as store:
        before = {upload.upload_id for upload in await store.list_uploads()}
        completed = await store.start_multipart(key("a/done"), metadata={"mode": "1"})
        etag = await store.put_part(key("a/done"), completed, 1, BytesSource(b"body"))
        left = await store.start_multipart(key("a/left"), metadata={})
        await store.put_part(key("a/left"), left, 1, BytesSource(b"body"))
        found = {upload.upload_id: upload for upload in await store.list_uploads() if upload.upload_id not in before}
        assert found.keys() == {completed, left}
        assert found[left].key in (key("a/left"), None)
        await store.complete_multipart(key("a/done"), completed, [etag])
    async with open_store() as store:  # after a crash, say
        (upload,) = [each for each in await store.list_uploads() if each.upload_id not in before]
        assert upload.upload_id == left
        await store.abort_multipart(upload.key or key(""), upload.upload_id)
        assert {each.upload_id for each in await store.list_uploads()} == before
        assert await names(store) == ["a/done"]


async def test_those_to_one_key_and_their_parts(store: Backend) -> None:
    begun = [await store.start_multipart(key(name), metadata={}) for name in ("a", "a", "ab", "b/a")]
    assert {upload.upload_id for upload in await store.list_uploads(key("a"))} == set(begun[:2])
    assert await store.list_uploads(key("b")) == []
    assert list(await store.list_parts(key("a"), begun[1])) == []
    for number in 2, 1:
        await store.put_part(key("a"), begun[1], number, BytesSource(b"body"))
    assert [list(await store.list_parts(key("a"), each)) for each in begun[:2]] == [[], [1, 2]]
    await store.abort_multipart(key("a"), begun[1])
    with pytest.raises(NoSuchObject):
        await store.list_parts(key("a"), begun[1])


async def test_uploads_are_no_objects(store: Backend) -> None:
    await store.start_multipart(key("a"), metadata={})
    assert (await list_all(store, "")).objects == ()
    await put(store, "b", os.urandom(10))
    assert await names(store) == ["b"]


async def test_an_upload_tells_when_it_began(store: Backend) -> None:
    begun = await store.start_multipart(key("a"), metadata={})
    (upload,) = [each for each in await store.list_uploads() if each.upload_id == begun]
    assert abs(upload.started_ns - time.time_ns()) < CLOCKS_NS
