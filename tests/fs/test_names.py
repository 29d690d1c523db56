"""Names: how they are made, moved and removed, what is refused, and what of the store it asks for."""

from __future__ import annotations

import os
import stat

import pytest
from trio.testing import MockClock

from fusecache.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileSystemError,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotFound,
)
from fusecache.namespace.records import Place
from fusecache.types import ROOT_INO
from tests.fs.harness import FILE, TTL_S, CountedStore, World, numbered


async def test_create_refuses_what_is_there_if_told_so(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"x"})
    with pytest.raises(AlreadyExists):
        await world.create("a", os.O_WRONLY | os.O_EXCL)


async def test_an_unlinked_object_is_gone_though_the_store_still_has_it(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"a": b"x", "d/b": b"x"})
    await world.unlink("a")
    await world.unlink("d/b")
    for _ in range(2):
        assert await world.ls() == ["d/"]
        assert await world.ls("d") == []
        with pytest.raises(NotFound):
            await world.stat("a")
        mock_clock.jump(TTL_S + 1)
    assert store.keys() == ["a", "d/b"]


async def test_rename_over_an_open_file(world: World, store: CountedStore) -> None:
    await store.foreign({"old": b"old bytes"})
    await world.write_file("new", b"new bytes")
    handle = await world.open("old")
    await world.rename("new", "old")
    assert await world.read(handle) == b"old bytes"
    assert await world.read_file("old") == b"new bytes"
    assert await world.ls() == ["old"]
    await world.close(handle)


async def test_rename_without_replace(world: World) -> None:
    await world.write_file("a", b"a")
    await world.write_file("b", b"b")
    with pytest.raises(AlreadyExists):
        await world.rename("a", "b", replace=False)
    await world.rename("a", "c", replace=False)
    assert sorted(await world.ls()) == ["b", "c"]


@pytest.mark.parametrize("count", [10, 3000])
async def test_rename_of_a_directory_is_one_transaction_whatever_its_size(
    world: World, store: CountedStore, count: int
) -> None:
    await store.foreign(numbered(count, "d/"))
    assert len(await world.ls("d")) == count
    old, new = await world.place("d"), await world.place("e")
    with pytest.raises(NotFound):
        await world.stat("e")
    store.since()
    statements: list[str] = []
    world.ns.database.connection.set_trace_callback(statements.append)
    await world.fs.rename(old, new)
    world.ns.database.connection.set_trace_callback(None)
    assert statements.count("COMMIT") == 1
    assert len(statements) < 60
    assert not store.since()
    assert len(await world.ls("e")) == count
    assert await world.ls() == ["e/"]


async def test_a_renamed_directory_reads_where_its_objects_are(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"d/a": b"aa", "d/s/b": b"bb"})
    await world.rename("d", "e")
    await world.write_file("e/c", b"cc")
    await world.mkdir("d")
    assert await world.ls("d") == []
    for _ in range(2):
        assert sorted(await world.ls("e")) == ["a", "c", "s/"]
        assert [await world.read_file(path) for path in ("e/a", "e/s/b", "e/c")] == [b"aa", b"bb", b"cc"]
        mock_clock.jump(TTL_S + 1)


async def test_two_files_change_places(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"aa", "b": b"bb"})
    await world.rename("a", "c")
    await world.rename("b", "a")
    await world.rename("c", "b")
    assert (await world.read_file("a"), await world.read_file("b")) == (b"bb", b"aa")


REFUSED_RENAMES = [
    ("d", "d/x", InvalidArgument),
    ("d", "d/s/x", InvalidArgument),
    ("d", "f", NotADirectory),
    ("f", "d", IsADirectory),
    ("e", "d", DirectoryNotEmpty),
    ("nothing", "x", NotFound),
    ("f", "nothing/x", NotFound),
    ("f", "g/x", NotADirectory),
    ("f", "n" * 256, NameTooLong),
]


@pytest.mark.parametrize(("old", "new", "error"), REFUSED_RENAMES)
@pytest.mark.parametrize("foreign", [True, False])
async def test_renames_that_are_refused_change_nothing(
    world: World, store: CountedStore, old: str, new: str, error: type[FileSystemError], foreign: bool
) -> None:
    files = {"d/s/a": b"1", "f": b"2", "g": b"3"}
    if foreign:
        await store.foreign(files | {"e/": b""})
    else:
        for directory in ("d", "d/s", "e"):
            await world.mkdir(directory)
        for path, data in files.items():
            await world.write_file(path, data)
    with pytest.raises(error):
        await world.rename(old, new)
    assert sorted(await world.ls()) == ["d/", "e/", "f", "g"]
    assert {path: await world.read_file(path) for path in files} == files


async def test_rename_of_a_directory_over_an_empty_one(world: World, store: CountedStore) -> None:
    await store.foreign({"d/a": b"1", "e/": b""})
    await world.rename("d", "e")
    assert await world.ls() == ["e/"]
    assert await world.read_file("e/a") == b"1"


async def test_rename_to_itself_does_nothing(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"1", "d/x": b"2"})
    await world.rename("a", "a")
    await world.rename("d", "d")
    assert sorted(await world.ls()) == ["a", "d/"]


async def test_rmdir_asks_what_the_store_has(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign({"d/a": b"1", "e/": b""})
    with pytest.raises(DirectoryNotEmpty):
        await world.rmdir("d")
    await world.rmdir("e")
    await world.unlink("d/a")
    await world.rmdir("d")
    mock_clock.jump(TTL_S + 1)
    assert await world.ls() == []


async def test_rmdir_of_what_is_no_directory(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"1"})
    with pytest.raises(NotADirectory):
        await world.rmdir("a")
    await world.mkdir("d")
    with pytest.raises(IsADirectory):
        await world.unlink("d")


async def test_a_new_directory_hides_what_was_removed_before(world: World, store: CountedStore) -> None:
    await store.foreign({"d/a": b"1"})
    await world.unlink("d/a")
    await world.rmdir("d")
    await world.mkdir("d")
    assert await world.ls("d") == []
    with pytest.raises(NotFound):
        await world.stat("d/a")


async def test_nothing_is_made_in_a_directory_that_was_removed(world: World) -> None:
    ino = await world.mkdir("d")
    await world.rmdir("d")
    with pytest.raises(FileSystemError):
        await world.fs.create(Place(ino, b"a"), FILE, os.O_WRONLY)


async def test_symbolic_links(world: World) -> None:
    await world.symlink("../to/nowhere", "l")
    inode = await world.stat("l")
    assert stat.S_ISLNK(inode.mode)
    assert inode.size == len("../to/nowhere")
    assert await world.fs.readlink(inode.ino) == b"../to/nowhere"
    with pytest.raises(AlreadyExists):
        await world.symlink("x", "l")
    await world.write_file("a", b"")
    with pytest.raises(InvalidArgument):
        await world.fs.readlink((await world.stat("a")).ino)


# --- limits ---


async def test_names_of_255_bytes_and_no_more(world: World) -> None:
    await world.write_file("n" * 255, b"x")
    assert await world.ls() == ["n" * 255]
    for make in (world.mkdir, lambda path: world.symlink("t", path), lambda path: world.write_file(path, b"")):
        with pytest.raises(NameTooLong):
            await make("n" * 256)
    with pytest.raises(NameTooLong):
        await world.stat("n" * 256)


async def test_a_key_the_store_cannot_hold_is_refused_at_once(world: World) -> None:
    path = "/".join(["d" * 254] * 4)  # with the slash after it 1020 bytes
    for depth in range(4):
        await world.mkdir("/".join(["d" * 254] * (depth + 1)))
    await world.write_file(f"{path}/abcd", b"x")
    with pytest.raises(NameTooLong):
        await world.write_file(f"{path}/abcde", b"x")
    await world.write_file("short", b"x")
    with pytest.raises(NameTooLong):
        await world.rename("short", f"{path}/abcde")


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"tab\t", "per\u2030mille".encode(), b" ", b"%2F", b"..."])
async def test_names_of_any_bytes(world: World, name: bytes) -> None:
    number, _ = await world.fs.create(Place(ROOT_INO, name), FILE, os.O_WRONLY)
    world.fs.flush(number)
    world.fs.release(number)
    assert [each.name for each in await world.entries(ROOT_INO)] == [name]
    assert (await world.stat(name)).size == 0
