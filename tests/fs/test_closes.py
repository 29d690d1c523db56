"""Several files that are closed together: one commit, and what one of them is refused is no affair of the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import pytest
import trio

from fusecache.errors import NoSpace
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.answers import Answers
from fusecache.fs.transport.direct.calls import Calls, Header
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.fs.transport.direct.passthrough import Backings
from fusecache.fs.transport.direct.replies import Replies
from fusecache.fs.transport.direct.server import Server
from fusecache.namespace.closes import Closed, Closes
from fusecache.namespace.records import TaskKind
from fusecache.types import HandleNo, InodeNo
from tests.fs.harness import World
from tests.fs.kernel import AGREED, a_kernel

WRITING = os.O_CREAT | os.O_WRONLY
NAMES = ("a", "b", "c")


def commits(world: World) -> list[str]:
    """Return a list that every commit from now on adds to."""
    seen: list[str] = []
    world.ns.database.connection.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
    return seen


async def written(world: World) -> list[HandleNo]:
    """Write a file of each name, and leave it open."""
    numbers = []
    for length, name in enumerate(NAMES, 1):
        numbers.append(await world.open(name, WRITING))
        await world.fs.write(numbers[-1], 0, b"x" * length)
    return numbers


async def sizes(world: World) -> list[int]:
    """Return what the rows say."""
    return [world.ns.tables.inodes.get((await world.stat(name)).ino).size for name in NAMES]


async def is_due(world: World, name: str) -> bool:
    upload = world.ns.tables.tasks.of_inode((await world.stat(name)).ino, TaskKind.UPLOAD)
    return upload is not None and upload.due_ns is not None


async def test_they_are_one_commit(world: World) -> None:
    numbers = await written(world)
    seen = commits(world)
    inos = world.fs.release_all([*numbers, HandleNo(4711)])
    assert len(seen) == 1
    assert inos == [(await world.stat(name)).ino for name in NAMES]
    assert await sizes(world) == [1, 2, 3]
    assert all([await is_due(world, name) for name in NAMES])
    assert world.fs.release_all(numbers) == [], "they are closed"


async def test_two_handles_of_one_file(world: World) -> None:
    one = await world.open("f", WRITING)
    other = await world.open("f", os.O_WRONLY)
    await world.fs.write(one, 0, b"bytes")
    assert len(world.fs.release_all([one, other])) == 2
    assert world.ns.tables.inodes.get((await world.stat("f")).ino).size == 5
    assert await is_due(world, "f")


async def test_what_has_no_name_any_more_is_gone_with_it(world: World) -> None:
    numbers = await written(world)
    await world.unlink("b")
    world.fs.release_all(numbers)
    assert not world.ns.tables.inodes.orphans()


@pytest.mark.parametrize("refused", [["b"], ["a", "b", "c"]])
async def test_one_that_is_refused(
    world: World, refused: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = await written(world)
    inos = {(await world.stat(name)).ino for name in refused}
    commit = Closes.commit

    def commit_some(closes: Closes, closed: Sequence[Closed], *, now_ns: int) -> None:
        if any(one.inode.ino in inos for one in closed):
            raise NoSpace("no room for the rows")
        commit(closes, closed, now_ns=now_ns)

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(Closes, "commit", commit_some)
        world.fs.release_all(numbers)
    assert await sizes(world) == [0 if name in refused else n for n, name in enumerate(NAMES, 1)]
    assert caplog.text.count("no room for the rows") == len(refused)


async def test_closes_that_the_kernel_tells_of_one_after_the_other_are_one_commit(world: World) -> None:
    async with a_kernel(world) as kernel:
        files = [await kernel.create(name.encode()) for name in NAMES]
        for length, (ino, number) in enumerate(files, 1):
            await kernel.write(ino, number, 0, b"x" * length)
        seen = commits(world)
        closed = [kernel.send(Opcode.RELEASE, ino, abi.fuse_release_in.pack(n, 0, 0, 0)) for ino, n in files]
        for unique in closed:
            assert await kernel.answer(unique) == (0, b"")
        assert len(seen) == 1
        assert await sizes(world) == [1, 2, 3]


async def test_a_name_that_goes_was_closed_before(world: World) -> None:
    """Its bytes need not be kept for anybody."""
    async with a_kernel(world) as kernel:
        ino, number = await kernel.create(b"f")
        closed = kernel.send(Opcode.RELEASE, ino, abi.fuse_release_in.pack(number, 0, 0, 0))
        gone = kernel.send(Opcode.UNLINK, body=b"f\0")
        assert await kernel.answer(gone) == await kernel.answer(closed) == (0, b"")
        assert not world.ns.tables.inodes.orphans()
        assert not world.fs._files.is_open(InodeNo(ino))


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_close_that_is_put_off_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch, goes_on: bool) -> None:
    """It is carried out, unless the next process will be asked for it."""
    number = await world.open("f", WRITING)
    ino = (await world.stat("f")).ino
    calls = Calls(world.fs, Answers(entry_timeout_s=None, attr_timeout_s=None), Backings(-1), Logbook.begin(AGREED))
    with open(os.devnull, "r+b") as device:
        server = Server(device.fileno(), calls, Replies(world.fs, calls))
        monkeypatch.setattr(server, "_hire", lambda: None)
        server._closing.put_off(Header(0, Opcode.RELEASE, 2, ino, 0, 0, 0, 0, 0), number)
        over = trio.Event()
        with trio.CancelScope() as scope:
            over.set() if goes_on else scope.cancel()
            await server.serve(hand_over=over)
    assert world.fs._files.is_open(ino) == goes_on
    world.fs.release_all([number])
