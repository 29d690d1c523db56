"""Starting a mount's process, and seeing that it mounts: or that nothing of it is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import fusecache
from fusecache.config import Config
from fusecache.control import detach
from fusecache.control.client import Progress, read_reply
from fusecache.control.detach import Health
from fusecache.control.mounts import MountEntry, mounted_at, mounts
from fusecache.control.protocol import ControlError, ExitCode
from fusecache.errors import MountError

# Started there, `-m` finds this package and nothing that lies about in the working directory.
_PACKAGE_DIR = Path(fusecache.__file__).parent.parent
_PROBE_S = 30.0  # the store may be slow to answer the first request; it isn't that slow
_OUTLIVES = "direct"
"""The transport whose mounts outlive their daemon."""
_PATIENCE_S = 10.0  # for a process that was told to end


def run_in_foreground(config: Config) -> None:
    """Become the mount's process, or its supervisor: signals and systemd see one process, not two."""
    arguments = _supervised(config, _config_fd(config), "-")
    os.chdir(_PACKAGE_DIR)
    os.execv(sys.executable, arguments)  # noqa: S606  # no shell is the point


def start_in_background(config: Config) -> None:
    """Start the mount's process and return once the mount answers.

    Raises:
        ControlError, MountError: it doesn't; nothing is left mounted or running.
    """
    was = mounted_at(config.mountpoint, mounts())
    config_fd, (read_end, write_end) = _config_fd(config), os.pipe()
    with tempfile.TemporaryFile() as said, os.fdopen(read_end) as pipe:
        try:
            child = subprocess.Popen(
                _supervised(config, config_fd, str(write_end)),
                cwd=_PACKAGE_DIR,
                pass_fds=(config_fd, write_end),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        finally:
            os.close(config_fd)
            os.close(write_end)
        try:
            _await_ready(child, pipe, said)
            _await_answer(config)
        except BaseException:  # Ctrl-C too
            _give_up(child, config, was)
            raise


def examine(config: Config, *, repair: bool, progress: Progress) -> dict[str, object]:
    """Examine the state of a mount that is not mounted, in a process of its own; return the report.

    Raises:
        ControlError: it is mounted, or there is nothing to examine.
    """
    return _answer(config, ["examine", *(["--repair"] if repair else [])], progress)


def export(config: Config, to: Path, *, progress: Progress) -> dict[str, object]:
    """Copy what no store has of the state of a mount that is not mounted to `to`; return what that was.

    Raises:
        ControlError: it is mounted, there is nothing to copy, or it cannot be put there.
    """
    return _answer(config, ["export", "--to", os.fspath(to)], progress)


def _answer(config: Config, request: list[str], progress: Progress) -> dict[str, object]:
    config_fd = _config_fd(config)
    try:
        arguments = [*_command(config_fd, "fusecache.daemon.unmounted"), *request]
        child = subprocess.Popen(
            arguments, cwd=_PACKAGE_DIR, pass_fds=(config_fd,), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
    finally:
        os.close(config_fd)
    with child:
        assert child.stdout is not None
        try:
            return read_reply(child.stdout, progress=progress)
        except EOFError as exc:
            raise ControlError("its process ended before it answered") from exc
        except BaseException:  # Ctrl-C too
            child.terminate()
            raise


def _supervised(config: Config, config_fd: int, ready_fd: str) -> list[str]:
    """Return what starts the mount's process: with a supervisor where the mount can outlive it, and systemd is none."""
    is_systemds = ready_fd == "-" and "NOTIFY_SOCKET" in os.environ
    if config.transport == _OUTLIVES and not is_systemds:
        supervisor = [sys.executable, "-S", "-m", "fusecache.daemon.supervisor"]
        return [*supervisor, str(config_fd), ready_fd, f"{config.watchdog_s:g}"]
    return [*_command(config_fd), *([] if ready_fd == "-" else ["--ready-fd", ready_fd])]


def _command(config_fd: int, module: str = "fusecache.daemon") -> list[str]:
    return [sys.executable, "-m", module, "--config-fd", str(config_fd)]


def _config_fd(config: Config) -> int:
    """The configuration as a descriptor: arguments would show it to everybody, a file would be left behind."""
    descriptor = os.memfd_create("fusecache-config", 0)
    os.write(descriptor, config.to_json().encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def _await_ready(child: subprocess.Popen[bytes], pipe: IO[str], said: IO[bytes]) -> None:
    line = pipe.readline()  # ends when the child does, at the latest
    if not line:
        status = child.wait()
        raise MountError(f"the mount's process ended with status {status}: {_last_line(said) or 'it said nothing'}")
    message = json.loads(line)
    if "error" in message:
        child.wait()
        detail = _last_line(said)
        hint = f" ({detail})" if "fuse" in detail.partition(":")[0] else ""  # what libfuse or fusermount3 printed
        code = ExitCode(message.get("exit", ExitCode.FAILED))
        raise ControlError(f"{message['error']}{hint}", kind="mount", exit_code=code)


def _await_answer(config: Config) -> None:
    if detach.probe(config.mountpoint, timeout_s=_PROBE_S) is not Health.ALIVE:
        raise MountError(f"{config.mountpoint} was mounted but does not answer")


def _give_up(child: subprocess.Popen[bytes], config: Config, was: MountEntry | None) -> None:
    """End the child whatever it takes: two signals are "unmount at once"."""
    for stop in (child.terminate, child.terminate, child.kill):
        if child.poll() is None:
            stop()
            try:
                child.wait(_PATIENCE_S if stop == child.kill else _PATIENCE_S / 10)
            except subprocess.TimeoutExpired:
                continue
    left = mounted_at(config.mountpoint, mounts())
    if left is not None and left.is_fusecache and left != was:
        detach.detach(left)


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(1 << 20).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
