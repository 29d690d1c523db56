"""Changes: what they do, what they refuse, and what of the store they have to ask for."""

from __future__ import annotations

import os
import stat

import pytest
import trio
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
from fusecache.fs.filesystem import Changes
from fusecache.namespace.records import Place
from fusecache.types import ROOT_INO
from tests.fs.harness import BLOCK, FILE, TTL_S, CountedStore, World, numbered, pattern

LARGE = pattern(200 * BLOCK)


# --- bytes ---


async def test_what_was_written_is_read_before_and_after_the_close(world: World) -> None:
    number = await world.create("a", os.O_RDWR)
    assert await world.fs.write(number, 0, b"hello") == 5
    assert await world.read(number) == b"hello"
    assert (await world.stat("a")).size == 5
    await world.close(number)
    assert await world.read_file("a") == b"hello"


async def test_a_hole_reads_as_zeros(world: World) -> None:
    await world.write_file("a", b"x")
    await world.write_at("a", 3 * BLOCK, b"y")
    assert await world.read_file("a") == b"x" + bytes(3 * BLOCK - 1) + b"y"


async def test_writers_of_one_file_see_each_other(world: World) -> None:
    first, second = await world.create("a", os.O_RDWR), await world.open("a", os.O_RDWR)
    await world.fs.write(first, 0, b"aaaa")
    await world.fs.write(second, 2, b"bb")
    assert await world.read(first) == b"aabb"
    await world.close(first)
    await world.fs.write(second, 4, b"cc")
    await world.close(second)
    assert await world.read_file("a") == b"aabbcc"


async def test_a_write_copies_up_only_the_blocks_it_tears(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    await world.write_at("a", 3 * BLOCK + 10, b"x" * 20)
    assert store.since()["get"] == 1
    await world.write_at("a", 10 * BLOCK, b"y" * BLOCK)
    assert store.since()["get"] == 0, "a whole block needs nothing of the old one"
    await world.write_at("a", 20 * BLOCK - 1, b"zz")
    assert 1 <= store.since()["get"] <= 2
    expected = bytearray(LARGE)
    expected[3 * BLOCK + 10 : 3 * BLOCK + 30] = b"x" * 20
    expected[10 * BLOCK : 11 * BLOCK] = b"y" * BLOCK
    expected[20 * BLOCK - 1 : 20 * BLOCK + 1] = b"zz"
    assert await world.read_file("a") == expected
    assert None not in store.conditions


async def test_an_append_to_an_object(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    await world.write_at("a", len(LARGE), b"tail")
    assert store.since()["get"] == 0
    assert await world.read_file("a") == LARGE + b"tail"


async def test_an_append_into_the_last_part_of_a_block(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE[:-7]})
    await world.write_at("a", len(LARGE) - 7, b"tail")
    assert store.since()["get"] == 1
    assert await world.read_file("a") == LARGE[:-7] + b"tail"


async def test_an_overwrite_fetches_nothing(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    number = await world.open("a", os.O_WRONLY | os.O_TRUNC)
    assert (await world.stat("a")).size == 0
    await world.fs.write(number, 5, b"new")
    await world.close(number)
    assert await world.read_file("a") == bytes(5) + b"new"
    assert store.since()["get"] == 0


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 * BLOCK + 5, len(LARGE), len(LARGE) + BLOCK + 3])
async def test_truncate_of_an_object(world: World, store: CountedStore, size: int) -> None:
    await store.foreign({"a": LARGE})
    await world.truncate("a", size)
    assert store.since()["get"] == 0
    assert (await world.stat("a")).size == size
    assert await world.read_file("a") == (LARGE + bytes(BLOCK + 3))[:size]


async def test_what_a_truncate_cut_off_does_not_come_back(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    await world.truncate("a", 2 * BLOCK + 7)
    await world.truncate("a", 5 * BLOCK)
    assert await world.read_file("a") == LARGE[: 2 * BLOCK + 7] + bytes(3 * BLOCK - 7)


async def test_a_truncate_of_an_open_file(world: World) -> None:
    number = await world.create("a", os.O_RDWR)
    await world.fs.write(number, 0, b"0123456789")
    await world.fs.setattr((await world.stat("a")).ino, Changes(size=4))
    assert await world.read(number) == b"0123"
    await world.fs.write(number, 6, b"x")
    await world.close(number)
    assert await world.read_file("a") == b"0123\0\0x"


async def test_fsync_commits_before_the_close(world: World) -> None:
    number = await world.create("a")
    await world.fs.write(number, 0, b"abc")
    await world.fs.fsync(number)
    assert world.ns.tables.inodes.get((await world.stat("a")).ino).size == 3
    await world.close(number)


async def test_an_unlinked_new_file_lives_to_its_close(world: World) -> None:
    number = await world.create("a", os.O_RDWR)
    await world.fs.write(number, 0, b"abc")
    ino = (await world.stat("a")).ino
    await world.unlink("a")
    await world.fs.write(number, 3, b"def")
    assert await world.read(number) == b"abcdef"
    assert (await world.fs.getattr(ino)).inode.size == 6
    await world.write_file("a", b"another")
    await world.close(number)
    assert not world.contents.exists(ino)
    assert await world.read_file("a") == b"another"


# --- names ---


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


# --- attributes ---


@pytest.mark.parametrize("kind", ["foreign", "dirty", "open", "directory"])
async def test_mode_owner_and_times(world: World, store: CountedStore, kind: str) -> None:
    await store.foreign({"foreign": b"x"})
    await world.mkdir("directory")
    await world.write_file("dirty", b"x")
    number = await world.create("open")
    await world.fs.write(number, 0, b"x")
    await world.setattr(kind, mode=0o4751)
    await world.setattr(kind, uid=7, gid=8)
    await world.setattr(kind, atime_ns=111, mtime_ns=222)
    await world.close(number)
    inode = await world.stat(kind)
    assert (stat.S_IMODE(inode.mode), inode.uid, inode.gid) == (0o4751, 7, 8)
    assert (inode.atime_ns, inode.mtime_ns) == (111, 222)
    assert stat.S_ISDIR(inode.mode) == (kind == "directory")
    if kind != "directory":
        assert await world.read_file(kind) == b"x"


async def test_attributes_of_an_unlinked_open_file(world: World) -> None:
    number = await world.create("a")
    ino = (await world.stat("a")).ino
    await world.unlink("a")
    await world.fs.setattr(ino, Changes(mode=0o600))
    assert stat.S_IMODE((await world.fs.getattr(ino)).inode.mode) == 0o600
    await world.close(number)


async def test_a_write_moves_the_time_of_the_file_and_a_new_name_that_of_its_directory(
    world: World, mock_clock: MockClock
) -> None:
    await world.mkdir("d")
    await world.write_file("d/a", b"x")
    directory, file = await world.stat("d"), await world.stat("d/a")
    mock_clock.jump(5)
    await world.write_at("d/a", 0, b"y")
    assert (await world.stat("d/a")).mtime_ns - file.mtime_ns >= 5e9
    assert (await world.stat("d")).mtime_ns == directory.mtime_ns
    await world.write_file("d/b", b"x")
    assert (await world.stat("d")).mtime_ns - directory.mtime_ns >= 5e9


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


async def test_statfs_tells_of_the_cache_s_disk(world: World) -> None:
    assert world.fs.statfs().f_blocks > 0


async def test_one_transaction_a_call(world: World) -> None:
    """What is acknowledged is committed, and nothing is committed twice."""
    seen: list[str] = []
    await world.ls()
    world.ns.database.connection.set_trace_callback(seen.append)

    async def commits(act: object) -> int:
        seen.clear()
        await act  # type: ignore[misc]
        return seen.count("COMMIT")

    number = await world.create("a")
    assert await commits(world.fs.write(number, 0, b"x")) == 0
    assert await commits(world.close(number)) == 1
    for act in (
        world.mkdir("d"),
        world.symlink("t", "l"),
        world.rename("a", "d/b"),
        world.unlink("d/b"),
        world.rmdir("d"),
    ):
        assert await commits(act) == 1
    with trio.fail_after(10):
        assert await commits(world.setattr("l", uid=9)) == 1
