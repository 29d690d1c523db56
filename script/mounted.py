"""fusecache from the outside, as a person uses it: its commands, run as processes. For the demo and the benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "fusecache"
MOUNT_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 600.0


class CommandFailed(Exception):
    """A command ended with another status than 0; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount that this process made, and may ask and unmount."""

    path: Path
    environ: Mapping[str, str]

    def stat_text(self) -> str:
        """Return what `fusecache stat` prints for the whole mount."""
        return run(["stat", str(self.path)], self.environ)

    def stat(self) -> dict[str, Any]:
        """Return `fusecache stat --json` of the whole mount."""
        answer: dict[str, Any] = json.loads(run(["stat", "--json", str(self.path)], self.environ))
        return answer

    def flush(self) -> None:
        run(["flush", str(self.path)], self.environ)

    def flushing(self) -> subprocess.Popen[str]:
        """Start `fusecache flush` and return without waiting for it."""
        return subprocess.Popen(
            [str(PROGRAM), "flush", str(self.path)], env=self.environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def unmount(self, *options: str) -> None:
        run(["umount", str(self.path), *options], self.environ)


@contextmanager
def mounted(
    store: str, path: Path, options: Sequence[str], environ: Mapping[str, str], *, drain: bool = True
) -> Iterator[Mounted]:
    """Mount `store` on `path`, which is made, and unmount it at the end: also after a failure, then without a drain."""
    mount = mount_store(store, path, options, environ)
    try:
        yield mount
    except BaseException:
        detach(path)
        raise
    mount.unmount(*([] if drain else ["--no-flush"]))


def mount_store(store: str, path: Path, options: Sequence[str], environ: Mapping[str, str]) -> Mounted:
    """Mount `store` on `path` and return when it answers.

    Raises:
        CommandFailed: with the line that `fusecache mount` said.
    """
    path.mkdir(parents=True, exist_ok=True)
    run(["mount", store, str(path), *options], environ, timeout_s=MOUNT_TIMEOUT_S)
    return Mounted(path, environ)


def detach(path: Path) -> None:
    """Take a mount off the tree whatever state its daemon is in."""
    subprocess.run(["fusermount3", "-uz", str(path)], check=False, capture_output=True, timeout=30)


def run(arguments: Sequence[str], environ: Mapping[str, str], *, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run `fusecache` and return what it printed.

    Raises:
        CommandFailed: its status was not 0, or it did not end within `timeout_s`.
    """
    told = f"fusecache {' '.join(arguments)}"
    try:
        ended = subprocess.run(
            [str(PROGRAM), *arguments], env=environ, text=True, timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(f"{told}: no answer within {timeout_s:.0f} s") from exc
    if ended.returncode != 0:
        raise CommandFailed(f"{told}: exit {ended.returncode}: {(ended.stderr or ended.stdout).strip()}")
    return ended.stdout


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without any AWS setting, and with `extra`."""
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | dict(extra)
