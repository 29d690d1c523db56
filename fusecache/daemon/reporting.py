"""What whoever started the daemon, and systemd, are told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

import sdnotify

from fusecache.daemon.logs import silence_stderr
from fusecache.errors import (
    AccessDenied,
    BackendError,
    BackendUnavailable,
    ConfigError,
    FusecacheError,
    MountError,
    NoSuchStore,
)
from fusecache.types import FlushProgress

_HINTS: tuple[tuple[type[BackendError], str], ...] = (
    (AccessDenied, "check the credentials (environment, --profile, instance role) and what they may do"),
    (NoSuchStore, "check the name, the region and --endpoint-url"),
    (BackendUnavailable, "check the network and --endpoint-url"),
)


class Starter:
    """Whoever waits for the mount: a command at the other end of a pipe, or nobody in the foreground."""

    def __init__(self, pipe: int | None) -> None:
        self._pipe = pipe

    def ready(self) -> None:
        """Say that the mount answers.

        Raises:
            MountError: nobody waits any more; the mount isn't wanted.
        """
        if self._pipe is None:
            return
        try:
            self._tell({"ready": True})
        except BrokenPipeError as exc:
            raise MountError("the command that wanted this mount is gone") from exc
        silence_stderr()

    def failed(self, message: str, exit_code: int) -> None:
        """Say in one line why there is no mount; after `ready` the log has to do."""
        if self._pipe is None:
            sys.stderr.write(f"fusecache: {message}\n")
            return
        try:
            self._tell({"error": message, "exit": exit_code})
        except OSError:
            pass  # nobody waits any more

    def _tell(self, message: dict[str, object]) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe is not None and pipe >= 0:
            os.write(pipe, json.dumps(message).encode() + b"\n")
            os.close(pipe)


class Supervisor:
    """systemd, if it started us (sd_notify(3)); else the calls do nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._notifier = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None

    def ready(self, mountpoint: str, store: str) -> None:
        self._tell(f"READY=1\nSTATUS={store} on {mountpoint}")

    def alive(self) -> None:
        """The loop goes on (WatchdogSec)."""
        self._tell("WATCHDOG=1")

    def stopping(self, within_s: float) -> None:
        """It ends within so long, whatever the unit's TimeoutStopSec says."""
        self._tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def draining(self, progress: FlushProgress) -> None:
        self._tell(f"STATUS=draining: {progress.files_left} files, {progress.bytes_left} bytes left")

    def _tell(self, state: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(state)


def explain(exc: FusecacheError, store: str) -> str:
    """Return the one line for an error that kept the mount from being made."""
    said = " ".join(str(exc).split()) or type(exc).__name__
    if not isinstance(exc, BackendError):
        return said
    hint = next((hint for kind, hint in _HINTS if isinstance(exc, kind)), "")
    where = "" if store in said else f"{store}: "
    return f"{where}{said}" + (f"; {hint}" if hint and hint not in said else "")


def exit_code(exc: FusecacheError) -> int:
    """Return 2 for what was asked for wrongly, else 1."""
    return 2 if isinstance(exc, ConfigError) else 1
