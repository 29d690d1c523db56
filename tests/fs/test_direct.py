"""The kernel's own protocol, spoken to a whole file system: what is asked, what waits."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.types import ROOT_INO
from tests.fs.harness import TTL_S, CountedStore, World, pattern
from tests.fs.kernel import AGREED, PAGE, Kernel, a_kernel

MANY = 150


@pytest.fixture
async def kernel(world: World) -> AsyncIterator[Kernel]:
    async with a_kernel(world) as opened:
        yield opened


async def test_a_file_from_create_to_unlink(kernel: Kernel, world: World) -> None:
    ino, number = await kernel.create(b"f")
    assert await kernel.write(ino, number, 0, b"hello") == 5
    assert await kernel.read(ino, number) == b"hello"
    await kernel.close(ino, number)
    assert await kernel.lookup(b"f") == ino
    assert await world.read_file("f") == b"hello"
    await kernel.told(Opcode.UNLINK, body=b"f\0")
    assert await kernel.ask(Opcode.LOOKUP, body=b"f\0") == (errno.ENOENT, b"")


async def test_attributes_are_where_the_kernel_looks(kernel: Kernel, world: World) -> None:
    await world.write_file("f", b"x" * 1000)
    before = await world.setattr("f", mode=0o640, uid=7, gid=8, atime_ns=-1, mtime_ns=1_500_000_001)
    answer = await kernel.told(Opcode.GETATTR, before.ino, bytes(16))
    fields = abi.fuse_attr.unpack(answer[abi.fuse_attr_out.size :])
    assert fields[:6] == (before.ino, 1000, 2, -1, 1, before.ctime_ns // 10**9)
    assert fields[6:9] == (999_999_999, 500_000_001, before.ctime_ns % 10**9)
    assert fields[9:13] == (stat.S_IFREG | 0o640, 1, 7, 8)


async def test_setattr_reads_the_fields_that_count(kernel: Kernel, world: World) -> None:
    await world.write_file("f", b"x" * 1000)
    ino = await kernel.lookup(b"f")
    valid = abi.FATTR_SIZE | abi.FATTR_MTIME
    body = abi.fuse_setattr_in.pack(valid, 0, 0, 10, 0, 1, -2, 3, 4, 5, 6, 0o777, 0, 8, 9, 0)
    await kernel.told(Opcode.SETATTR, ino, body)
    found = await world.stat("f")
    assert (found.size, found.mtime_ns, found.uid) == (10, -2 * 10**9 + 5, 1000)
    assert stat.S_IMODE(found.mode) == 0o644


async def test_set_id_bits_go_with_what_somebody_else_writes(kernel: Kernel, world: World) -> None:
    await world.write_file("f", b"x")
    await world.setattr("f", mode=0o4755)
    ino = await kernel.lookup(b"f")
    number = await kernel.open(ino, os.O_WRONLY)
    await kernel.write(ino, number, 0, b"y")
    assert stat.S_IMODE((await world.stat("f")).mode) == 0o4755
    await kernel.write(ino, number, 0, b"z", flags=abi.FUSE_WRITE_KILL_SUIDGID)
    assert stat.S_IMODE((await world.stat("f")).mode) == 0o755
    await kernel.close(ino, number)


async def test_names_of_a_directory_with_and_without_attributes(kernel: Kernel, world: World) -> None:
    await world.mkdir("d")
    for name in ("a", "bc", "x" * 255):
        await world.write_file(f"d/{name}", b"12345")
    ino = await kernel.lookup(b"d")
    (number, _, _) = abi.fuse_open_out.unpack(await kernel.told(Opcode.OPENDIR, ino, abi.fuse_open_in.pack(0, 0)))
    for opcode, skip in ((Opcode.READDIR, 0), (Opcode.READDIRPLUS, abi.fuse_entry_out.size + abi.fuse_attr.size)):
        assert await _names(kernel, ino, number, opcode, skip, size=600) == [b"a", b"bc", b"x" * 255]
    await kernel.told(Opcode.RELEASEDIR, ino, abi.fuse_release_in.pack(number, 0, 0, 0))


async def _names(kernel: Kernel, ino: int, number: int, opcode: Opcode, skip: int, *, size: int) -> list[bytes]:
    """Read a directory to its end in buffers of `size` bytes."""
    found: list[bytes] = []
    position = 0
    while answer := await kernel.told(opcode, ino, abi.fuse_read_in.pack(number, position, size, 0, 0, 0, 0)):
        assert len(answer) <= size
        while answer:
            _, position, length, kind = abi.fuse_dirent.unpack_from(answer, skip)
            assert kind == stat.S_IFREG >> 12
            begin = skip + abi.fuse_dirent.size
            found.append(answer[begin : begin + length])
            answer = answer[begin + length + -length % 8 :]
    return found


async def test_a_long_listing_goes_on_where_it_ended(
    kernel: Kernel, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusecache.fs.streams._LOCAL_CHUNK", 5)
    parent = await world.mkdir("d")
    names = [f"file-{number:02d}".encode() for number in range(33)]
    for name in names:
        await world.write_file(f"d/{name.decode()}", b"")
    number = abi.fuse_open_out.unpack(await kernel.told(Opcode.OPENDIR, parent, abi.fuse_open_in.pack(0, 0)))[0]

    async def rest(position: int) -> list[bytes]:
        found = []
        while answer := await kernel.told(
            Opcode.READDIR, parent, abi.fuse_read_in.pack(number, position, 170, 0, 0, 0, 0)
        ):
            listed = names_of(answer)
            assert len(listed) <= 5, "as many as fit"
            found += [name for name, _ in listed]
            position = listed[-1][1]
        return found

    assert await rest(0) == names
    for name in names[10:20]:
        await world.unlink(f"d/{name.decode()}")
    assert await rest(5) == names[5:10] + names[20:]


async def test_the_kernel_keeps_a_listing_whose_names_it_knows_as_long_as_nothing_changes(
    kernel: Kernel, world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({f"d/{number}": b"1" for number in range(5)})
    ino = await kernel.lookup(b"d")

    async def keeps(opcode: Opcode | None) -> bool:
        """Open the directory, read all of it if it has to be read, and tell whether the kernel may keep it."""
        number, flags, _ = abi.fuse_open_out.unpack(await kernel.told(Opcode.OPENDIR, ino, abi.fuse_open_in.pack(0, 0)))
        assert flags & abi.FOPEN_CACHE_DIR
        if opcode is not None:
            skip = 0 if opcode == Opcode.READDIR else abi.fuse_entry_out.size + abi.fuse_attr.size
            await _names(kernel, ino, number, opcode, skip, size=PAGE)
        await kernel.told(Opcode.RELEASEDIR, ino, abi.fuse_release_in.pack(number, 0, 0, 0))
        return bool(flags & abi.FOPEN_KEEP_CACHE)

    assert not await keeps(Opcode.READDIR)
    assert not await keeps(None), "the kernel has the attributes of none"
    assert not await keeps(Opcode.READDIRPLUS)
    assert await keeps(None)
    await world.write_file("d/6", b"")
    assert not await keeps(Opcode.READDIRPLUS)
    await world.unlink("d/6")
    assert not await keeps(Opcode.READDIRPLUS)
    assert await keeps(None)
    mock_clock.jump(TTL_S + 1)
    assert not await keeps(Opcode.READDIRPLUS), "the store may have changed it"
    assert await keeps(None)
    await world.write_file("d/1", b"12345")
    assert await keeps(None), "the same names"


async def test_the_kernel_goes_on_in_a_listing_that_it_had_kept(world: World) -> None:
    """It has dropped it meanwhile, and the daemon was replaced: a position is what it was for another handle."""
    for name in "abcd":
        await world.write_file(name, b"")
    logbook = Logbook.begin(AGREED)
    async with a_kernel(world, logbook=logbook) as kernel:
        for reads in (True, False):
            number = abi.fuse_open_out.unpack(await kernel.told(Opcode.OPENDIR, ROOT_INO, abi.fuse_open_in.pack(0, 0)))[
                0
            ]
            if reads:
                skip = abi.fuse_entry_out.size + abi.fuse_attr.size
                await _names(kernel, ROOT_INO, number, Opcode.READDIRPLUS, skip, size=PAGE)
                await kernel.told(Opcode.RELEASEDIR, ROOT_INO, abi.fuse_release_in.pack(number, 0, 0, 0))
    (left,) = (
        Logbook.found(
            *logbook.descriptors,
        )
        .left()
        .directories
    )
    assert (left.number, left.names) == (number, (b"a", b"b", b"c", b"d"))


def names_of(answer: bytes) -> list[tuple[bytes, int]]:
    """Return the names of some struct fuse_dirent, each with the position after it."""
    found = []
    while answer:
        _, position, length, _ = abi.fuse_dirent.unpack_from(answer)
        begin = abi.fuse_dirent.size
        found.append((answer[begin : begin + length], position))
        answer = answer[begin + length + -length % 8 :]
    return found


async def test_what_was_made_is_known_until_the_next_tick(kernel: Kernel, world: World) -> None:
    """Else open(2) would ask for the attributes of what it has just made."""
    world.fs.back_files()
    body = abi.fuse_create_in.pack(os.O_RDWR, 0o100644, 0o022, 0) + b"f\0"
    answer = await kernel.told(Opcode.CREATE, ROOT_INO, body)
    name_s, attr_s, _, attr_ns = abi.fuse_entry_out.unpack_from(answer)[2:]
    assert (name_s, attr_s, attr_ns) == (TTL_S, 0, 1)


async def test_attributes_by_name_are_sized_first_and_set_on_conditions(kernel: Kernel, world: World) -> None:
    await world.write_file("f", b"")
    ino = await kernel.lookup(b"f")

    async def put(value: bytes, flags: int) -> int:
        body = abi.fuse_setxattr_in.pack(len(value), flags) + b"user.a\0" + value
        return (await kernel.ask(Opcode.SETXATTR, ino, body))[0]

    assert await put(b"one", abi.XATTR_REPLACE) == errno.ENODATA
    assert await put(b"one", abi.XATTR_CREATE) == 0
    assert await put(b"two", abi.XATTR_CREATE) == errno.EEXIST
    for opcode, name, value in ((Opcode.GETXATTR, b"user.a\0", b"one"), (Opcode.LISTXATTR, b"", b"user.a\0")):
        asked = [abi.fuse_getxattr_in.pack(size, 0) + name for size in (0, len(value), 1)]
        assert await kernel.told(opcode, ino, asked[0]) == abi.fuse_getxattr_out.pack(len(value), 0)
        assert await kernel.told(opcode, ino, asked[1]) == value
        assert await kernel.ask(opcode, ino, asked[2]) == (errno.ERANGE, b"")


# --- waiting ---


async def test_what_waits_for_the_store_keeps_nobody_else(kernel: Kernel, world: World, store: CountedStore) -> None:
    await store.foreign({"cold": pattern(PAGE)})
    ino = await kernel.lookup(b"cold")
    number = await kernel.open(ino)
    store.gate = trio.Event()
    waiting = [kernel.send_read(ino, number) for _ in range(MANY)]
    assert await kernel.lookup(b"cold") == ino
    store.gate.set()
    assert {await kernel.answer(each) for each in waiting} == {(0, pattern(PAGE))}


async def test_more_than_may_wait_are_answered_later(world: World, store: CountedStore) -> None:
    await store.foreign({"cold": pattern(PAGE)})
    async with a_kernel(world, most_waiting=10) as kernel:
        ino = await kernel.lookup(b"cold")
        number = await kernel.open(ino)
        store.gate = trio.Event()
        waiting = [kernel.send_read(ino, number) for _ in range(MANY)]
        await wait_all_tasks_blocked(0.05)
        store.gate.set()
        assert {await kernel.answer(each) for each in waiting} == {(0, pattern(PAGE))}


async def test_an_interrupt_ends_the_waiting_of_one(kernel: Kernel, world: World, store: CountedStore) -> None:
    await store.foreign({"cold": pattern(PAGE)})
    ino = await kernel.lookup(b"cold")
    number = await kernel.open(ino)
    store.gate = trio.Event()
    one, other = kernel.send_read(ino, number), kernel.send_read(ino, number)
    await wait_all_tasks_blocked(0.05)
    kernel.interrupt(one)
    assert await kernel.answer(one) == (errno.EINTR, b"")
    kernel.interrupt(one)  # too late: it is answered
    store.gate.set()
    assert await kernel.answer(other) == (0, pattern(PAGE))
