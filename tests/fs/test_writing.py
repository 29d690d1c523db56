"""Bytes and attributes: what changes, what of the store it asks for, and what is committed."""

from __future__ import annotations

import errno
import os
import stat

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import NoSpace
from fusecache.fs.attrs import Changes
from tests.fs.harness import BLOCK, CountedStore, World, pattern

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


async def test_an_open_that_cuts_and_cannot_write_is_a_commit(world: World) -> None:
    """Nobody has anything more to say about the file: neither a close nor a crash changes its times."""
    await world.write_file("a", b"bytes")
    number = await world.open("a", os.O_RDONLY | os.O_TRUNC)
    told = await world.stat("a")
    row = world.ns.tables.inodes.get(told.ino)
    assert (row.size, row.mtime_ns, row.ctime_ns) == (0, told.mtime_ns, told.ctime_ns)
    await world.close(number)
    assert await world.stat("a") == told


async def test_a_file_that_is_created_by_an_open_for_reading_is_committed(world: World) -> None:
    """Its close tells nothing new: it may be drained, and a truncate of it is a commit as any other."""
    number = await world.open("a", os.O_RDONLY | os.O_CREAT)
    ino = (await world.stat("a")).ino
    (task,) = world.ns.tables.tasks.all_of_inode(ino)
    assert task.due_ns is not None
    await world.truncate("a", 5)
    told = await world.stat("a")
    assert world.ns.tables.inodes.get(ino) == told
    await world.close(number)
    assert await world.stat("a") == told


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
    await world.upkeep.sweep()
    assert not world.contents.exists(ino)
    assert await world.read_file("a") == b"another"


# --- attributes ---


@pytest.mark.parametrize("kind", ["foreign", "dirty", "open", "directory"])
async def test_mode_owner_and_times(world: World, store: CountedStore, kind: str) -> None:
    await store.foreign({"foreign": b"x"})
    await world.mkdir("directory")
    await world.write_file("dirty", b"x")
    number = await world.create("open")
    await world.fs.write(number, 0, b"x")
    await world.setattr(kind, uid=7, gid=8)
    await world.setattr(kind, mode=0o4751)
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


async def test_a_write_that_finds_no_room_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither do the times become those of a file that was never written."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    await world.write_file("a", b"12")
    await world.setattr("a", mtime_ns=222)
    before = await world.stat("a")
    number = await world.open("a", os.O_WRONLY)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpace):
        await world.fs.write(number, 0, b"xyz")
    monkeypatch.undo()
    assert (await world.stat("a"))[:9] == before[:9]
    await world.close(number)
    assert (await world.stat("a"))[:9] == before[:9]
    assert await world.read_file("a") == b"12"


# --- the file system ---


async def test_statfs_tells_of_the_cache_s_disk(world: World) -> None:
    assert world.fs.statfs().f_blocks > 0


async def test_one_transaction_a_call(world: World) -> None:
    """What is acknowledged is committed, and nothing is committed twice."""
    seen: list[str] = []
    await world.ls()
    world.ns.database.connection.set_trace_callback(seen.append)

    async def commits(act: object) -> int:
        seen.clear()
        await act  # type: ignore[misc]  # a coroutine
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
