"""What a killed daemon had open, and the next one goes on with: bytes, sizes, files without names, directories."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import NotFound, Stale
from fusecache.fs.left import Left, LeftDirectory, LeftFile
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.namespace.tree import Tree
from fusecache.types import ROOT_INO, HandleNo, InodeNo
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.handing import handed
from tests.fs.harness import BLOCK, FILE, pattern
from tests.fs.kernel import AGREED, a_kernel
from tests.fs.test_reuse import BIG

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


def die(world: Drained) -> None:
    """Close what only a process's death closes, at the end of a world that left it open."""
    for content in world.contents.opened():
        if content.file.fd >= 0:
            content.file.let_go()


async def synced(world: Drained, number: HandleNo) -> None:
    await world.fs.fsync(number)


async def synced_and_no_more(world: Drained, number: HandleNo) -> None:
    """Killed between the commit of the bytes that were synced and that of those which follow."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tree, "begin_write", killed)
        with pytest.raises(InterruptedError):
            await world.fs.fsync(number)


def killed(*_: object, **__: object) -> None:
    raise InterruptedError


async def nothing_more(world: Drained, number: HandleNo) -> None:
    """Killed as it is."""


@pytest.mark.parametrize("end", [nothing_more, synced, synced_and_no_more])
@pytest.mark.parametrize("size", [len(BIG), 5])
async def test_an_object_that_the_kernel_changes(
    end: Callable[[Drained, HandleNo], Awaitable[None]], size: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Of what it was made from nothing is known any more: whatever was written before, meanwhile and since is sent."""
    store, expected = RecordedStore(), bytearray(BIG[:size])
    await store.foreign({"f": bytes(expected)})
    async with a_drained_world(tmp_path, store, block_size=MIB) as world:
        world.fs.back_files()
        assert await world.read_file("f") == expected
        file = await handed(world, "f", os.O_RDWR)
        ino = (await world.stat("f")).ino

        def write(offset: int, data: bytes) -> None:
            os.pwrite(file.fd, data, offset)
            expected.extend(bytes(max(0, offset + len(data) - len(expected))))
            expected[offset : offset + len(data)] = data

        write(0, b"before")
        await end(world, file.number)
        die(world)
    write(size // 2, b"meanwhile")
    write(size + 3, b"longer") if size == len(BIG) else None
    opened = left(file.number, ino, os.O_RDWR, is_backed=True)
    async with a_drained_world(tmp_path, store, left=opened, block_size=MIB) as world:
        world.fs.back_files()
        assert (await world.stat("f")).size == len(expected)
        await trio.sleep(60)
        assert store.content("f") == BIG[:size]
        write(size // 3, b"since")
        await world.fs.fsync(file.number)
        write(size // 4, b"last")
        os.close(file.fd)
        world.fs.release(file.number)
        await world.upkeep.seal()
        await world.settle()
        assert store.content("f") == await world.read_file("f") == expected


@pytest.mark.parametrize("excl", [0, os.O_EXCL])
@pytest.mark.parametrize("is_backed", [False, True])
async def test_a_file_without_a_name_gets_one(
    is_backed: bool, excl: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """From the next daemon, too, unless it was never to have one."""
    store, flags = RecordedStore(), os.O_TMPFILE | os.O_RDWR | excl
    async with a_drained_world(tmp_path, store) as world:
        if is_backed:
            world.fs.back_files()
        number, entry = await world.fs.tmpfile(ROOT_INO, FILE, flags)
        ino = entry.inode.ino
        fd = world.fs.backing(number)
        assert (fd is not None) is is_backed
        mine = os.dup(fd) if fd is not None else -1
        if not is_backed:
            await world.fs.write(number, 0, b"before")
        die(world)
    if is_backed:
        os.pwrite(mine, b"before", 0)
    async with a_drained_world(tmp_path, store, left=left(number, ino, flags, is_backed=is_backed)) as world:
        world.fs.back_files()
        if excl:
            with pytest.raises(NotFound):
                await world.fs.link(ino, await world.place("named"))
        else:
            await world.fs.link(ino, await world.place("named"))
            assert (await world.stat("named")).size == 6
        if is_backed:
            os.pwrite(mine, b" and since", 6)
            os.close(mine)
        else:
            await world.fs.write(number, 6, b" and since")
        world.fs.release(number)
        await world.settle()
        assert store.objects() == ({} if excl else {"named": b"before and since"})


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


async def test_a_file_without_a_name_that_is_asked_for_again_is_there_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    logbook = Logbook.begin(AGREED)
    body = abi.fuse_create_in.pack(os.O_TMPFILE | os.O_RDWR, 0o100600, 0, 0)
    async with a_drained_world(tmp_path, RecordedStore()) as world:
        async with a_kernel(world, logbook=logbook) as before:
            unique = before.send(Opcode.TMPFILE, ROOT_INO, body)
            await before.answer(unique)
            (first,) = world.ns.tables.inodes.orphans()
        async with a_kernel(world, logbook=Logbook.found(*logbook.descriptors)) as kernel:
            error, _ = await kernel.answer(kernel.send_again(unique, before))
            assert not error
        (second,) = world.ns.tables.inodes.orphans()
        assert second != first
        (file,) = Logbook.found(*logbook.descriptors).left().files
        assert (file.ino, file.flags) == (second, os.O_TMPFILE | os.O_RDWR)
        world.fs.release(file.number)
    for fd in logbook.descriptors:
        os.close(fd)


@pytest.mark.parametrize("is_followed", [False, True])
@pytest.mark.parametrize("is_new", [False, True])
async def test_who_has_not_written_has_changed_no_time(
    is_new: bool, is_followed: bool, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Though the kernel might have, unseen: the content's file is as old as its bytes, not as their arrival here."""
    store = RecordedStore()
    if not is_new:
        await store.foreign({"f": pattern(BLOCK)})
    async with a_drained_world(tmp_path, store) as world:
        world.fs.back_files()
        if not is_new:
            await world.read_file("f")
        file = await handed(world, "f", WRITING)
        before = await world.stat("f")
        die(world)
    mine = left(file.number, before.ino, WRITING, is_backed=True) if is_followed else Left()
    async with a_drained_world(tmp_path, store, left=mine) as world:
        assert (await world.stat("f")).mtime_ns == before.mtime_ns
    os.close(file.fd)
