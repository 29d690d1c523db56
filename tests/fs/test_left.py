"""What a killed daemon had open, and the next one goes on with: bytes, sizes, files without names, directories."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import Stale
from fusecache.fs.left import Left, LeftDirectory, LeftFile
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.types import ROOT_INO, HandleNo, InodeNo
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern
from tests.fs.kernel import AGREED, a_kernel

WRITING = os.O_RDWR | os.O_CREAT


def left(number: HandleNo, ino: InodeNo, flags: int, *, is_backed: bool = False) -> Left:
    return Left((LeftFile(number, ino, flags, is_backed),))


async def test_a_file_that_is_being_written(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It is not sent before its close, and then with all that was written before and after."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        number = await world.open("f", WRITING)
        await world.fs.write(number, 0, b"before")
        ino = (await world.stat("f")).ino
    async with a_drained_world(tmp_path, store, left=left(number, ino, WRITING)) as world:
        assert (await world.stat("f")).size == 6
        await trio.sleep(60)
        assert store.objects() == {}
        await world.fs.write(number, 6, b"after")
        assert await world.fs.read(number, 0, 100) == b"beforeafter"
        other = await world.open("f", os.O_RDONLY)
        assert other != number
        world.fs.flush(number)
        world.fs.release(number)
        world.fs.release(other)
        await world.settle()
        assert store.objects() == {"f": b"beforeafter"}


async def test_a_file_without_a_name(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        number = await world.open("f", WRITING)
        await world.fs.write(number, 0, b"bytes")
        ino = (await world.stat("f")).ino
        await world.unlink("f")
    async with a_drained_world(tmp_path, store, left=left(number, ino, WRITING)) as world:
        found = (await world.fs.getattr(ino)).inode
        assert (found.nlink, found.size) == (0, 5)
        await world.fs.write(number, 5, b" and more")
        assert await world.fs.read(number, 0, 100) == b"bytes and more"
        await world.fs.fsync(number)
        world.fs.flush(number)
        world.fs.release(number)
        assert not world.ns.tables.inodes.orphans()
        await world.settle()
        assert store.objects() == {}


async def test_what_was_closed_and_not_answered_is_no_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        number = await world.open("f", WRITING)
        ino = (await world.stat("f")).ino
        await world.unlink("f")
        world.fs.release(number)
    async with a_drained_world(tmp_path, store, left=left(number, ino, WRITING)) as world:
        assert world.ns.tables.inodes.orphans() == []


async def test_a_clean_file_that_the_kernel_has(tmp_path: Path, autojump_clock: MockClock) -> None:
    """All of it is here, though the index was not told before the kill: nobody may empty it under its reader."""
    store, data = RecordedStore(), pattern(3 * BLOCK + 5)
    await store.foreign({"f": data})
    async with a_drained_world(tmp_path, store) as world:
        assert await world.read_file("f") == data
        world.fs.back_files()
        number = await world.open("f")
        fd = world.fs.backing(number)
        assert fd is not None
        mine = os.dup(fd)
        ino = (await world.stat("f")).ino
    with closing(sqlite3.connect(tmp_path / "index.db")) as index, index:
        index.execute("DELETE FROM content")  # killed within the second, it was not told
    async with a_drained_world(tmp_path, store, left=left(number, ino, os.O_RDONLY, is_backed=True)) as world:
        (content,) = world.contents.opened()
        assert content.whole
        assert await world.read_file("f") == data
        assert os.pread(mine, len(data), 0) == data
    os.close(mine)


async def test_what_the_kernel_wrote_while_nobody_answered(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        world.fs.back_files()
        number = await world.open("f", WRITING)
        fd = world.fs.backing(number)
        assert fd is not None
        mine = os.dup(fd)
        ino = (await world.stat("f")).ino
    os.close(fd)  # as its death does
    os.pwrite(mine, b"meanwhile", 0)
    async with a_drained_world(tmp_path, store, left=left(number, ino, WRITING, is_backed=True)) as world:
        world.fs.back_files()
        assert (await world.stat("f")).size == 9
        os.pwrite(mine, b"and since", 9)
        assert (await world.stat("f")).size == 18
        os.close(mine)
        world.fs.release(number)
        await world.settle()
        assert store.objects() == {"f": b"meanwhileand since"}


async def test_a_directory_is_read_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Each name once, though those that were shown are removed, and others are there now."""
    store = RecordedStore()
    names = [b"f%03d" % n for n in range(200)]
    async with a_drained_world(tmp_path, store) as world:
        for name in names:
            await world.write_file(name, b"")
        number = await world.fs.opendir(ROOT_INO)
        entries = await world.fs.readdir(number, 0)
        shown = world.fs.streams.get(number).known(0)
        for entry in entries:
            await world.unlink(entry.name)
    directory = LeftDirectory(number, ROOT_INO, tuple(shown))
    async with a_drained_world(tmp_path, store, left=Left((), (directory,))) as world:
        found = [entry.name for entry in entries]
        await world.write_file(b"a", b"")
        position = entries[-1].position
        while more := await world.fs.readdir(number, position):
            found += [entry.name for entry in more]
            position = more[-1].position
        assert sorted(found) == sorted([b"a", *names])
        world.fs.releasedir(number)


@pytest.mark.parametrize("opcode", [Opcode.OPEN, Opcode.OPENDIR])
async def test_what_is_opened_again_for_the_same_request_is_open_once(
    opcode: Opcode, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The first answer reached nobody: nobody would ever close what it told."""
    logbook = Logbook.begin(AGREED)
    async with a_drained_world(tmp_path, RecordedStore()) as world:
        await world.write_file("f", b"x")
        ino = (await world.stat("f" if opcode is Opcode.OPEN else "")).ino
        async with a_kernel(world, logbook=logbook) as before:
            unique = before.send(opcode, ino, abi.fuse_open_in.pack(os.O_RDWR, 0))
            _, answer = await before.answer(unique)
            (first, *_) = abi.fuse_open_out.unpack(answer)
        found = Logbook.found(*logbook.descriptors)
        async with a_kernel(world, logbook=found) as kernel:
            error, answer = await kernel.answer(kernel.send_again(unique, before))
            (second, *_) = abi.fuse_open_out.unpack(answer)
            assert (error, second != first) == (0, True)
        left = Logbook.found(*logbook.descriptors).left()
        assert [each.number for each in (*left.files, *left.directories)] == [second]
        with pytest.raises(Stale):
            world.fs.release(HandleNo(first)) if opcode is Opcode.OPEN else world.fs.releasedir(HandleNo(first))
    for fd in logbook.descriptors:
        os.close(fd)
