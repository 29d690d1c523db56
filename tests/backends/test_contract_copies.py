"""What every store promises of copies, deletes and uploads in parts."""

from __future__ import annotations

import os

import pytest

from fusecache.backends.base import Backend
from fusecache.backends.sources import BytesSource
from fusecache.errors import BackendError, NoSuchObject, PermanentBackendError, PreconditionFailed, StoreRefused
from fusecache.types import ETag, Extent
from tests.backends.helpers import WRONG, copy_in_parts, key, names, put, read

PART = 5 << 20


async def test_copy_keeps_metadata(store: Backend) -> None:
    etag = await put(store, "a", b"data", mode="1")
    copied = await store.copy(key("a"), key("dir/b"), if_match=etag, size=4, metadata=None)
    info = await store.head(key("dir/b"))
    assert (info.etag, info.metadata) == (copied, {"mode": "1"})
    assert await read(store, "dir/b") == b"data"
    assert await names(store) == ["a", "dir/b"]


async def test_new_metadata_is_laid_over_the_old(store: Backend) -> None:
    etag = await put(store, "a", b"data", mode="1", uid="0")
    await store.copy(key("a"), key("b"), if_match=etag, size=4, metadata={"mode": "2"})
    copied = (await store.head(key("b"))).metadata or {}
    assert {name: copied[name] for name in ("mode", "uid")} == {"mode": "2", "uid": "0"}
    assert (await store.head(key("a"))).metadata == {"mode": "1", "uid": "0"}


async def test_copy_onto_itself(store: Backend) -> None:
    etag = await put(store, "a", b"data", mode="1")
    copied = await store.copy(key("a"), key("a"), if_match=etag, size=4, metadata={"mode": "2"})
    info = await store.head(key("a"))
    assert (info.etag, info.metadata) == (copied, {"mode": "2"})
    assert await read(store, "a") == b"data"
    with pytest.raises(StoreRefused):
        await store.copy(key("a"), key("a"), if_match=None, size=4, metadata=None)


async def test_copy_of_a_marker(store: Backend) -> None:
    await put(store, "a/", b"", mode="1")
    await store.copy(key("a/"), key("b/"), if_match=None, size=0, metadata=None)
    assert (await store.head(key("b/"))).metadata == {"mode": "1"}
    await store.copy(key("b/"), key("b/"), if_match=None, size=0, metadata={"mode": "2"})
    assert (await store.head(key("b/"))).metadata == {"mode": "2"}
    assert await names(store) == ["a/", "b/"]


async def test_copy_replaces_its_target(store: Backend) -> None:
    await put(store, "a", b"new")
    await put(store, "b", b"older")
    await store.copy(key("a"), key("b"), if_match=None, size=3, metadata=None)
    assert await read(store, "b") == b"new"


async def test_copy_of_another_version(store: Backend) -> None:
    old = await put(store, "a", b"one")
    await put(store, "a", b"two")
    with pytest.raises(PreconditionFailed):
        await store.copy(key("a"), key("b"), if_match=old, size=3, metadata=None)
    assert await names(store) == ["a"]


async def test_copy_of_nothing(store: Backend) -> None:
    for if_match in None, WRONG:
        with pytest.raises(NoSuchObject):
            await store.copy(key("absent"), key("b"), if_match=if_match, size=3, metadata=None)
    assert await names(store) == []


async def test_delete_is_idempotent(store: Backend) -> None:
    await put(store, "a")
    await put(store, "b")
    for _ in range(2):
        outcomes = await store.delete([key("a"), key("absent/x")])
        assert [(outcome.key, outcome.error) for outcome in outcomes] == [("a", None), ("absent/x", None)]
    assert await names(store) == ["b"]
    assert list(await store.delete([])) == []


@pytest.mark.slow
async def test_multipart(store: Backend) -> None:
    bodies = [os.urandom(PART), os.urandom(PART), b"the tail"]
    upload_id = await store.start_multipart(key("dir/big"), metadata={"mode": "1"})
    etags = [
        await store.put_part(key("dir/big"), upload_id, number, BytesSource(body))
        for number, body in enumerate(bodies, start=1)
    ]
    assert await names(store) == []
    etag = await store.complete_multipart(key("dir/big"), upload_id, etags)
    info = await store.head(key("dir/big"))
    assert (info.etag, info.size, info.metadata) == (etag, 2 * PART + 8, {"mode": "1"})
    across = Extent(PART - 100, PART + 104)
    assert await store.get(key("dir/big"), across, if_match=etag) == bodies[0][-100:] + bodies[1] + b"the "


async def test_multipart_aborted(store: Backend) -> None:
    upload_id = await store.start_multipart(key("big"), metadata={})
    await store.put_part(key("big"), upload_id, 1, BytesSource(b"x" * 1000))
    for _ in range(2):
        await store.abort_multipart(key("big"), upload_id)
    assert await names(store) == []
    with pytest.raises(BackendError):
        await store.complete_multipart(key("big"), upload_id, [WRONG])


async def test_multipart_with_a_wrong_part(store: Backend) -> None:
    upload_id = await store.start_multipart(key("big"), metadata={})
    await store.put_part(key("big"), upload_id, 1, BytesSource(b"x" * 1000))
    with pytest.raises(PermanentBackendError):
        await store.complete_multipart(key("big"), upload_id, [WRONG])
    assert await names(store) == []
    await store.abort_multipart(key("big"), upload_id)


async def test_a_part_of_an_unknown_upload(store: Backend) -> None:
    upload_id = await store.start_multipart(key("big"), metadata={})
    await store.abort_multipart(key("big"), upload_id)
    with pytest.raises(NoSuchObject):
        await store.put_part(key("big"), upload_id, 1, BytesSource(b"x"))


@pytest.mark.slow
async def test_parts_that_the_store_copies(store: Backend) -> None:
    """Also from the object that is replaced by them."""
    old, middle = os.urandom(3 * PART + 7), os.urandom(PART)
    etag = await put(store, "big", old, mode="1")
    if not await can_copy_parts(store, etag):
        assert not store.capabilities.multipart_copy
        return
    for target in "other", "big":
        upload_id = await store.start_multipart(key(target), metadata={"mode": "2"})
        head, tail = Extent(3, PART), Extent(2 * PART + 1, PART + 6)
        etags = [
            await store.put_part_copy(key(target), upload_id, 1, key("big"), head, if_match=etag),
            await store.put_part(key(target), upload_id, 2, BytesSource(middle)),
            await store.put_part_copy(key(target), upload_id, 3, key("big"), tail, if_match=etag),
        ]
        await store.complete_multipart(key(target), upload_id, etags, if_match=etag if target == "big" else None)
        assert (await store.head(key(target))).metadata == {"mode": "2"}
        assert await read(store, target) == old[3 : PART + 3] + middle + old[2 * PART + 1 :]


async def test_a_copy_in_parts(store: Backend) -> None:
    """What a copy takes along, this one does; onto itself, too."""
    etag = await put(store, "a", b"data", mode="1", uid="0")
    if not await can_copy_parts(store, etag):
        return
    for target in "dir/b", "a":
        await copy_in_parts(store, await store.head(key("a")), target, {"mode": "2"})
        kept = (await store.head(key(target))).metadata or {}
        assert {name: kept[name] for name in ("mode", "uid")} == {"mode": "2", "uid": "0"}
        assert await read(store, target) == b"data"
    assert list(await store.list_uploads()) == []


async def test_a_copy_in_parts_of_another_version_or_of_nothing(store: Backend) -> None:
    old = await put(store, "a", b"one")
    await put(store, "a", b"two")
    with pytest.raises(PreconditionFailed):
        await store.start_copy(key("a"), key("b"), if_match=old, metadata=None)
    with pytest.raises(NoSuchObject):
        await store.start_copy(key("absent"), key("b"), if_match=old, metadata=None)
    assert list(await store.list_uploads()) == []


async def test_a_part_that_cannot_be_copied(store: Backend) -> None:
    """Of another version, or from nowhere."""
    old = await put(store, "a", b"x" * 1000)
    if not await can_copy_parts(store, old):
        return
    await put(store, "a", b"y" * 1000)
    upload_id = await store.start_multipart(key("b"), metadata={})
    for source in "a", "absent":
        with pytest.raises(PreconditionFailed):
            await store.put_part_copy(key("b"), upload_id, 1, key(source), Extent(0, 10), if_match=old)
    assert list(await store.list_parts(key("b"), upload_id)) == []


async def test_a_part_copied_to_an_unknown_upload(store: Backend) -> None:
    etag = await put(store, "a", b"x" * 1000)
    if not await can_copy_parts(store, etag):
        return
    upload_id = await store.start_multipart(key("b"), metadata={})
    await store.abort_multipart(key("b"), upload_id)
    with pytest.raises(NoSuchObject):
        await store.put_part_copy(key("b"), upload_id, 1, key("a"), Extent(0, 10), if_match=etag)


async def can_copy_parts(store: Backend, etag: ETag) -> bool:
    """Whether the server can, which it shows when it is asked to."""
    source = (await store.list("", delimiter=None)).objects[0]
    upload_id = await store.start_multipart(key("probe"), metadata={})
    try:
        await store.put_part_copy(key("probe"), upload_id, 1, source.key, Extent(0, 10), if_match=etag)
    except StoreRefused:
        return False
    finally:
        await store.abort_multipart(key("probe"), upload_id)
    return True
