"""`fusecache` with a daemon that SIGKILLs itself at a named point: `python -m tests.crash.mortal mount …`.

Nothing in fusecache knows of it. A file named by the environment says where ("put.after 3"); while there is none,
the daemon lives, and passages are counted from when it appears: so it may be checked before it is to die,
or doomed before it starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.mount.cli import ROOT, TIMEOUT_S

DOOM = "FUSECACHE_DOOM"
MAX_COPY_BYTES = 5 << 20
"""What these daemons believe that S3 copies at once: a part, instead of a thousand."""
REQUESTS = {
    "put": "put",
    "copy": "copy",
    "delete": "delete",
    "start": "start_multipart",
    "part": "put_part",
    "complete": "complete_multipart",
}
"""What changes a store, and the method of a backend that does it."""
COPIES = {"begin": "start_copy", "copied": "put_part_copy"}
"""What else makes a copy of what is too large for one request."""
POINTS = [f"{what}.{when}" for what in ("commit", *REQUESTS) for when in ("before", "after")]
COPY_POINTS = [f"{what}.{when}" for what in (*COPIES, "complete") for when in ("before", "after")]
DIRECTORY = "directory.before"
"""Before each system call by which a `file://` store makes a directory what it is, or removes it."""


class Doom:
    """Counts passages, and kills this process at one of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._point = ""
        self._left = 0

    def passed(self, point: str) -> None:
        if not self._point and not self._read():
            return
        if point != self._point:
            return
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)

    def _read(self) -> bool:
        try:
            point, nth = self._path.read_text().split()
        except FileNotFoundError:
            return False
        self._point, self._left = point, int(nth)
        return True


# --- the daemon ---


def _doom_commits(doom: Doom) -> None:
    from fusecache.namespace.database import Database

    real = Database.transaction

    @contextmanager
    def transaction(self: Database) -> Iterator[Any]:
        with real(self) as rows:
            yield rows
            doom.passed("commit.before")
        doom.passed("commit.after")

    Database.transaction = transaction  # type: ignore[method-assign,assignment]  # doomed


def _doom_requests(doom: Doom) -> None:
    from fusecache import volume

    real = volume.open_backend

    def doomed(name: str, request: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def passing(*args: Any, **kwargs: Any) -> object:
            doom.passed(f"{name}.before")
            answer = await request(*args, **kwargs)
            doom.passed(f"{name}.after")
            return answer

        return passing

    @asynccontextmanager
    async def open_backend(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with real(*args, **kwargs) as backend:
            for name, method in (REQUESTS | COPIES).items():
                setattr(backend, method, doomed(name, getattr(backend, method)))
            yield backend

    volume.open_backend = open_backend  # type: ignore[assignment]  # doomed


def _doom_directories(doom: Doom) -> None:
    from fusecache.backends.local import writer

    def doomed(call: Callable[..., Any]) -> Callable[..., Any]:
        def passing(path: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(path, int):  # a descriptor is a file's
                doom.passed(DIRECTORY)
            return call(path, *args, **kwargs)

        return passing

    for module, names in ((os, ("rmdir", "setxattr", "removexattr")), (writer, ("rename_new",))):
        for name in names:
            setattr(module, name, doomed(getattr(module, name)))


def _limit_copies() -> None:
    from fusecache.backends import s3

    s3.open_s3 = partial(s3.open_s3, max_copy_bytes=MAX_COPY_BYTES)


def _run_daemon() -> int:
    from fusecache.daemon.__main__ import main

    _limit_copies()
    doom = Doom(Path(os.environ[DOOM]))
    _doom_commits(doom)
    _doom_requests(doom)
    _doom_directories(doom)
    return main()


# --- the command that starts it ---


def _run_command() -> None:
    from fusecache.cli import launch
    from fusecache.cli import main as command

    def daemon(_: object, config_fd: int, ready_fd: str) -> list[str]:
        """Without a supervisor: the next one is started by the test."""
        mortal = [sys.executable, "-m", "tests.crash.mortal"]
        return [*mortal, "--config-fd", str(config_fd), "--ready-fd", ready_fd]

    launch._supervised = daemon
    command()


def fusecache_doomed_by(doom: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return `fusecache` as a function, whose daemons die where the file `doom` says."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.crash.mortal", *(str(each) for each in arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), DOOM: str(doom)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    return run


if __name__ == "__main__":
    sys.exit(_run_daemon() if "--config-fd" in sys.argv else _run_command())
