"""What others have put into the store, seen as a tree: names, types, sizes, times, and at what price."""

from __future__ import annotations

import logging
import stat
from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from fusecache.errors import NotADirectory, NotFound, NotPermitted
from fusecache.types import ROOT_INO
from tests.fs.harness import DEFAULTS, TTL_S, CountedStore, World, numbered, total


async def test_a_foreign_object_is_a_file_with_its_size_and_time(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"twelve bytes"})
    inode = await world.stat("a")
    assert (inode.size, inode.mtime_ns, inode.mode) == (12, 1_700_000_000_000_000_000, stat.S_IFREG | 0o640)
    assert (inode.uid, inode.gid) == (DEFAULTS.uid, DEFAULTS.gid)


async def test_metadata_of_an_object_are_its_attributes(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"x"}, mode=str(0o100600), uid="5", gid="6", mtime="123.000000789")
    inode = await world.stat("a")
    assert (inode.mode, inode.uid, inode.gid) == (0o100600, 5, 6)
    assert inode.mtime_ns == 123_000_000_789


async def test_prefixes_and_markers_are_directories(world: World, store: CountedStore) -> None:
    await store.foreign({"d/e/f": b"x", "empty/": b"", "g": b"x"})
    assert sorted(await world.ls()) == ["d/", "empty/", "g"]
    assert await world.ls("d") == ["e/"]
    assert await world.ls("d/e") == ["f"]
    assert await world.ls("empty") == []


async def test_a_name_that_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        await world.stat("nothing")


async def test_a_name_below_a_file(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"x"})
    with pytest.raises(NotADirectory):
        await world.fs.lookup((await world.stat("a")).ino, b"b")


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
async def test_a_first_listing_is_one_list_a_thousand_and_no_head(
    world: World, store: CountedStore, count: int
) -> None:
    await store.foreign(numbered(count, "d/"))
    await world.stat("d")
    store.since()
    assert len(await world.ls("d")) == count
    assert store.since() == {"list": -(-count // 1000)}


async def test_a_stat_is_one_head_a_version(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign(numbered(10))
    await world.ls()
    store.since()
    for _ in range(3):
        await world.stat("f00003")
    assert store.since() == {"head": 1}
    mock_clock.jump(TTL_S + 1)
    await world.stat("f00003")
    assert store.since() == {"list": 1}  # the listing shows the same version: nothing to ask
    await store.foreign({"f00003": b"another"})
    mock_clock.jump(TTL_S + 1)
    assert (await world.stat("f00003")).size == 7
    assert store.since() == {"list": 1, "head": 1}


async def test_within_its_time_nothing_is_asked_again(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign(numbered(20, "d/"))
    await world.ls("d")
    await world.stat("d/f00001")
    store.since()
    mock_clock.jump(TTL_S / 3)
    await world.ls("d")
    await world.stat("d/f00001")
    with pytest.raises(NotFound):
        await world.stat("d/nothing")
    assert total(store.since()) == 0


async def test_what_is_not_there_is_remembered_with_the_listing(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign(numbered(3))
    for name in ("x", "y", "z"):
        with pytest.raises(NotFound):
            await world.stat(name)
    assert store.since() == {"list": 1}
    await store.foreign({"x": b"now"})
    mock_clock.jump(TTL_S + 1)
    assert (await world.stat("x")).size == 3


async def test_after_its_time_what_is_new_changed_or_gone_is_seen(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"same": b"1", "changed": b"1", "gone": b"1", "d/x": b"1"})
    before = {name: (await world.stat(name)).ino for name in ("same", "changed", "gone", "d")}
    await store.foreign({"changed": b"22", "new": b"3", "e/x": b"1"})
    store.forget("gone")
    store.forget("d/x")
    mock_clock.jump(TTL_S + 1)
    assert sorted(await world.ls()) == ["changed", "e/", "new", "same"]
    assert (await world.stat("same")).ino == before["same"]
    assert (await world.stat("changed")).ino not in before.values()
    assert await world.read_file("changed") == b"22"
    with pytest.raises(NotFound):
        await world.stat("gone")


async def test_nothing_is_believed_longer_than_its_time(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    """The kernel may keep a name for what is left of its listing, not for a whole time more."""
    await store.foreign({"changed": b"1", "gone": b"1"})
    await world.ls()
    await world.stat("changed")
    mock_clock.jump(TTL_S - 5)
    assert (await world.fs.lookup(ROOT_INO, b"gone")).timeout_s <= 5.0
    store.forget("gone")
    assert (await world.fs.lookup(ROOT_INO, b"changed")).timeout_s <= 5.0
    await store.foreign({"changed": b"22"})
    mock_clock.jump(6)
    assert (await world.stat("changed")).size == 2
    with pytest.raises(NotFound):
        await world.stat("gone")


async def test_a_file_becomes_a_directory_and_back(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign({"a": b"1"})
    assert stat.S_ISREG((await world.stat("a")).mode)
    store.forget("a")
    await store.foreign({"a/b": b"1"})
    mock_clock.jump(TTL_S + 1)
    assert await world.ls() == ["a/"]
    assert await world.ls("a") == ["b"]
    store.forget("a/b")
    await store.foreign({"a": b"1"})
    mock_clock.jump(TTL_S + 1)
    assert await world.ls() == ["a"]


async def test_empty_objects_are_asked_for_their_type_before_they_are_shown(world: World, store: CountedStore) -> None:
    await store.foreign({"plain": b"x", "empty": b""})
    await store.foreign({"link": b""}, **{"--symlink-target": "to/there"})
    kinds = {each.name: stat.S_IFMT(each.entry.inode.mode) for each in await world.entries((await world.stat("")).ino)}
    assert kinds == {b"plain": stat.S_IFREG, b"empty": stat.S_IFREG, b"link": stat.S_IFLNK}
    assert store.since() == {"list": 1, "head": 2}
    assert await world.fs.readlink((await world.stat("link")).ino) == b"to/there"
    assert (await world.stat("link")).size == len("to/there")
    assert total(store.since()) == 0


async def test_attributes_of_a_listing_are_believed_for_no_time(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"x"})
    [entry] = await world.entries((await world.stat("")).ino)
    assert entry.entry.timeout_s == 0.0
    await world.stat("a")
    [entry] = await world.entries((await world.stat("")).ino)
    assert 0.0 < entry.entry.timeout_s <= TTL_S


async def test_a_name_beyond_the_first_page_is_found_without_the_pages_before(
    world: World, store: CountedStore
) -> None:
    await store.foreign(numbered(3500))
    await store.foreign({"zz/deep": b"x"})
    assert (await world.stat("f03333")).size == 1
    assert stat.S_ISDIR((await world.stat("zz")).mode)
    with pytest.raises(NotFound):
        await world.stat("zzz")
    assert store.since()["list"] <= 4  # the first page, and one probe a name


async def test_what_is_ours_alone_is_hidden(world: World, store: CountedStore) -> None:
    await store.foreign({".fusecache-tmp/17": b"x", "a": b"x"})
    assert await world.ls() == ["a"]
    with pytest.raises(NotFound):
        await world.stat(".fusecache-tmp")
    with pytest.raises(NotPermitted):
        await world.mkdir(".fusecache-tmp")
    with pytest.raises(NotPermitted):
        await world.write_file(".fusecache-tmp", b"x")
    await world.mkdir("d")
    await world.write_file("d/.fusecache-tmp", b"anybody's")


async def test_keys_that_are_no_path_have_names_of_their_own(world: World, store: CountedStore) -> None:
    keys = ["a//b", "c/../d", "e/./f", "con\x01trol", "per\u2030mille", "/lead"]
    await store.foreign({key: key.encode() for key in keys})
    found = [path async for path in _walk(world)]
    assert len(found) == len(keys)
    assert {await world.read_file(path) for path in found} == {key.encode() for key in keys}
    assert not {".", "..", ""} & {part for path in found for part in path.split("/")}


async def test_a_name_no_directory_can_hold_is_reported(
    world: World, store: CountedStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.foreign({"n" * 256: b"x", "a": b"x"})
    with caplog.at_level(logging.WARNING):
        assert await world.ls() == ["a"]
    assert "nnnn" in caplog.text


@pytest.mark.parametrize("between", ["", "-", "a"])
async def test_an_object_and_a_prefix_of_one_name_are_the_directory(
    world: World, store: CountedStore, between: str
) -> None:
    await store.foreign({"a": b"x", "a/b": b"y", f"a{between}z": b"z"})
    names = await world.ls()
    assert [name for name in names if name.strip("/") == "a"] == ["a/"]
    assert await world.ls("a") == ["b"]


async def test_an_object_whose_prefix_is_on_another_page_ends_as_the_directory(
    world: World, store: CountedStore
) -> None:
    """Until that page was read nobody knows; a name is never shown twice."""
    await store.foreign({"a": b"x", "a/b": b"y"} | {f"a!{n:04d}": b"x" for n in range(1500)})
    names = await world.ls()
    assert len(names) == len({name.strip("/") for name in names}) == 1501
    assert stat.S_ISDIR((await world.stat("a")).mode)
    assert "a/" in await world.ls()
    assert await world.read_file("a/b") == b"y"


async def _walk(world: World, path: str = "") -> AsyncIterator[str]:
    for name in await world.ls(path):
        below = f"{path}/{name}".strip("/")
        if name.endswith("/"):
            async for each in _walk(world, below):
                yield each
        else:
            yield below
