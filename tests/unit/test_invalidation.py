"""What is stale on its way to the kernel, for which a socket that keeps messages apart stands in."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fusecache.fs.stale import Pages
from fusecache.fs.transport import invalidation, notices
from fusecache.fs.transport.invalidation import Invalidations
from fusecache.namespace.records import Place
from fusecache.types import Extent, InodeNo

pytestmark = pytest.mark.slow  # each starts a process

_ENTRY = Place(InodeNo(1), b"name")
_INODE = InodeNo(7)


class Rig:
    def __init__(self) -> None:
        self.kernel, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.settimeout(10)
        self.invalidations = Invalidations()
        self.severed = 0

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[int]:
        """Deliver in the block, which gets the pid of the notifier; after it that process is gone."""

        def sever() -> None:
            self.severed += 1

        with self.kernel, self.device, trio.fail_after(20):
            before = children()
            async with self.invalidations.delivered(self.device.fileno(), sever):
                (pid,) = children() - before
                yield pid
            assert pid not in children()

    async def received(self) -> bytes:
        return await trio.to_thread.run_sync(self.kernel.recv, 4096)


def children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for each in tasks for pid in each.read_text().split()}


def test_messages_are_as_the_kernel_wants_them() -> None:
    """Little-endian here, as written by libfuse's fuse_lowlevel_notify_inval_entry and _inode."""
    assert notices.inval_entry(258, b"ab").hex(" ", -4) == (
        "23000000 03000000 00000000 00000000 02010000 00000000 02000000 01000000 616200"
    )
    assert notices.inval_inode(258).hex(" ", -4) == (
        "28000000 02000000 00000000 00000000 02010000 00000000 ffffffff ffffffff 00000000 00000000"
    )
    assert notices.inval_pages(258, 4096, 10).hex(" ", -4) == (
        "28000000 02000000 00000000 00000000 02010000 00000000 00100000 00000000 0a000000 00000000"
    )


async def test_each_arrives_by_itself() -> None:
    rig = Rig()
    async with rig.delivering():
        for _ in range(1000):
            rig.invalidations.tell(_ENTRY)
            rig.invalidations.tell(_INODE)
        rig.invalidations.tell(Pages(_INODE, Extent(4096, 10)))
        for _ in range(1000):
            assert await rig.received() == notices.inval_entry(*_ENTRY)
            assert await rig.received() == notices.inval_inode(_INODE)
        assert await rig.received() == notices.inval_pages(_INODE, 4096, 10)
    assert (rig.severed, rig.invalidations.dropped) == (0, 0)


async def test_nothing_is_told_where_nothing_is_mounted() -> None:
    rig = Rig()
    rig.invalidations.tell(_ENTRY)
    async with rig.delivering():
        rig.invalidations.tell(_INODE)
        assert await rig.received() == notices.inval_inode(_INODE)
    rig.invalidations.tell(_ENTRY)
    assert rig.invalidations.dropped == 0


async def test_who_tells_never_waits(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody takes what is written, as while a create is in flight: what does not fit is dropped, and said once."""
    rig = Rig()
    async with rig.delivering():
        for _ in range(100_000):
            rig.invalidations.tell(_ENTRY)
    assert 10_000 < 100_000 - rig.invalidations.dropped < 50_000
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert not rig.severed


async def test_a_notifier_that_was_killed_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    async with rig.delivering() as pid:
        os.kill(pid, signal.SIGKILL)
        while not rig.invalidations.dropped:
            rig.invalidations.tell(_ENTRY)
            await trio.sleep(0.01)
        rig.invalidations.tell(_ENTRY)
    assert "has ended" in caplog.text


async def test_a_notifier_ends_only_with_its_pipe() -> None:
    """Signals are the daemon's business: it drains, and what is stale meanwhile is told."""
    rig = Rig()
    async with rig.delivering() as pid:
        rig.invalidations.tell(_ENTRY)
        await rig.received()  # it has started
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        rig.invalidations.tell(_INODE)
        assert await rig.received() == notices.inval_inode(_INODE)


async def test_one_that_cannot_end_has_its_connection_severed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(invalidation, "_END_S", 0.1)
    rig = Rig()
    async with rig.delivering() as pid:
        os.kill(pid, signal.SIGSTOP)
    assert rig.severed == 1
    assert "aborted" in caplog.text
