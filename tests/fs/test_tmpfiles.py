"""Files without a name: nobody finds them, nothing of them is sent, and a link makes them what others are."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.errors import AlreadyExists, NotFound
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.types import ROOT_INO, HandleNo, InodeNo
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.handing import Handed
from tests.fs.harness import FILE, World
from tests.fs.kernel import a_kernel


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def drained(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as world:
        yield world


async def tmpfile(world: World, flags: int = os.O_RDWR) -> tuple[InodeNo, HandleNo]:
    number, entry = await world.fs.tmpfile(ROOT_INO, FILE, flags)
    world.kernel[number] = entry.inode.ino
    return entry.inode.ino, number


async def link(world: World, ino: InodeNo, path: str) -> None:
    await world.fs.link(ino, await world.place(path))


async def test_one_that_gets_no_name_leaves_nothing(drained: Drained, store: RecordedStore) -> None:
    ino, number = await tmpfile(drained)
    await drained.fs.write(number, 0, b"nobody sees it")
    assert await drained.read(number) == b"nobody sees it"
    inode = (await drained.fs.getattr(ino)).inode
    assert (inode.nlink, inode.size) == (0, 14)
    await drained.fs.fsync(number)
    await drained.close(number)
    await drained.settle()
    assert (await drained.ls(), store.objects(), drained.tasks_left()) == ([], {}, 0)
    await drained.upkeep.sweep()
    assert not drained.contents.exists(ino)


async def test_it_is_named_once(world: World) -> None:
    """As any link: who is asked again by the kernel finds it done."""
    ino, number = await tmpfile(world)
    requests = world.ns.tables.requests
    requests.begins(7)
    await link(world, ino, "f")
    requests.begins(0)
    assert requests.is_done(7)
    await world.close(number)


@pytest.mark.parametrize("is_synced", [False, True])
async def test_a_link_makes_it_a_file(drained: Drained, store: RecordedStore, is_synced: bool) -> None:
    """Whatever was written before or after, and whether the rows had it."""
    ino, number = await tmpfile(drained)
    await drained.fs.write(number, 0, b"before")
    if is_synced:
        await drained.fs.fsync(number)
    await link(drained, ino, "f")
    assert (await drained.stat("f")).nlink == 1
    if is_synced:
        await drained.settle()
        assert store.objects() == {"f": b"before"}
    await drained.fs.write(number, 6, b" and after")
    await drained.close(number)
    await drained.settle()
    assert store.objects() == {"f": b"before and after"}
    assert await drained.read_file("f") == b"before and after"


async def test_the_kernel_writes_to_it_by_itself(drained: Drained, store: RecordedStore) -> None:
    drained.fs.back_files()
    ino, number = await tmpfile(drained)
    file = Handed(drained, number)
    os.pwrite(file.fd, b"before", 0)
    await link(drained, ino, "f")
    os.pwrite(file.fd, b" and after", 6)
    await file.close()
    await drained.settle()
    assert store.objects() == {"f": b"before and after"}


async def test_a_name_that_is_taken(drained: Drained, store: RecordedStore) -> None:
    await drained.write_file("f", b"first")
    ino, number = await tmpfile(drained)
    with pytest.raises(AlreadyExists):
        await link(drained, ino, "f")
    await link(drained, ino, "g")
    await link(drained, ino, "h")
    await drained.fs.write(number, 0, b"second")
    await drained.close(number)
    await drained.settle()
    assert store.objects() == {"f": b"first", "g": b"second", "h": b"second"}
    assert (await drained.stat("g")).nlink == 2


async def test_who_wants_no_name_for_it_gets_none(drained: Drained) -> None:
    ino, number = await tmpfile(drained, os.O_RDWR | os.O_EXCL)
    with pytest.raises(NotFound):
        await link(drained, ino, "f")
    await drained.close(number)


async def test_a_crash_spares_what_has_a_name(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with a_drained_world(tmp_path, store) as world:
        for name in ("f", ""):
            ino, number = await tmpfile(world)
            await world.fs.write(number, 0, b"acknowledged")
            if name:
                await link(world, ino, name)
    async with a_drained_world(tmp_path, store) as world:
        assert await world.ls() == ["f"]
        await world.settle()
        assert store.objects() == {"f": b"acknowledged"}
        await world.upkeep.sweep()
        assert not world.contents.exists(ino)


async def test_the_kernel_asks_for_one(world: World) -> None:
    async with a_kernel(world) as kernel:
        body = abi.fuse_create_in.pack(os.O_RDWR, 0o100600, 0o022, 0) + b"#123\0"
        answer = await kernel.told(Opcode.TMPFILE, ROOT_INO, body)
        ino = abi.fuse_entry_out.unpack_from(answer)[0]
        number = abi.fuse_open_out.unpack(answer[-abi.fuse_open_out.size :])[0]
        await kernel.write(ino, number, 0, b"hello")
        await kernel.told(Opcode.LINK, ROOT_INO, abi.fuse_link_in.pack(ino) + b"f\0")
        await kernel.close(ino, number)
        assert await world.read_file("f") == b"hello"
