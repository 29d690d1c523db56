"""What every store promises (`fusecache.backends.base`), asked of every store and decorator."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio

from fusecache.backends.base import Backend
from fusecache.backends.sources import BytesSource, FileRange
from fusecache.errors import NoSuchObject, PermanentBackendError, PreconditionFailed, StoreRefused
from fusecache.types import Extent
from tests.backends.conftest import OpenStore
from tests.backends.helpers import WRONG, key, list_all, names, put, put_all, read

ODD_NAMES = {
    "space": "a b/c d",
    "plus": "a+b",
    "percent": "a%b",
    "percent-code": "a%20b%2Fc",
    "unicode": "ü/☃/日本語.parquet",
    "astral": "😀",
    "quotes": 'it\'s "so"',
    "markup": "a&b<c>d&amp;",
    "equals": "year=2024/month=01/part-0.parquet",
    "query": "what?#fragment",
    "backslash": "a\\b",
    "punctuation": "*~()!$,:;@[]{}^|`",
    "newline": "two\nlines",
    "leading-dot": ".hidden/.part",
    "trailing-space": "end ",
}


async def test_check_of_a_store_that_is_there(store: Backend) -> None:
    await store.check()
    await put(store, "a")
    await store.check()
    assert store.url


async def test_put_and_read_back(store: Backend) -> None:
    etag = await put(store, "dir/file", b"0123456789", mode="33188")
    info = await store.head(key("dir/file"))
    assert (info.key, info.size, info.etag) == ("dir/file", 10, etag)
    assert info.metadata == {"mode": "33188"}
    assert '"' not in etag
    assert await read(store, "dir/file") == b"0123456789"


async def test_put_replaces(store: Backend) -> None:
    first = await put(store, "a", b"first", kind="old")
    second = await put(store, "a", b"second")
    assert first != second
    info = await store.head(key("a"))
    assert (info.etag, info.metadata) == (second, {})
    assert await read(store, "a") == b"second"


async def test_mtime_is_when_it_was_put(store: Backend) -> None:
    await put(store, "a")
    head = await store.head(key("a"))
    assert await store.glance(key("a")) == head
    (listed,) = (await list_all(store, "")).objects
    assert listed.metadata is None
    assert abs(head.mtime_ns - listed.mtime_ns) < 1_000_000_000  # HEAD tells whole seconds
    assert abs(head.mtime_ns - time.time_ns()) < 60_000_000_000
    assert listed.etag == head.etag


async def test_empty_object(store: Backend) -> None:
    await put(store, "empty", b"")
    assert (await store.head(key("empty"))).size == 0
    assert await read(store, "empty") == b""


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (3, 4), (9, 1), (0, 10), (5, 0)])
async def test_ranges(store: Backend, offset: int, length: int) -> None:
    etag = await put(store, "a", b"0123456789")
    data = await store.get(key("a"), Extent(offset, length), if_match=etag)
    assert data == b"0123456789"[offset : offset + length]
    assert await store.get(key("a"), Extent(offset, length), if_match=None) == data


@pytest.mark.parametrize("offset", [5, 10, 20])
async def test_range_beyond_the_end(store: Backend, offset: int) -> None:
    await put(store, "a", b"0123456789")
    with pytest.raises(StoreRefused):
        await store.get(key("a"), Extent(offset, 10), if_match=None)


async def test_get_of_another_version(store: Backend) -> None:
    old = await put(store, "a", b"0123456789")
    await put(store, "a", b"abcdefghij")
    for extent in Extent(2, 3), Extent(0, 0):
        with pytest.raises(PreconditionFailed):
            await store.get(key("a"), extent, if_match=old)


async def test_absent(store: Backend) -> None:
    with pytest.raises(NoSuchObject):
        await store.head(key("absent"))
    for if_match in None, WRONG:
        with pytest.raises(NoSuchObject):
            await store.get(key("absent"), Extent(0, 1), if_match=if_match)
    assert await names(store) == []
    assert await store.glance(key("absent")) is None


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES.keys())
async def test_odd_names(store: Backend, name: str) -> None:
    await put(store, name, b"odd")
    assert await names(store) == [name]
    assert await read(store, name) == b"odd"
    if "/" in name:
        first = name[: name.index("/") + 1]
        page = await store.list("", delimiter="/")
        assert page.prefixes == (first,)
        assert await names(store, first) == [name]
    size = (await store.head(key(name))).size
    await store.copy(key(name), key("copy/" + name), if_match=None, size=size, metadata=None)
    assert await read(store, "copy/" + name) == b"odd"
    outcomes = await store.delete([key(name), key("copy/" + name)])
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert await names(store) == []


async def test_empty_path_parts(store: Backend) -> None:
    await put(store, "a//b", b"odd")
    assert await names(store) == ["a//b"]
    assert (await store.list("a/", delimiter="/")).prefixes == ("a//",)


async def test_listing_is_bytewise(store: Backend) -> None:
    wanted = ["a-b", "a/b", "a0", "a1/x", "b", "ÿ", "€", "😀"]
    for name in reversed(wanted):
        await put(store, name)
    assert await names(store) == wanted
    page = await list_all(store, "", delimiter="/")
    assert [info.key for info in page.objects] == ["a-b", "a0", "b", "ÿ", "€", "😀"]
    assert page.prefixes == ("a/", "a1/")


async def test_prefix_is_text_not_a_directory(store: Backend) -> None:
    for name in "part-1", "part-2", "parts/x", "other":
        await put(store, name)
    assert await names(store, "part") == ["part-1", "part-2", "parts/x"]
    page = await store.list("part", delimiter="/")
    assert ([info.key for info in page.objects], page.prefixes) == (["part-1", "part-2"], ("parts/",))
    assert await names(store, "nothing/here") == []


@pytest.mark.parametrize("delimiter", [None, "/"])
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_small_pages(store: Backend, limit: int, delimiter: str | None) -> None:
    for name in "a", "b/1", "b/2", "b/3", "c", "d/1", "e":
        await put(store, name)
    page = await list_all(store, "", delimiter=delimiter, limit=limit)
    if delimiter:
        assert [info.key for info in page.objects] == ["a", "c", "e"]
        assert page.prefixes == ("b/", "d/")
    else:
        assert [info.key for info in page.objects] == ["a", "b/1", "b/2", "b/3", "c", "d/1", "e"]


async def test_start_after(store: Backend) -> None:
    for name in "a", "b", "c/1", "c/2", "d":
        await put(store, name)
    page = await store.list("", delimiter=None, start_after="b")
    assert [info.key for info in page.objects] == ["c/1", "c/2", "d"]
    page = await store.list("", delimiter=None, start_after="bb", limit=1)
    assert [info.key for info in page.objects] == ["c/1"]
    page = await store.list("c/", delimiter=None, start_after="c/1")
    assert [info.key for info in page.objects] == ["c/2"]


@pytest.mark.slow
async def test_more_than_a_page(store: Backend) -> None:
    wanted = [f"d/{number:04}" for number in range(1005)]
    await put_all(store, wanted)
    assert await names(store, "d/") == wanted
    page = await store.list("d/", delimiter="/")
    assert (len(page.objects), page.next_token is None) == (1000, False)
    outcomes = await store.delete([key(name) for name in wanted[:999]] + [key("never/there")])
    assert [outcome.key for outcome in outcomes] == [*wanted[:999], "never/there"]
    assert [outcome.error for outcome in outcomes] == [None] * 1000
    assert await names(store) == wanted[999:]


async def test_a_file_and_things_below_it(store: Backend) -> None:
    await put(store, "a", b"file")
    await put(store, "a/b", b"below")
    assert await names(store) == ["a", "a/b"]
    page = await store.list("", delimiter="/")
    assert ([info.key for info in page.objects], page.prefixes) == (["a"], ("a/",))


async def test_directory_markers(store: Backend) -> None:
    await put(store, "dir/", b"", mode="16877")
    assert await names(store) == ["dir/"]
    assert (await store.list("", delimiter="/")).prefixes == ("dir/",)
    assert [info.key for info in (await store.list("dir/", delimiter="/")).objects] == ["dir/"]
    info = await store.head(key("dir/"))
    assert (info.size, info.metadata) == (0, {"mode": "16877"})
    await put(store, "dir/child")
    assert await names(store) == ["dir/", "dir/child"]
    await store.delete([key("dir/child")])
    assert await names(store) == ["dir/"]
    await store.delete([key("dir/")])
    assert await names(store) == []
    with pytest.raises(NoSuchObject):
        await store.head(key("dir/"))


async def test_a_marker_that_is_not_there_is_deleted(store: Backend) -> None:
    await put(store, "other")
    outcomes = await store.delete([key("never/"), key("other")])
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert await names(store) == []


async def test_no_directory_is_left_behind(store: Backend) -> None:
    await put(store, "a/b/c/d")
    await store.delete([key("a/b/c/d")])
    assert await names(store) == []
    assert (await store.list("", delimiter="/")).prefixes == ()
    await put(store, "a")  # nothing of the directory is in the way
    assert await names(store) == ["a"]


async def test_metadata(store: Backend) -> None:
    metadata = {
        "mode": "33188",
        "mtime": "1700000000.123",
        "--symlink-target": "..%2Fb%C3%BC",
        "Fusecache-Upload": "id",
    }
    await store.put(key("a"), BytesSource(b"x"), metadata=metadata)
    found = (await store.head(key("a"))).metadata
    assert found == {name.lower(): value for name, value in metadata.items()}


@pytest.mark.parametrize("value", ["ü", "two\nlines", "\x00", " padded "])
async def test_metadata_that_is_no_header_is_refused(store: Backend, value: str) -> None:
    with pytest.raises(StoreRefused):
        await put(store, "a", b"x", name=value)
    with pytest.raises(StoreRefused):
        await store.start_multipart(key("a"), metadata={"name": value})
    assert await names(store) == []


async def test_conditional_put(store: Backend) -> None:
    first = await store.put(key("a"), BytesSource(b"1"), metadata={}, if_none_match=True)
    with pytest.raises(PreconditionFailed):
        await store.put(key("a"), BytesSource(b"2"), metadata={}, if_none_match=True)
    with pytest.raises(PreconditionFailed):
        await store.put(key("a"), BytesSource(b"2"), metadata={}, if_match=WRONG)
    with pytest.raises(PreconditionFailed):
        await store.put(key("absent"), BytesSource(b"2"), metadata={}, if_match=first)
    assert await read(store, "a") == b"1"
    assert await names(store) == ["a"]
    second = await store.put(key("a"), BytesSource(b"2"), metadata={}, if_match=first)
    assert await read(store, "a") == b"2"
    assert (await store.head(key("a"))).etag == second


async def test_many_readers(store: Backend) -> None:
    body = os.urandom(256 << 10)
    etag = await put(store, "a", body)
    found: list[bool] = []

    async def read_some(number: int) -> None:
        data = await store.get(key("a"), Extent(number * 1000, 50_000), if_match=etag)
        found.append(data == body[number * 1000 : number * 1000 + 50_000])

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(read_some, number)
    assert found == [True] * 64


async def test_a_cancelled_put_leaves_a_usable_store(store: Backend, tmp_path: Path) -> None:
    local = tmp_path.parent / f"{tmp_path.name}-body"
    local.write_bytes(os.urandom(8 << 20))
    for delay_s in 0.0, 0.001, 0.003, 0.006, 0.01:
        with trio.move_on_after(delay_s):
            await store.put(key("big"), FileRange(local, 0, 8 << 20), metadata={})
    await put(store, "after", b"fine")
    assert await read(store, "after") == b"fine"
    if "big" in await names(store):  # if at all, then whole
        assert await read(store, "big") == local.read_bytes()


async def test_objects_outlive_the_connection(open_store: OpenStore) -> None:
    async with open_store() as store:
        etag = await put(store, "a/b", b"data", mode="1")
    async with open_store() as store:
        assert (await store.head(key("a/b"))).etag == etag
        assert await read(store, "a/b") == b"data"


@pytest.mark.slow
async def test_put_from_a_sparse_file(store: Backend, tmp_path: Path) -> None:
    local = tmp_path.parent / f"{tmp_path.name}-body"
    with local.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(2 << 20)
        file.write(b"middle")
    await store.put(key("a"), FileRange(local, 5, (3 << 20) - 7), metadata={})
    assert await read(store, "a") == local.read_bytes()[5:-2]


async def test_a_source_that_became_shorter(store: Backend, tmp_path: Path) -> None:
    local = tmp_path.parent / f"{tmp_path.name}-body"
    local.write_bytes(b"x" * 1000)
    with pytest.raises(PermanentBackendError, match="promised"):
        await store.put(key("a"), FileRange(local, 0, 2000), metadata={})
    assert await names(store) == []
