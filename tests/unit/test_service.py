"""The life of a mount: every way out of it, and what those who wait are told."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fusecache.control import client
from fusecache.control.mounts import FSTYPE, MountEntry
from fusecache.control.protocol import ControlError, ExitCode
from fusecache.control.server import Message, Peer
from fusecache.daemon.commands import Commands
from fusecache.daemon.departure import Departure
from fusecache.daemon.service import Service
from fusecache.errors import BackendUnavailable
from tests.unit.daemon_fakes import FakeMount, FakeVolume, make_config, make_service


@asynccontextmanager
async def running(directory: Path, volume: FakeVolume, mount: FakeMount) -> AsyncIterator[Service]:
    """A service that is mounted; the block ends when it has ended by itself."""
    service = make_service(directory, volume, mount)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            await trio.testing.wait_all_tasks_blocked()
            yield service


async def ask(directory: Path, **request: object) -> Message:
    def blocking() -> Message:
        entry = MountEntry(os.fsencode(directory), "0:1", FSTYPE, "s3://b/p", os.getuid())
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(directory / "s"))
            return client.exchange(connection, request, entry)

    return await trio.to_thread.run_sync(blocking)


async def test_stat_of_mount_and_path(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=3), FakeMount()
    async with running(tmp_path, volume, mount):
        facts = await ask(tmp_path, command="stat")
        assert facts["files_dirty"] == 3
        assert (facts["mountpoint"], facts["transport"], facts["pid"]) == (str(tmp_path / "m"), "pyfuse3", os.getpid())
        assert (await ask(tmp_path, command="stat", path="a/b"))["path"] == "a/b"
        with pytest.raises(ControlError, match="no such file"):
            await ask(tmp_path, command="stat", path="absent")
        with pytest.raises(ControlError, match="unknown command"):
            await ask(tmp_path, command="dance")
        await mount.unmount()


async def test_unmounted_from_outside_it_ends_and_keeps_what_is_dirty(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=3), FakeMount()
    async with running(tmp_path, volume, mount):
        await mount.unmount()
    assert volume.flushed == []
    assert not mount.mounted


async def test_umount_drains_first_and_again_for_what_came_meanwhile(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    mount.on_unmount = lambda: setattr(volume, "files_left", 1)
    async with running(tmp_path, volume, mount):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def store_late() -> None:
                await mount.gone.wait()
                await trio.testing.wait_all_tasks_blocked()
                volume.store()

            result = await ask(tmp_path, command="umount", flush=True, deadline_s=None)
    assert result["unmounted"] is True
    assert result["files_left"] == 0
    assert volume.flushed == [b"", b""]
    assert volume.tidied == [0]


async def test_umount_past_its_deadline_stays_mounted(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=2), FakeMount()
    async with running(tmp_path, volume, mount):
        result = await ask(tmp_path, command="umount", deadline_s=0.01)
        assert (result["unmounted"], result["deadline_passed"], result["files_left"]) == (False, True, 2)
        assert mount.mounted
        result = await ask(tmp_path, command="umount", flush=False)
        assert (result["unmounted"], result["files_left"]) == (True, 2)


async def test_umount_with_stuck_files_stays_mounted(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=1), FakeMount()
    volume.stuck = ({"path": "a"},)
    async with running(tmp_path, volume, mount):
        result = await ask(tmp_path, command="umount")
        assert (result["unmounted"], result["stuck"]) == (False, [{"path": "a"}])
        assert mount.mounted
        await mount.unmount()


async def test_umount_of_a_busy_mount_stays_mounted(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    mount.is_busy = True
    async with running(tmp_path, volume, mount):
        with pytest.raises(ControlError) as caught:
            await ask(tmp_path, command="umount")
        assert (caught.value.kind, mount.mounted) == ("busy", True)
        mount.is_busy = False
        await mount.unmount()


async def test_a_flush_that_waits_is_told_when_the_mount_goes(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=1), FakeMount()
    async with running(tmp_path, volume, mount):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def unmount_soon() -> None:
                await volume.flushing.wait()
                await mount.unmount()

            with pytest.raises(ControlError, match="kept for the next mount"):
                await ask(tmp_path, command="flush", path="")


async def test_flush_has_a_deadline(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=1), FakeMount()
    async with running(tmp_path, volume, mount):
        result = await ask(tmp_path, command="flush", path="d", deadline_s=0)
        assert (result["deadline_passed"], result["files_left"]) == (True, 1)
        with pytest.raises(ControlError) as caught:
            await ask(tmp_path, command="flush", path="d", deadline_s=-1)
        assert caught.value.exit_code == ExitCode.USAGE
        await mount.unmount()


async def test_a_signal_drains_then_unmounts(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=1), FakeMount()
    async with running(tmp_path, volume, mount) as service:
        service.signalled(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        assert mount.mounted
        volume.store()
    assert volume.flushed == [b"", b""]


async def test_a_signal_does_not_drain_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume, mount = FakeVolume(files_left=3), FakeMount()
    service = make_service(tmp_path, volume, mount, stop_deadline_s=0.05)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            await trio.testing.wait_all_tasks_blocked()
            service.signalled(signal.SIGTERM)
    assert mount.gone.is_set()  # unmounted in order, not cut off
    assert "3 changes, 0 bytes not in the store (the deadline passed)" in caplog.text


async def test_it_shows_that_its_loop_goes_on(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Four times before somebody would take it for dead; also while it drains, for however long."""
    volume, mount = FakeVolume(files_left=1), FakeMount()
    shown: list[float] = []
    service = make_service(
        tmp_path, volume, mount, stop_deadline_s=300.0, alive=lambda: shown.append(trio.current_time()), watched_s=60.0
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run)
        await trio.sleep(50.0)
        assert [at - shown[0] for at in shown] == [0.0, 15.0, 30.0, 45.0]
        service.signalled(signal.SIGTERM)
    assert len(shown) > 20
    assert not mount.mounted


async def test_a_second_signal_unmounts_at_once(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=1), FakeMount()
    async with running(tmp_path, volume, mount) as service:
        service.signalled(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked()
        service.signalled(signal.SIGINT)
    assert not mount.mounted


async def test_a_second_signal_ends_the_last_drain_too(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    mount.on_unmount = lambda: setattr(volume, "files_left", 1)
    async with running(tmp_path, volume, mount) as service:
        service.signalled(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        assert not mount.mounted
        service.signalled(signal.SIGTERM)


@pytest.mark.parametrize("obstacle", ["is_busy", "refuses"])
async def test_a_signal_detaches_what_cannot_be_unmounted(tmp_path: Path, obstacle: str) -> None:
    volume, mount = FakeVolume(), FakeMount()
    setattr(mount, obstacle, True)
    async with running(tmp_path, volume, mount) as service:
        service.signalled(signal.SIGTERM)
    assert not mount.mounted


@pytest.mark.parametrize("bug", [ZeroDivisionError(), BackendUnavailable("gone")])
async def test_a_crash_takes_the_mount_down_and_is_told_as_it_is(tmp_path: Path, bug: Exception) -> None:
    volume, mount = FakeVolume(), FakeMount()
    volume.bug = bug
    with pytest.RaisesGroup(type(bug)):  # the group is the test's own nursery's
        async with running(tmp_path, volume, mount):
            volume.crash.set()
    assert not mount.mounted


async def test_others_may_ask_for_what_they_may_read_and_unmount_nothing(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    commands = Commands(make_config(tmp_path), volume, Departure(volume, mount.unmount))
    stranger = Peer(1, os.getuid() + 1, (1,))

    def told(_: Message) -> None: ...

    assert (await commands.answer(stranger, {"command": "stat", "path": "a"}, told))["state"] == "clean"
    await commands.answer(stranger, {"command": "flush", "path": "a"}, told)
    await commands.answer(stranger, {"command": "ls", "path": "a"}, told)
    for request in (
        {"command": "stat", "path": "secret"},
        {"command": "flush", "path": "secret"},
        {"command": "umount"},
        {"command": "doctor"},
        {"command": "pause", "path": "a"},
        {"command": "resume", "path": "a"},
        {"command": "retry", "path": "a"},
        {"command": "sync", "path": "a"},
        {"command": "export", "path": "a", "to": "/tmp/x"},
        {"command": "tune", "limits": {}},
        {"command": "ls", "path": "secret"},
        {"command": "load", "path": "a"},
        {"command": "free", "path": "a"},
        {"command": "pin", "path": "a"},
        {"command": "unpin", "path": "a"},
    ):
        with pytest.raises(ControlError) as caught:
            await commands.answer(stranger, request, told)
        assert caught.value.kind == "not_permitted"


async def test_an_examination_is_asked_for_with_path_and_repair(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    async with running(tmp_path, volume, mount):
        assert await ask(tmp_path, command="doctor", path="a/b") == {"healthy": True, "path": "a/b"}
        assert (await ask(tmp_path, command="doctor", repair=True))["healthy"] is False
        await mount.unmount()


async def test_the_drain_is_steered(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    async with running(tmp_path, volume, mount):
        await ask(tmp_path, command="pause", path="a/b")
        assert (await ask(tmp_path, command="stat"))["files_paused"] == 1
        with pytest.raises(ControlError, match="/absent: no such file"):
            await ask(tmp_path, command="pause", path="absent")
        assert await ask(tmp_path, command="resume") == {"resumed": ["a/b"]}
        assert await ask(tmp_path, command="retry", path="a") == {"retried": 0}
        assert (await ask(tmp_path, command="sync", path="a"))["changed"] == 1
        with pytest.raises(ControlError, match=r"does not answer; .* sync again when it is back"):
            await ask(tmp_path, command="sync", path="away")
        assert (await ask(tmp_path, command="tune", limits={"max_uploads": 4}))["max_uploads"] == 4
        for wrong in ({"max_uploads": 0}, {"max_uploads": "4"}, {"max_uploads": True}, None):
            with pytest.raises(ControlError) as caught:
                await ask(tmp_path, command="tune", limits=wrong)
            assert caught.value.exit_code == ExitCode.USAGE
        await mount.unmount()


async def test_the_cache_is_filled_and_emptied_by_path(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    async with running(tmp_path, volume, mount):
        told = await ask(tmp_path, command="load", path="a", include=["*.x"], rate=1000, pin=True)
        assert told == {"path": "a", "include": ["*.x"], "rate": 1000.0, "pin": True}
        assert (await ask(tmp_path, command="load"))["rate"] is None
        for wrong in ({"include": "*.x"}, {"include": [1]}, {"rate": 0}, {"rate": True}, {"rate": "1"}):
            with pytest.raises(ControlError) as caught:
                await ask(tmp_path, command="load", **wrong)
            assert caught.value.exit_code == ExitCode.USAGE
        for command in ("load", "free", "pin", "unpin"):
            assert (await ask(tmp_path, command=command, path="/a//b"))["path"] == "a/b"
            with pytest.raises(ControlError, match="/absent: no such file"):
                await ask(tmp_path, command=command, path="absent")
        assert (await ask(tmp_path, command="ls", path="d", after="name"))["after"] == "name"
        await mount.unmount()


async def test_an_export_goes_to_an_absolute_path_that_is_not_on_the_mount(tmp_path: Path) -> None:
    volume, mount = FakeVolume(), FakeMount()
    async with running(tmp_path, volume, mount):
        to = str(tmp_path / "out")
        assert await ask(tmp_path, command="export", path="a", to=to) == {"files": 1, "to": to}
        for wrong in (str(tmp_path / "m/d"), str(tmp_path / "absent/out"), None):
            with pytest.raises(ControlError):
                await ask(tmp_path, command="export", to=wrong)
        await mount.unmount()


async def test_a_paused_mount_stays_mounted_unless_a_signal_asks(tmp_path: Path) -> None:
    volume, mount = FakeVolume(files_left=0), FakeMount()
    async with running(tmp_path, volume, mount) as service:
        volume.paused = [b""]
        left = await ask(tmp_path, command="umount")
        assert (left["unmounted"], left["paused"]) == (False, 1)
        service.signalled(signal.SIGTERM)
    assert not mount.mounted
