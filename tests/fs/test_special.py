"""Fifos, sockets and devices: here, and in no store."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.errors import AlreadyExists, DirectoryNotEmpty, InvalidArgument
from fusecache.namespace.tree import Owner
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import FILE, World

DEVICE = Owner(stat.S_IFCHR | 0o620, 0, 5)


async def test_a_device_has_its_number(world: World) -> None:
    entry = await world.fs.mknod(await world.place("tty"), DEVICE, 0x0501)
    assert (entry.inode.mode, entry.inode.rdev) == (DEVICE.mode, 0x0501)
    with pytest.raises(AlreadyExists):
        await world.mkfifo("tty")
    with pytest.raises(InvalidArgument):
        await world.open("tty")


async def test_it_is_renamed_linked_and_unlinked_like_a_file(world: World) -> None:
    await world.mkdir("d")
    await world.mkfifo("d/fifo")
    with pytest.raises(DirectoryNotEmpty):
        await world.rmdir("d")
    await world.rename("d/fifo", "moved")
    await world.link("moved", "other")
    assert (await world.stat("other")).nlink == 2
    for name in ("moved", "other"):
        await world.unlink(name)
    assert await world.ls() == ["d/"]


async def test_the_store_never_hears_of_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.mkdir("d")
        await world.mkfifo("d/fifo")
        await world.mkdir("e")
        await world.write_file("e/file", b"x")
        await world.settle()
        assert store.objects() == {"d/": b"", "e/file": b"x"}, "what only holds a fifo is empty to the store"
        await world.rename("d/fifo", "e/file")
        await world.settle()
        assert store.objects() == {"d/": b"", "e/": b""}
        assert (world.persister.report().files_local, world.persister.report().files_dirty) == (1, 0)
        assert (await world.fs.xattrs.get((await world.stat("e/file")).ino, b"user.fusecache.state")) == b"local"
        await world.rename("e", "f")
        await world.settle()
    async with a_drained_world(tmp_path, store) as world:
        assert stat.S_ISFIFO((await world.stat("f/file")).mode)
        await world.unlink("f/file")
        await world.settle()
        assert world.persister.report().files_local == 0
        assert store.objects() == {"d/": b"", "f/": b""}


async def test_out_of_staging_it_stays_local(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.mkdir("_temporary")
        await world.mkfifo("_temporary/fifo")
        await world.rename("_temporary", "kept")
        await world.settle()
        await world.rename("kept/fifo", "fifo")
        await world.settle()
        assert (world.persister.report().files_local, store.objects()) == (1, {"kept/": b""})


async def test_a_regular_file_made_by_mknod_is_sent(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.fs.mknod(await world.place("empty"), FILE, 0)
        await world.settle()
        assert store.objects() == {"empty": b""}
        await world.write_file("empty", b"no more")
        assert await world.read_file("empty") == b"no more"
