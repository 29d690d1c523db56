"""A daemon is killed, and the next one is asked again what that one did not answer: each thing happens once."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from fusecache.fs.recovery import Recovery
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.calls import Header
from fusecache.fs.transport.direct.replies import KINDS, Again
from fusecache.fs.transport.direct.server import Server
from fusecache.namespace.database import Database
from fusecache.types import ROOT_INO, HandleNo, Seq
from tests.fs.draining import RecordedStore
from tests.fs.harness import MEMORY, CountedStore, World, a_world, wall_clock
from tests.fs.kernel import Kernel, a_kernel
from tests.fs.test_through import waiting

Request = tuple[Opcode, int, bytes]
Tree = dict[str, tuple[object, ...]]


class Case(NamedTuple):
    """What is asked in the world of `prepare`, and what is open then: the first handle is 1, the next 2."""

    ask: Callable[[World], Awaitable[Request]]
    opened: tuple[str, ...] = ()


async def prepare(world: World) -> None:
    """One of everything."""
    await world.mkdir("d")
    await world.mkdir("empty")
    for path in ("f", "g", "d/h"):
        await world.write_file(path, path.encode() * 100)
    await world.setxattr("f", b"user.old", b"1")
    assert "theirs" in await world.ls()  # what others have put is known, as it is after an `ls`


async def mkdir(world: World) -> Request:
    return Opcode.MKDIR, ROOT_INO, abi.fuse_mkdir_in.pack(0o40755, 0o022) + b"new\0"


async def mkfifo(world: World) -> Request:
    return Opcode.MKNOD, ROOT_INO, abi.fuse_mknod_in.pack(stat.S_IFIFO | 0o644, 0, 0, 0) + b"new\0"


async def mknod(world: World) -> Request:
    return Opcode.MKNOD, ROOT_INO, abi.fuse_mknod_in.pack(stat.S_IFREG | 0o644, 0, 0, 0) + b"new\0"


async def symlink(world: World) -> Request:
    return Opcode.SYMLINK, ROOT_INO, b"new\0some/target\0"


async def link(world: World) -> Request:
    return Opcode.LINK, ROOT_INO, abi.fuse_link_in.pack((await world.stat("f")).ino) + b"new\0"


async def unlink(world: World) -> Request:
    return Opcode.UNLINK, ROOT_INO, b"f\0"


async def unlink_theirs(world: World) -> Request:
    """The store is asked first, and what it says is a commit of its own."""
    return Opcode.UNLINK, ROOT_INO, b"theirs\0"


async def rmdir(world: World) -> Request:
    return Opcode.RMDIR, ROOT_INO, b"empty\0"


async def rename(world: World) -> Request:
    return Opcode.RENAME, ROOT_INO, abi.fuse_rename_in.pack((await world.stat("d")).ino) + b"f\0h\0"


async def rename_to_a_new_name(world: World) -> Request:
    flags = abi.RENAME_NOREPLACE
    return Opcode.RENAME2, ROOT_INO, abi.fuse_rename2_in.pack(ROOT_INO, flags, 0) + b"f\0new\0"


async def exchange(world: World) -> Request:
    return Opcode.RENAME2, ROOT_INO, abi.fuse_rename2_in.pack(ROOT_INO, abi.RENAME_EXCHANGE, 0) + b"f\0g\0"


async def create(world: World) -> Request:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TRUNC
    return Opcode.CREATE, ROOT_INO, abi.fuse_create_in.pack(flags, 0o100600, 0, 0) + b"new\0"


async def setxattr(world: World) -> Request:
    body = abi.fuse_setxattr_in.pack(3, abi.XATTR_CREATE) + b"user.new\0abc"
    return Opcode.SETXATTR, (await world.stat("f")).ino, body


async def removexattr(world: World) -> Request:
    return Opcode.REMOVEXATTR, (await world.stat("f")).ino, b"user.old\0"


async def set_attributes(world: World) -> Request:
    valid = abi.FATTR_SIZE | abi.FATTR_MODE | abi.FATTR_MTIME
    body = abi.fuse_setattr_in.pack(valid, 0, 0, 10, 0, 1, 2, 3, 4, 5, 6, 0o600, 0, 8, 9, 0)
    return Opcode.SETATTR, (await world.stat("f")).ino, body


async def write(world: World) -> Request:
    body = abi.fuse_write_in.pack(1, 95, 10, 0, 0, 0, 0) + b"0123456789"
    return Opcode.WRITE, (await world.stat("f")).ino, body


async def fallocate(world: World) -> Request:
    return Opcode.FALLOCATE, (await world.stat("f")).ino, abi.fuse_fallocate_in.pack(1, 50, 200, 0, 0)


async def copy_file_range(world: World) -> Request:
    body = abi.fuse_copy_file_range_in.pack(1, 10, (await world.stat("g")).ino, 2, 95, 50, 0)
    return Opcode.COPY_FILE_RANGE, (await world.stat("f")).ino, body


async def release(world: World) -> Request:
    """The last close commits."""
    await world.fs.write(HandleNo(1), 0, b"written")
    return Opcode.RELEASE, (await world.stat("f")).ino, abi.fuse_release_in.pack(1, os.O_RDWR, 0, 0)


ONCE = [
    Case(ask)
    for ask in (
        mkdir, mkfifo, mknod, symlink, link, unlink, unlink_theirs, rmdir, rename, rename_to_a_new_name, exchange,
        create, setxattr, removexattr,
    )
]  # fmt: skip
OTHERS = [
    Case(set_attributes),
    Case(write, ("f",)),
    Case(fallocate, ("f",)),
    Case(copy_file_range, ("f", "g")),
    Case(release, ("f",)),
]


ANSWERED = "after the answer"
MAKES = (Opcode.MKDIR, Opcode.MKNOD, Opcode.SYMLINK, Opcode.LINK, Opcode.CREATE)

# --- kills ---


@dataclass
class Kills:
    """What a kill would leave, at each moment that makes a difference: copies of all files."""

    root: Path
    left: dict[str, Path] = field(default_factory=dict)
    is_on: bool = False

    def moment(self, name: str) -> None:
        if self.is_on:
            name = f"{len(self.left)} {name}"
            self.left[name] = self.root.with_name(name)
            shutil.copytree(self.root, self.left[name])


@contextmanager
def killed_at_any_moment(kills: Kills) -> Iterator[None]:
    commit, reply = Database.commit, Server._reply

    def committing(self: Database, before: Seq) -> None:
        kills.moment("before a commit")
        commit(self, before)
        kills.moment("after a commit")

    def replying(self: Server, who: Header, number: int, answer: bytes) -> None:
        kills.moment("before the answer")
        reply(self, who, number, answer)
        kills.moment(ANSWERED)

    kills.is_on = True
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Database, "commit", committing)
        patched.setattr(Server, "_reply", replying)
        yield
    kills.is_on = False


async def what_is_there(world: World) -> Tree:
    """Of every path: what does not depend on when it was made, and whether two are the same file."""
    found: Tree = {}
    numbers: dict[int, str] = {}
    todo = [""]
    while todo:
        path = todo.pop()
        inode = await world.stat(path)
        if inode.is_dir:
            todo += [f"{path}/{name}".strip("/") for name in await world.ls(path)]
        data = await world.read_file(path) if stat.S_ISREG(inode.mode) else inode.symlink
        same = numbers.setdefault(inode.ino, path)
        found[path] = (inode.mode, inode.uid, inode.nlink, inode.size, data, await world.xattrs(path), same)
    return found


@asynccontextmanager
async def next_daemon(left: Path, store: CountedStore) -> AsyncIterator[tuple[World, Kernel]]:
    """What goes on with the files that a killed one has left."""
    async with a_world(left, store, ttl_s=0.0) as world, a_kernel(world) as kernel:
        Recovery(world.ns, world.contents, boot_id="boot", delay_ns=1, wall_ns=wall_clock()).run()
        yield world, kernel


async def reopen(kernel: Kernel, opened: tuple[str, ...]) -> None:
    for number, path in enumerate(opened, 1):
        assert await kernel.open(await kernel.lookup(path.encode()), os.O_RDWR) == number


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory for what needs no disk: a hundred of small copies."""
    path = Path(MEMORY or "/tmp") / f"fusecache-replies-{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("case", [*ONCE, *OTHERS], ids=lambda case: case.ask.__name__)
async def test_a_request_that_was_not_answered_is_answered_by_the_next_daemon(
    case: Case, base: Path, mock_clock: MockClock
) -> None:
    store = CountedStore()
    await store.foreign({"theirs": b"theirs"})
    kills = Kills(base / "first")
    kills.root.mkdir()
    async with a_world(kills.root, store, ttl_s=0.0) as world:
        await prepare(world)
    async with a_world(kills.root, store, ttl_s=0.0) as world, a_kernel(world) as first:
        await reopen(first, case.opened)
        request = await case.ask(world)
        with killed_at_any_moment(kills):
            sent = first.send(*request)
            told = await first.answer(sent)
        assert not told[0], os.strerror(told[0])
        expected = await what_is_there(world)
    assert any("after" in name for name in kills.left), "nothing was committed"
    for moment, left in kills.left.items():
        async with next_daemon(left, store) as (world, second):
            await reopen(second, case.opened)
            if ANSWERED not in moment:
                again = await second.answer(second.send_again(sent, first))
                assert (again[0], len(again[1])) == (0, len(told[1])), moment
                await check_answer(world, second, request[0], again[1])
            assert await what_is_there(world) == expected, moment


async def check_answer(world: World, kernel: Kernel, opcode: Opcode, answer: bytes) -> None:
    """It leads to what is there, and what it has opened can be worked with."""
    if opcode in MAKES:
        ino = (await world.stat("new")).ino
        assert abi.fuse_entry_out.unpack_from(answer)[0] == ino
    if opcode == Opcode.CREATE:
        number, _, _ = abi.fuse_open_out.unpack(answer[-abi.fuse_open_out.size :])
        assert await kernel.read(ino, number) == b""
        await kernel.close(ino, number)


async def test_the_next_daemon_may_be_killed_too(base: Path, mock_clock: MockClock) -> None:
    store = CountedStore()
    (base / "first").mkdir()
    async with a_world(base / "first", store) as world, a_kernel(world) as first:
        await world.write_file("f", b"1")
        await world.write_file("g", b"2")
        sent = first.send(*await exchange(world))
        assert await first.answer(sent) == (0, b"")
    for _ in range(3):
        async with next_daemon(base / "first", store) as (world, kernel):
            assert await kernel.answer(kernel.send_again(sent, first)) == (0, b"")
            assert await world.read_file("f") == b"2"


async def test_a_rename_that_waits_for_the_store_waits_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It was done, and killed while it waited: that its answer is due does not mean that the store has it."""
    store = RecordedStore()
    async with waiting(tmp_path, store) as world, a_kernel(world) as first:
        await world.mkdir("_temporary")
        await world.write_file("_temporary/a", b"1")
        gate = store.hold("put")
        body = abi.fuse_rename_in.pack((await world.stat("w")).ino) + b"a\0a\0"
        sent = first.send(Opcode.RENAME, (await world.stat("_temporary")).ino, body)
        await wait_all_tasks_blocked(0.05)
        assert not first.unasked()
        again = first.send_again(sent, first)
        await wait_all_tasks_blocked(0.05)
        assert not first.unasked()
        gate.set()
        assert [await first.answer(each) for each in (sent, again)] == [(0, b"")] * 2
        assert store.objects() == {"w/a": b"1"}


def test_of_every_request_it_is_known_what_becomes_of_it() -> None:
    assert set(KINDS) == set(Opcode)


async def test_what_must_not_happen_twice_is_tested(world: World, store: CountedStore) -> None:
    await store.foreign({"theirs": b"theirs"})
    await prepare(world)
    tested = {(await case.ask(world))[0] for case in ONCE}
    assert tested == {opcode for opcode, kind in KINDS.items() if kind is Again.ONCE}


@pytest.mark.parametrize("case", ONCE, ids=lambda case: case.ask.__name__)
async def test_who_asks_for_the_same_as_somebody_who_was_answered_is_somebody_else(
    case: Case, base: Path, mock_clock: MockClock
) -> None:
    """The number tells who, not what is asked for."""
    store = CountedStore()
    await store.foreign({"theirs": b"theirs"})
    async with a_world(base, store, ttl_s=0.0) as world, a_kernel(world) as kernel:
        await prepare(world)
        request = await case.ask(world)
        await kernel.told(*request)
        once = await what_is_there(world)
        number, _ = await kernel.ask(*request)
        assert number or await what_is_there(world) != once
