"""Descriptors that outlive a process: what systemd and the supervisor are told, and what the next process finds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.daemon.keeping import CHANNEL, FUSE, Keeper
from fusecache.daemon.supervisor import Silence

CHILD = """
import os, signal, sys
from fusecache.daemon.keeping import Keeper
assert sys.argv[1] == "--config-fd"
keeper = Keeper(os.environ)
with open("log", "a") as log:
    held = {name: os.pread(fd, 100, 0).decode() for name, fd in keeper.held.items()}
    log.write(f"{keeper.died} {held} {os.pread(int(sys.argv[2]), 100, 0).decode()}\\n")
count = len(open("log").readlines())
script = open("script").read().split()
for word in script[count - 1].split(","):
    if word == "keep":
        fd = os.memfd_create("x")
        os.write(fd, b"of %d" % count)
        keeper.keep("fuse", fd)
    elif word == "ready":
        keeper.ready()
    elif word == "release":
        keeper.release()
    elif word == "wait":
        signal.pause()
    elif word.startswith("kill"):
        os.kill(os.getpid(), int(word[4:]))
    else:
        sys.exit(int(word))
"""


@pytest.fixture
def notified() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """systemd, and the environment that it gives to a service with a file-descriptor store."""
    address = f"\0fusecache-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        yield listener, {"NOTIFY_SOCKET": "@" + address[1:], "FDSTORE": "8"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its socket lives as long as a daemon
def test_systemd_is_told_in_its_words(notified: tuple[socket.socket, dict[str, str]]) -> None:
    listener, environ = notified
    keeper = Keeper(environ)
    assert keeper.is_there
    assert not keeper.is_supervisor
    with open(os.devnull) as file:
        keeper.keep(FUSE, file.fileno())
    message, (fd,), _, _ = socket.recv_fds(listener, 100, 2)
    os.close(fd)
    assert message == b"FDSTORE=1\nFDNAME=fuse"
    assert keeper.keeps_mount
    keeper.ready()  # systemd is told by others, with what it wants to know
    keeper.release()
    assert listener.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=fuse"
    assert not keeper.keeps_mount
    with pytest.raises(BlockingIOError):
        listener.recv(100)


@pytest.mark.parametrize("left_out", ["NOTIFY_SOCKET", "FDSTORE"])
def test_nobody_keeps_anything(notified: tuple[socket.socket, dict[str, str]], left_out: str) -> None:
    environ = {name: value for name, value in notified[1].items() if name != left_out}
    keeper = Keeper(environ)
    keeper.keep(FUSE, 0)
    assert not keeper.is_there
    assert not keeper.keeps_mount


def test_descriptors_for_another_process_are_not_taken() -> None:
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "fuse", "PATH": "/bin"}
    assert Keeper(environ).held == {}
    assert environ == {"PATH": "/bin"}


# --- the supervisor ---


class Supervised:
    """A supervisor of daemons that do what a script says, one line each."""

    def __init__(self, directory: Path, *script: str, watchdog_s: float = 0.0) -> None:
        package = directory / "fusecache"
        real = Path(__file__).resolve().parents[2] / "fusecache"
        (package / "daemon").mkdir(parents=True)
        for name in ("__init__.py", "daemon/__init__.py", "daemon/keeping.py", "daemon/supervisor.py"):
            (package / name).write_bytes((real / name).read_bytes())
        keeping = package / "daemon" / "keeping.py"
        keeping.write_text(keeping.read_text().replace("return not poll.poll(0)", "return True"))
        (package / "daemon" / "__main__.py").write_text(CHILD)
        (package / "daemon" / "refusing.py").write_text("import sys; open('why', 'w').write(sys.argv[-1]); sys.exit(1)")
        (directory / "script").write_text("\n".join(script))
        self._log = directory / "log"
        self._why = directory / "why"
        with (directory / "config").open("w+") as config:
            config.write("config")
            config.flush()
            command = [sys.executable, "-S", "-m", "fusecache.daemon.supervisor", str(config.fileno()), "-"]
            command.append(str(watchdog_s))
            self.process = subprocess.Popen(command, cwd=directory, pass_fds=[config.fileno()])

    def status(self) -> int:
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()

    def said(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    def why(self) -> str:
        return self._why.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("script", "status"), [("0", 0), ("2", 2), ("keep,ready,release,1", 1), ("kill11", 139)])
def test_one_that_leaves_no_mount_is_the_last(tmp_path: Path, script: str, status: int) -> None:
    supervised = Supervised(tmp_path, script)
    assert supervised.status() == status
    assert supervised.said() == ["None {} config"]


@pytest.mark.slow
def test_the_next_one_has_what_was_kept(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, "keep,ready,kill9", "ready,77", "keep,ready,3", "ready,release,0")
    assert supervised.status() == 0
    assert supervised.said() == [
        "None {} config",
        "by signal 9 {'fuse': 'of 1'} config",
        "None {'fuse': 'of 1'} config",
        "with status 3 {'fuse': 'of 3'} config",
    ]


@pytest.mark.slow
def test_too_many_crashes(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, "keep,ready,1", *["ready,kill9"] * 8, *["ready,1"] * 9)
    assert supervised.status() == 1
    assert len(supervised.said()) == 1 + 8 + 4
    assert "5 times" in supervised.why()


@pytest.mark.slow
def test_one_that_hangs_is_followed(tmp_path: Path) -> None:
    """But not one that nobody can follow, nor one that has not answered yet."""
    supervised = Supervised(tmp_path, "keep,ready,wait", "release,0", watchdog_s=0.3)
    assert supervised.status() == 0
    hung = "by its supervisor, as its loop gave no sign of life for 0.3 s"
    assert supervised.said() == ["None {} config", f"{hung} {{'fuse': 'of 1'}} config"]


@pytest.mark.slow
def test_hanging_again_and_again_is_dying_again_and_again(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, "keep,ready,wait", *["ready,wait"] * 9, watchdog_s=0.2)
    assert supervised.status() == 1
    assert len(supervised.said()) == 5
    assert "5 times" in supervised.why()
    assert "no sign of life" in supervised.why()


def test_silence_is_counted_anew_after_each_sign() -> None:
    silence = Silence(60.0)
    assert silence.tick_ms == 10_000
    for _ in range(3):
        assert [silence.is_too_long() for _ in range(6)] == [False] * 5 + [True]
        silence.heard()
    assert [silence.is_too_long() for _ in range(5)] == [False] * 5
    assert Silence(0.0).tick_ms is None


def test_a_sign_of_life_never_waits() -> None:
    """Nor fails when nobody listens any more."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        environ = {CHANNEL: str(theirs.detach()), "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}
        keeper = Keeper(environ)
        assert (keeper.watched_s, environ) == (1.5, {})
        for _ in range(5000):
            keeper.alive()
        assert ours.recv(100) == b"WATCHDOG=1"
    keeper.alive()
    assert keeper._channel is not None
    keeper._channel.close()
    assert Keeper({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}).watched_s is None


@pytest.mark.slow
def test_a_signal_is_passed_on(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, "keep,ready,wait", "ready,release,0")
    until = time.monotonic() + 20
    while not supervised.said() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.status() == 0
    assert supervised.said()[1:] == ["by signal 15 {'fuse': 'of 1'} config"]  # as it did not unmount


def test_it_imports_next_to_nothing() -> None:
    code = "import sys; import fusecache.daemon.supervisor; print(len([m for m in sys.modules if 'fusecache' in m]))"
    found = subprocess.check_output([sys.executable, "-S", "-c", code], cwd=Path(__file__).parents[2], text=True)
    assert int(found) <= 4
