"""The control socket: who asks, what is answered, and what a rude client may not break."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from fusecache.control import client, detach, mounts, protocol, sockets
from fusecache.control.mounts import MountEntry, mount_of, mounted_at, resolve
from fusecache.control.protocol import ControlError, ExitCode
from fusecache.control.server import Answer, ControlServer, Message, Peer, listen, listening

TABLE = b"""\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:52 / /mnt/x rw,nosuid,nodev,relatime shared:3 master:1 - fuse.fusecache s3://b/p rw,user_id=0,group_id=0
41 22 0:53 / /mnt/x/in\\040side rw - fuse.fusecache file:///a\\040b rw,user_id=1000,group_id=1000,allow_other
42 22 0:54 / /mnt/x/plain rw - tmpfs none rw
43 22 0:55 / /mnt/over rw - fuse.fusecache s3://b rw,user_id=0,group_id=0
44 43 0:56 / /mnt/over rw - tmpfs none rw
"""


@pytest.fixture
def table(tmp_path: Path) -> list[MountEntry]:
    file = tmp_path / "mountinfo"
    file.write_bytes(TABLE)
    return mounts.mounts(file)


def entry_at(path: Path) -> MountEntry:
    return MountEntry(os.fsencode(path), "0:99", mounts.FSTYPE, "s3://b", os.getuid())


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/mnt/x", ("0:52", b"")),
        (b"/mnt/x/a/b", ("0:52", b"a/b")),
        (b"/mnt/xy", None),
        (b"/mnt/x/in side/f", ("0:53", b"f")),
        (b"/mnt/x/plain/f", None),
        (b"/mnt/over/f", None),
        (b"/etc", None),
    ],
)
def test_the_longest_mount_point_owns_a_path(
    table: list[MountEntry], path: bytes, found: tuple[str, bytes] | None
) -> None:
    got = mount_of(path, table)
    assert (got and (got[0].device, got[1])) == found


def test_mountinfo_fields(table: list[MountEntry]) -> None:
    inside = mounted_at(Path("/mnt/x/in side"), table)
    assert inside is not None
    assert (inside.source, inside.user_id, inside.is_fusecache) == ("file:///a b", 1000, True)
    assert mounted_at(Path("/mnt"), table) is None


def test_links_are_followed_up_to_a_mount_but_not_on_it(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "link").symlink_to("/etc")
    (tmp_path / "to").symlink_to("mount")
    (tmp_path / "loop").symlink_to("loop")
    table = [entry_at(mount)]
    base = os.fsencode(tmp_path)
    assert resolve(base + b"/to/link/./x", table) == base + b"/mount/link/x"
    assert resolve(base + b"/mount/../to", table) == base + b"/mount"
    assert resolve(base + b"/mount/a/..", table) == base + b"/mount"
    assert resolve(base + b"/loop/x", table).endswith(b"/loop/x")
    assert resolve(b"/..", table) == b"/"


def test_no_mount_named(table: list[MountEntry]) -> None:
    with pytest.raises(ControlError, match="which mount") as caught:
        client.find_default(table)
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(ControlError, match="nothing is mounted"):
        client.find_default([])
    assert client.find_default([entry_at(Path("/only"))]).path == "/only"
    with pytest.raises(ControlError) as missing:
        client.find("/etc", table)
    assert missing.value.exit_code == ExitCode.NOT_A_MOUNT


@pytest.mark.parametrize(("text", "path"), [("", b""), ("a//./b/", b"a/b"), ("\udcff", b"\xff"), ("/a", b"a")])
def test_paths_in_messages(text: str, path: bytes) -> None:
    assert protocol.path_bytes(text) == path


@pytest.mark.parametrize("text", ["..", "a/../..", "a\0b", 7, None, "\ud800"])
def test_paths_that_are_none(text: object) -> None:
    with pytest.raises(ControlError):
        protocol.path_bytes(text)


def test_a_message_survives_the_wire() -> None:
    message: Message = {"path": protocol.path_text(b"\xff/\n")}
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert protocol.decode(line) == message


def test_socket_folders_are_only_their_owners(tmp_path: Path) -> None:
    folder = tmp_path / "fusecache"
    folder.mkdir(mode=0o700)
    assert sockets.is_trusted(folder, os.getuid())
    folder.chmod(0o777)
    assert not sockets.is_trusted(folder, os.getuid())
    (tmp_path / "link").symlink_to(tmp_path)
    assert not sockets.is_trusted(tmp_path / "link", os.getuid())


def test_candidates_trust_the_environment_only_for_oneself() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/mine"}
    assert sockets.candidates(0, environ=environ, me=0) == [sockets.ROOT_DIR]
    assert sockets.candidates(7, environ=environ, me=7)[0] == Path("/run/mine/fusecache")
    assert sockets.candidates(7, environ=environ, me=0)[0] == Path("/run/user/7/fusecache")


@asynccontextmanager
async def serving(path: Path, answer: Answer) -> AsyncIterator[ControlServer]:
    server = ControlServer(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listen(path, mode=0o600))
        yield server
        nursery.cancel_scope.cancel()


async def ask(path: Path, request: Message, hear: Callable[[Message], None] = lambda _: None) -> Message:
    """One exchange by the real, blocking client, in a thread beside the server."""

    def blocking() -> Message:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(path))
            return client.exchange(connection, request, entry_at(path), progress=hear)

    return await trio.to_thread.run_sync(blocking)


async def test_the_daemon_knows_who_asks(tmp_path: Path) -> None:
    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        return {"uid": peer.uid, "pid": peer.pid, "gids": list(peer.gids), "heard": request}

    path = tmp_path / "s"
    async with serving(path, answer) as server:
        got = await ask(path, {"command": "ping"})
        await server.idle()
    assert (got["uid"], got["pid"], got["heard"]) == (os.getuid(), os.getpid(), {"command": "ping"})
    assert set(os.getgroups()) | {os.getgid()} == set(got["gids"])  # type: ignore[call-overload]  # a list
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_errors_travel_with_their_exit_code(tmp_path: Path) -> None:
    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        raise ControlError("three are left", kind="deadline", exit_code=ExitCode.DEADLINE)

    async with serving(tmp_path / "s", answer):
        with pytest.raises(ControlError, match="three are left") as caught:
            await ask(tmp_path / "s", {})
    assert (caught.value.kind, caught.value.exit_code) == ("deadline", ExitCode.DEADLINE)


async def test_a_bug_is_logged_and_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        raise ZeroDivisionError

    async with serving(tmp_path / "s", answer):
        with pytest.raises(ControlError, match="its log says more"):
            await ask(tmp_path / "s", {})
    assert "ZeroDivisionError" in caplog.text


async def test_progress_is_told_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusecache.control.server.HEARTBEAT_S", 0.001)
    heard = trio.Event()
    told: list[Message] = []

    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        for done in range(1000):
            progress({"done": done})
        await heard.wait()
        return {"done": True}

    def hear(message: Message) -> None:
        told.append(message)
        trio.from_thread.run_sync(heard.set)

    with trio.fail_after(5):
        async with serving(tmp_path / "s", answer):
            assert await ask(tmp_path / "s", {}, hear) == {"done": True}
    assert set(map(repr, told)) == {"{'done': 999}"}, "the newest only"


async def test_a_client_that_hangs_up_cancels_its_request(tmp_path: Path) -> None:
    began, cancelled = trio.Event(), trio.Event()

    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    with trio.fail_after(5):
        async with serving(tmp_path / "s", answer) as server:
            stream = await trio.open_unix_socket(str(tmp_path / "s"))
            await stream.send_all(b"{}\n")
            await began.wait()
            await stream.aclose()
            await cancelled.wait()
            await server.idle()


@pytest.mark.parametrize("sent", [b"[]\n", b"nonsense\n", b"x" * (protocol.LINE_BYTES + 1), b"[" * 60000 + b"\n"])
async def test_nonsense_is_answered_with_an_error(tmp_path: Path, sent: bytes) -> None:
    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        raise AssertionError("never reached")

    with trio.fail_after(5):
        async with serving(tmp_path / "s", answer):
            stream = await trio.open_unix_socket(str(tmp_path / "s"))
            async with stream:
                await stream.send_all(sent)
                reply = await stream.receive_some()
    assert protocol.decode(bytes(reply))["error"]["type"] == "protocol"  # type: ignore[index]  # an object


async def test_a_silent_client_is_dropped(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        raise AssertionError("never reached")

    async with serving(tmp_path / "s", answer) as server:
        async with await trio.open_unix_socket(str(tmp_path / "s")) as stream:
            await trio.testing.wait_all_tasks_blocked()
            assert await stream.receive_some() == b""
        await server.idle()


async def test_too_many_clients_are_told_so(tmp_path: Path) -> None:
    begun = trio.Semaphore(0)

    async def answer(peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        begun.release()
        await trio.sleep_forever()
        raise AssertionError

    with trio.fail_after(5):
        async with serving(tmp_path / "s", answer), AsyncExitStack() as crowd:
            for _ in range(protocol.CONNECTIONS):
                stream = await crowd.enter_async_context(await trio.open_unix_socket(str(tmp_path / "s")))
                await stream.send_all(b"{}\n")
                await begun.acquire()
            with pytest.raises(ControlError, match="too many"):
                await ask(tmp_path / "s", {})


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "ROOT_DIR", tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    mount = entry_at(tmp_path)
    with pytest.raises(ControlError, match="no control socket") as caught:
        client.call(mount, {"command": "ping"})
    assert caught.value.exit_code == ExitCode.NO_ANSWER
    folder = sockets.make_directory(os.getuid(), environ=os.environ)
    listen(folder / sockets.socket_name(mount.device), mode=0o600).close()  # a dead daemon leaves it so
    with pytest.raises(ControlError, match="does not answer"):
        client.call(mount, {"command": "ping"})


def test_a_socket_that_is_another_daemon_s_by_now_stays(tmp_path: Path) -> None:
    """Its mount has got the device number that was ours until it was unmounted."""
    path = tmp_path / "0:9.sock"
    with listening(path, mode=0o600):
        other = listen(path, mode=0o600)
    with other, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
    with listening(path, mode=0o600):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_alive", [False, True])
def test_what_a_detached_mount_leaves_goes_unless_somebody_listens_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_alive: bool
) -> None:
    monkeypatch.setattr(sockets, "ROOT_DIR", tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(detach, "CONNECTIONS", tmp_path)
    monkeypatch.setattr(detach, "unmount_command", lambda *_, **__: ["true"])
    mount = entry_at(tmp_path)
    path = sockets.make_directory(os.getuid(), environ=os.environ) / sockets.socket_name(mount.device)
    with listen(path, mode=0o600) as listener:
        if not is_alive:
            listener.close()
        detach.detach(mount)
    assert path.exists() == is_alive


def test_a_strangers_mount_is_not_ours_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own folder would hide that this one exists
        monkeypatch.setattr(sockets, "ROOT_DIR", Path(name))
        (folder := Path(name)).chmod(0o000)
        try:
            if me == 0:
                os.seteuid(65534)
            with pytest.raises(ControlError, match="only root and whoever mounted it") as caught:
                sockets.find_socket("0:9", 0 if me == 0 else me, environ={"XDG_RUNTIME_DIR": name})
        finally:
            os.seteuid(me)
            folder.chmod(0o700)
    assert caught.value.exit_code == ExitCode.FAILED
