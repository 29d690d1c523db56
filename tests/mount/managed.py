"""A mount as a service of a real systemd: `python -m tests.mount.managed DIRECTORY`, as root.

Only in namespaces of its own (`test_systemd`): it takes /run. The systemd is a user's manager, and the unit is as it is
installed, but for paths. What goes wrong is an exception; status 77 says that no systemd runs here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mount.cli import ROOT, TIMEOUT_S, fusecache, mounted
from tests.mount.harness import soon

SYSTEMD = Path("/usr/lib/systemd/systemd")
NO_SYSTEMD = 77
UNIT = "fusecache@lake.service"
GAP_S = 2.0
"""Between a death and the next daemon: long enough for a command that comes then."""
_TARGET = "[Unit]\nDescription=nothing\n"


def unit_text(here: Path) -> str:
    """The unit, with this interpreter and a configuration that is not in /etc."""
    text = (ROOT / "systemd" / "fusecache@.service").read_text()
    for old, new in (
        ("/usr/bin/env fusecache", f"{sys.executable} -m fusecache"),
        ("/etc/fusecache/%i", f"{here}/%i"),
        ("RestartSec=100ms", f"RestartSec={GAP_S}\nEnvironment=PYTHONPATH={ROOT}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@contextmanager
def systemd(here: Path) -> Iterator[None]:
    """Run one for the block. Its namespace has a /run of its own, and what it is told to start."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for directory in ("/run/systemd/system", "/run/user/0", here / "systemd" / "user"):
        os.makedirs(directory)
    os.environ |= {"HOME": str(here), "XDG_RUNTIME_DIR": "/run/user/0", "XDG_CONFIG_HOME": str(here)}
    (here / "systemd" / "user" / "idle.target").write_text(_TARGET)
    (here / "systemd" / "user" / "fusecache@.service").write_text(unit_text(here))
    with subprocess.Popen([SYSTEMD, "--user", "--unit=idle.target"], stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + TIMEOUT_S
            while systemctl("is-active", "idle.target") != "active":
                if process.poll() is not None or time.monotonic() > until:
                    sys.exit(NO_SYSTEMD)
                time.sleep(0.05)
            yield
        finally:
            systemctl("exit")
            process.wait(TIMEOUT_S)


def systemctl(*arguments: str) -> str:
    done = subprocess.run(
        ["systemctl", "--user", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return (done.stdout + done.stderr).strip()


def shown(name: str) -> str:
    return systemctl("show", "--property", name, "--value", UNIT)


def kill() -> int:
    """SIGKILL the daemon, and return which it was."""
    pid = int(shown("MainPID"))
    os.kill(pid, signal.SIGKILL)
    return pid


def start() -> None:
    assert systemctl("start", UNIT) == "", systemctl("status", UNIT)
    assert shown("ActiveState") == "active"


def goes_on(path: Path) -> None:
    """What is open stays open, and whoever asks meanwhile waits."""
    with (path / "open").open("w+b", buffering=0) as file:
        for turn in (b"one", b"two"):
            file.write(turn)
            died = kill()
            (path / f"made-{turn.decode()}").mkdir()  # waits for the next
            assert int(shown("MainPID")) != died
            assert os.pread(file.fileno(), 10, 0).endswith(turn)
    assert shown("NRestarts") == "2"
    assert (path / "open").read_bytes() == b"onetwo"
    done = fusecache("upgrade", path)
    assert done.returncode == 0, done.stderr
    assert (path / "open").read_bytes() == b"onetwo"
    assert shown("NRestarts") == "3"


def unmounts_in_between(path: Path) -> None:
    """The next daemon drains and unmounts, and nobody starts another."""
    kill()
    soon(lambda: shown("SubState") == "auto-restart", "systemd is not about to start the next daemon")
    done = fusecache("umount", path)
    assert done.returncode == 0, done.stderr
    assert "dead" not in done.stderr
    soon(lambda: shown("ActiveState") == "inactive", f"another was started: {systemctl('status', UNIT)}")
    assert mounted(path) is None


def stopped_in_between(path: Path) -> None:
    """Systemd lets the connection go then: the mount is a dead one, which the next start replaces."""
    start()
    (path / "later").write_bytes(b"x")
    kill()
    systemctl("stop", UNIT)
    start()
    assert (path / "later").read_bytes() == b"x"
    systemctl("stop", UNIT)
    assert mounted(path) is None


def main(here: Path) -> None:
    store, path = here / "store", here / "m"
    for directory in (store, path):
        directory.mkdir()
    (here / "lake.toml").write_text(
        f'store = "file://{store}"\nmountpoint = "{path}"\ncache_dir = "{here}/cache"\n'
        'transport = "direct"\npersist_delay = "1h"\n'
    )
    with systemd(here):
        start()
        goes_on(path)
        unmounts_in_between(path)
        assert (store / "open").read_bytes() == b"onetwo"
        stopped_in_between(path)
        assert (store / "later").read_bytes() == b"x"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
