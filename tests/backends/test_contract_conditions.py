"""What every store promises of conditional writes and deletes: what somebody else put meanwhile stays."""

from __future__ import annotations

import pytest
import trio

from fusecache.backends.base import Backend
from fusecache.backends.sources import BytesSource
from fusecache.errors import PreconditionFailed
from fusecache.types import DeleteOutcome, ETag
from tests.backends.helpers import WRONG, key, names, put, read


def failed(outcomes: list[DeleteOutcome]) -> list[str]:
    """Return the keys that were kept; any other error than the condition's is none of ours."""
    assert all(outcome.error is None or isinstance(outcome.error, PreconditionFailed) for outcome in outcomes)
    return [outcome.key for outcome in outcomes if outcome.error]


async def delete(store: Backend, wanted: dict[str, ETag | None]) -> list[str]:
    outcomes = await store.delete([key(name) for name in wanted], if_match=list(wanted.values()))
    assert [outcome.key for outcome in outcomes] == list(wanted)
    return failed(list(outcomes))


async def test_a_replaced_key_is_kept(store: Backend) -> None:
    """Twice, as the first time shows what the store does with conditions."""
    for _ in range(2):
        wanted: dict[str, ETag | None] = {"absent": WRONG, "nothing": None}
        for name in "ours", "replaced", "dir/ours", "dir/whatever", "dir/sub/replaced":
            wanted[name] = await put(store, name, b"ours")
        wanted["dir/whatever"] = None
        await put(store, "replaced", b"theirs")
        await put(store, "dir/sub/replaced", b"theirs")
        assert await delete(store, wanted) == ["replaced", "dir/sub/replaced"]
        assert await names(store) == ["dir/sub/replaced", "replaced"]
        assert await read(store, "replaced") == b"theirs"


async def test_single_keys(store: Backend) -> None:
    for _ in range(2):
        etag = await put(store, "a")
        assert await delete(store, {"a": WRONG}) == ["a"]
        assert await names(store) == ["a"]
        assert await delete(store, {"a": etag}) == []
        assert await names(store) == []
        assert await delete(store, {"a": etag}) == []


@pytest.mark.slow
async def test_many_neighbours(store: Backend) -> None:
    """As many as are rather looked for in a listing, and some that are elsewhere or beside."""
    wanted: dict[str, ETag | None] = {"absent": WRONG}
    for number in range(60):
        wanted[f"d/{number:02}"] = await put(store, f"d/{number:02}", b"ours")
    wanted["e/f/1"] = await put(store, "e/f/1", b"ours")
    wanted["d/59-absent"] = WRONG
    for name in "d/20", "d/59", "e/f/1":
        await put(store, name, b"theirs")
    await put(store, "d/20-beside", b"theirs")
    assert sorted(await delete(store, wanted)) == ["d/20", "d/59", "e/f/1"]
    assert await names(store) == ["d/20", "d/20-beside", "d/59", "e/f/1"]


async def test_a_name_with_control_characters(store: Backend) -> None:
    for _ in range(2):
        wanted = {name: await put(store, name) for name in ("a\x01b", "two\nlines", "plain")}
        await put(store, "two\nlines", b"theirs")
        assert await delete(store, {**wanted}) == ["two\nlines"]
        assert await names(store) == ["two\nlines"]


async def test_conditional_delete_of_a_marker(store: Backend) -> None:
    etag = await put(store, "dir/", b"")
    await put(store, "other")
    assert await delete(store, {"dir/": WRONG, "never/": WRONG}) == ["dir/"]
    assert await names(store) == ["dir/", "other"]
    assert await delete(store, {"dir/": etag, "never/": etag}) == []
    assert await names(store) == ["other"]


async def test_one_of_many_that_put_first(store: Backend) -> None:
    won: list[bytes] = []

    async def put_first(body: bytes) -> None:
        try:
            await store.put(key("a"), BytesSource(body), metadata={}, if_none_match=True)
        except PreconditionFailed:
            return
        won.append(body)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(put_first, b"%d" % number)
    assert store.capabilities.conditional_write
    assert len(won) == 1
    assert await read(store, "a") == won[0]


async def test_one_of_many_that_replace_a_version(store: Backend) -> None:
    first = await put(store, "a", b"first")
    won: list[bytes] = []

    async def replace(body: bytes) -> None:
        try:
            await store.put(key("a"), BytesSource(body), metadata={}, if_match=first)
        except PreconditionFailed:
            return
        won.append(body)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(replace, b"%d" % number)
    assert len(won) == 1
    assert await read(store, "a") == won[0]


async def uploaded(store: Backend, name: str, body: bytes) -> tuple[str, list[ETag]]:
    upload_id = await store.start_multipart(key(name), metadata={})
    return upload_id, [await store.put_part(key(name), upload_id, 1, BytesSource(body))]


async def test_an_upload_in_parts_replaces_nothing_unseen(store: Backend) -> None:
    old = await put(store, "a", b"old")
    await put(store, "a", b"theirs")
    for if_match in None, old:
        upload_id, etags = await uploaded(store, "a", b"ours")
        with pytest.raises(PreconditionFailed):
            await store.complete_multipart(
                key("a"), upload_id, etags, if_match=if_match, if_none_match=if_match is None
            )
        assert await read(store, "a") == b"theirs"
        await store.abort_multipart(key("a"), upload_id)
    upload_id, etags = await uploaded(store, "gone", b"ours")
    with pytest.raises(PreconditionFailed):
        await store.complete_multipart(key("gone"), upload_id, etags, if_match=old)
    await store.abort_multipart(key("gone"), upload_id)
    assert await names(store) == ["a"]


async def test_an_upload_in_parts_under_a_condition_that_holds(store: Backend) -> None:
    upload_id, etags = await uploaded(store, "a", b"first")
    first = await store.complete_multipart(key("a"), upload_id, etags, if_none_match=True)
    assert await read(store, "a") == b"first"
    upload_id, etags = await uploaded(store, "a", b"second")
    second = await store.complete_multipart(key("a"), upload_id, etags, if_match=first)
    assert await read(store, "a") == b"second"
    assert (await store.head(key("a"))).etag == second
