"""What no kernel sends: whoever sends it gets an error, everybody else gets what he asked for."""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusecache.errors import NamespaceError, NoSpace
from fusecache.fs.transport.direct import abi, server
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.handshake import MAX_WRITE
from fusecache.fs.transport.direct.passthrough import Backings
from fusecache.types import ROOT_INO, HandleNo, InodeNo
from tests.amounts import examples
from tests.fs.harness import MEMORY, CountedStore, World, a_world, pattern
from tests.fs.kernel import PAGE, Kernel, a_kernel

SILENT = {Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT}
"""Nobody waits for an answer."""


@pytest.fixture
async def kernel(world: World) -> AsyncIterator[Kernel]:
    async with a_kernel(world) as opened:
        yield opened


# --- one by one ---


@pytest.mark.parametrize(
    ("opcode", "body"),
    [
        (Opcode.LOOKUP, b""),
        (Opcode.LOOKUP, b"\0"),
        (Opcode.LOOKUP, b"name"),
        (Opcode.LOOKUP, b"a/b\0"),
        (Opcode.LOOKUP, b"two\0names\0"),
        (Opcode.MKDIR, b"\0\0\0"),
        (Opcode.RENAME2, abi.fuse_rename2_in.pack(1, 0, 0) + b"one\0"),
        (Opcode.WRITE, abi.fuse_write_in.pack(1, 0, 10, 0, 0, 0, 0) + b"short"),
        (Opcode.SETXATTR, abi.fuse_setxattr_in.pack(99, 0) + b"user.a\0value"),
        (Opcode.READ, b""),
    ],
)
async def test_a_malformed_request_is_its_senders_error(kernel: Kernel, opcode: Opcode, body: bytes) -> None:
    assert await kernel.ask(opcode, body=body) == (errno.EIO, b"")


@pytest.mark.parametrize("length", [0, 1, abi.fuse_in_header.size, 57, (1 << 32) - 1])
async def test_a_request_of_another_length_than_told(kernel: Kernel, length: int) -> None:
    assert await kernel.answer(kernel.send(Opcode.GETATTR, body=bytes(16), length=length)) == (errno.EIO, b"")


async def test_an_opcode_that_nobody_knows(kernel: Kernel) -> None:
    assert await kernel.ask(4711) == (errno.ENOSYS, b"")


async def test_what_is_less_than_a_request_is_passed_over(kernel: Kernel) -> None:
    for length in (1, 8, abi.fuse_in_header.size - 1):
        kernel.send_raw(bytes(length))
    assert await kernel.ask(Opcode.IOCTL) == (errno.ENOTTY, b"")


async def test_what_nobody_waits_for_is_never_answered(kernel: Kernel) -> None:
    kernel.send(Opcode.FORGET, body=bytes(8), length=7)
    kernel.send(Opcode.FORGET, body=b"")
    kernel.send(Opcode.BATCH_FORGET, body=abi.fuse_batch_forget_in.pack(1000, 0) + bytes(24))
    kernel.send(Opcode.INTERRUPT, body=b"\0")
    assert await kernel.ask(Opcode.IOCTL) == (errno.ENOTTY, b"")
    assert not kernel.unasked()


@pytest.mark.parametrize("kind", [0, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFMT(0o170000)])
async def test_mknod_makes_no_directory(kernel: Kernel, world: World, kind: int) -> None:
    body = abi.fuse_mknod_in.pack(kind | 0o644, 0, 0, 0) + b"new\0"
    assert await kernel.ask(Opcode.MKNOD, body=body) == (errno.EIO, b"")
    assert await world.ls() == []


async def test_what_has_no_bytes_is_neither_opened_nor_cut(kernel: Kernel, world: World) -> None:
    ino = await world.symlink("f", "link")
    assert await kernel.ask(Opcode.OPEN, ino, abi.fuse_open_in.pack(os.O_RDWR | os.O_TRUNC, 0)) == (errno.EINVAL, b"")
    cut = abi.fuse_setattr_in.pack(abi.FATTR_SIZE, *[0] * 15)
    assert await kernel.ask(Opcode.SETATTR, ino, cut) == (errno.EINVAL, b"")
    assert await kernel.told(Opcode.READLINK, ino) == b"f"


async def test_no_read_is_larger_than_what_was_agreed_on(kernel: Kernel, world: World) -> None:
    await world.write_file("f", b"")
    await world.truncate("f", 1 << 40)
    ino = await kernel.lookup(b"f")
    assert len(await kernel.read(ino, await kernel.open(ino), size=(1 << 32) - 1)) == MAX_WRITE


async def test_a_release_is_of_the_file_that_was_opened(
    kernel: Kernel, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another file that the kernel reads by itself would be taken from it."""
    closed: list[int] = []
    monkeypatch.setattr(Backings, "close", lambda _, ino: closed.append(ino))
    (ino, number), (other, _) = await kernel.create(b"f"), await kernel.create(b"g")
    release = abi.fuse_release_in.pack(number, 0, 0, 0)
    await kernel.told(Opcode.RELEASE, other, release)
    assert closed == [ino]
    await kernel.told(Opcode.RELEASE, ino, release)
    assert closed == [ino], "it was closed already"


async def test_an_answer_that_nobody_takes_and_a_close_that_fails(
    kernel: Kernel, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened it was interrupted; and the disk is full."""
    ino, number = await kernel.create(b"f")
    with monkeypatch.context() as patched:

        def gone(fd: int, parts: list[bytes]) -> int:
            patched.undo()
            patched.setattr(world.fs, "release_all", full)
            raise FileNotFoundError(errno.ENOENT, "")

        def full(numbers: list[HandleNo]) -> list[InodeNo]:
            raise NoSpace("full")

        patched.setattr(server.os, "writev", gone)
        unanswered = kernel.send(Opcode.OPEN, ino, abi.fuse_open_in.pack(os.O_RDWR, 0))
        assert await kernel.write(ino, number, 0, b"1") == 1
    assert unanswered not in kernel.unasked()


async def test_a_namespace_that_fails_is_the_error_of_who_asks(
    kernel: Kernel, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def broken(request: int) -> bool:
            raise NamespaceError("broken")

        patched.setattr(world.fs.requests, "is_done", broken)
        again = kernel.send(Opcode.UNLINK, body=b"f\0", is_again=True)
        assert await kernel.answer(again) == (errno.EIO, b"")
    assert await kernel.ask(Opcode.UNLINK, body=b"f\0") == (errno.ENOENT, b"")


# --- by the thousand ---

NUMBERS = {
    "Q": st.sampled_from([0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]),
    "q": st.sampled_from([0, 1, -1, 1 << 40, (1 << 63) - 1, -(1 << 63)]),
    "I": st.sampled_from([0, 1, 2, 3, 0o100644, 0o40755, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]),
}
"""By the letters of `struct`: what is usual, and what no file system has."""
BODIES: dict[int, Struct] = {
    Opcode.FORGET: abi.fuse_forget_in,
    Opcode.BATCH_FORGET: abi.fuse_batch_forget_in,
    Opcode.SETATTR: abi.fuse_setattr_in,
    Opcode.MKNOD: abi.fuse_mknod_in,
    Opcode.MKDIR: abi.fuse_mkdir_in,
    Opcode.RENAME: abi.fuse_rename_in,
    Opcode.RENAME2: abi.fuse_rename2_in,
    Opcode.LINK: abi.fuse_link_in,
    Opcode.CREATE: abi.fuse_create_in,
    Opcode.OPEN: abi.fuse_open_in,
    Opcode.OPENDIR: abi.fuse_open_in,
    Opcode.READ: abi.fuse_read_in,
    Opcode.READDIR: abi.fuse_read_in,
    Opcode.READDIRPLUS: abi.fuse_read_in,
    Opcode.WRITE: abi.fuse_write_in,
    Opcode.RELEASE: abi.fuse_release_in,
    Opcode.RELEASEDIR: abi.fuse_release_in,
    Opcode.FLUSH: abi.fuse_flush_in,
    Opcode.FSYNC: abi.fuse_fsync_in,
    Opcode.FSYNCDIR: abi.fuse_fsync_in,
    Opcode.SETXATTR: abi.fuse_setxattr_in,
    Opcode.GETXATTR: abi.fuse_getxattr_in,
    Opcode.LISTXATTR: abi.fuse_getxattr_in,
    Opcode.INTERRUPT: abi.fuse_interrupt_in,
    Opcode.FALLOCATE: abi.fuse_fallocate_in,
    Opcode.LSEEK: abi.fuse_lseek_in,
    Opcode.COPY_FILE_RANGE: abi.fuse_copy_file_range_in,
}
"""What a body begins with, of requests that have more than a name."""
ENDS = st.one_of(
    st.sampled_from(
        [
            *(
                b"",
                b"\0",
                b"f\0",
                b"new\0",
                b"new",
                b"f\0new\0",
                b"d\0f\0",
                b"f\0\0",
                b".\0",
                b"..\0",
                b"a/b\0",
                b"/\0",
            ),
            *(b"x" * 255 + b"\0", b"\xff" * 300 + b"\0", b"user.a\0v", b"security.capability\0", b"0" * 4096),
        ]
    ),
    st.binary(max_size=60),
)
HARMED = 3
NODES = [ROOT_INO, 0, 1 << 63, (1 << 64) - 1]
"""Beside those of the files that may be harmed."""


class Request(NamedTuple):
    """What is sent; `node` counts the files that may be harmed, and then NODES."""

    opcode: int
    node: int
    body: bytes
    uid: int
    told_length: int
    """-1: the true one."""
    is_again: bool
    """Sent as if for the second time."""


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Return one that looks like one, more or less."""
    opcode = draw(st.sampled_from([*BODIES] * 4 + [*Opcode] * 2 + [0, 7, 99, 4096, (1 << 32) - 1]))
    layout = BODIES.get(opcode, abi.fuse_forget_in if draw(st.booleans()) else Struct(""))
    fields = [draw(NUMBERS[letter]) for letter in layout.format if letter != "="]
    body = layout.pack(*fields) + draw(ENDS)
    match draw(st.integers(0, 9)):
        case 0:
            body = body[: draw(st.integers(0, len(body)))]
        case 1:
            body += draw(st.binary(min_size=1, max_size=20))
        case 2:
            body = draw(st.binary(max_size=100))
    told = draw(st.sampled_from([-1] * 45 + [0, 39, 40, 41, (1 << 32) - 1]))
    uid = draw(st.sampled_from([0, 1000, (1 << 32) - 1]))
    return Request(opcode, draw(st.integers(0, 6)), body, uid, told, draw(st.booleans()))


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(st.one_of(requests(), requests(), st.binary(min_size=1, max_size=39)), min_size=1, max_size=25))
def test_whatever_is_sent_everybody_is_answered_and_nobody_else_is_harmed(
    sent: list[Request | bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        trio.run(all_are_answered, sent, Path(root))
    unforeseen = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not unforeseen, unforeseen[0].getMessage() + "\n" + str(unforeseen[0].exc_info)


async def all_are_answered(messages: list[Request | bytes], root: Path) -> None:
    """Beside them, somebody reads, somebody waits for the store, and later somebody makes a file."""
    store = CountedStore()
    await store.foreign({"cold": pattern(PAGE)})
    async with a_world(root, store) as world, a_kernel(world) as kernel:
        harmed = await victims(world, kernel)
        await world.write_file("true", b"bytes")
        true, cold = await kernel.lookup(b"true"), await kernel.lookup(b"cold")
        number = await kernel.open(true)
        store.gate = trio.Event()
        waiting = kernel.send_read(cold, await kernel.open(cold))
        sent: dict[int, Request] = {}
        for each in messages:
            if isinstance(each, Request):
                sent[send(kernel, each, [*harmed, *NODES])] = each
            else:
                kernel.send_raw(each)
        assert await kernel.read(true, number) == b"bytes"
        for unique, request in sent.items():
            if request.opcode not in SILENT:
                error, _ = await kernel.answer(unique)
                assert 0 <= error < 512, request  # the kernel takes no other
        store.gate.set()
        assert await kernel.answer(waiting) == (0, pattern(PAGE))
        assert not kernel.unasked()
        ino, number = await kernel.create(b"afterwards")
        assert await kernel.write(ino, number, 0, b"12") == 2
        await kernel.close(ino, number)
        assert await world.read_file("true") == b"bytes"


async def victims(world: World, kernel: Kernel) -> list[int]:
    """Make what may be harmed, and have the first handles be on it; all others have higher numbers."""
    await world.write_file("f", b"x" * 1000)
    await world.mkdir("d")
    await world.symlink("f", "link")
    found = [(await world.stat(path)).ino for path in ("f", "d", "link")]
    for _ in range(HARMED):
        await kernel.open(found[0], os.O_RDWR)
        await kernel.told(Opcode.OPENDIR, found[1], abi.fuse_open_in.pack(0, 0))
    return found


def send(kernel: Kernel, request: Request, nodes: list[int]) -> int:
    nodeid = nodes[request.node]
    again = request.is_again
    return kernel.send(
        request.opcode, nodeid, request.body, uid=request.uid, length=request.told_length, is_again=again
    )
