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
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from tests.mount.cli import ROOT, TIMEOUT_S

DOOM = "FUSECACHE_DOOM"
FOLLOWED = "FUSECACHE_FOLLOWED"
"""Says that another daemon goes on with the mount, by the supervisor as it is."""
SUPERVISOR = "fusecache.daemon.supervisor"
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
MOMENTS = ("asked", "commits", "done", "answered")
"""Of a request of the direct transport, behind its name: before anything, within its transaction, after it and before
the answer, after that."""


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
            self._path.unlink()  # it is this daemon's, and no next one's
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


def _doom_answers(doom: Doom) -> None:
    from fusecache.fs.transport.direct.abi import Opcode
    from fusecache.fs.transport.direct.server import Server
    from fusecache.namespace.database import Database

    asked = ContextVar("asked", default="")
    carry_out, reply, commit = Server._carried_out, Server._reply, Database.commit

    async def carrying_out(self: Server, call: Any, who: Any, body: Any) -> Any:
        name = Opcode(who.opcode).name.lower()
        doom.passed(f"{name}.asked")
        asked.set(name)
        answer = await carry_out(self, call, who, body)
        asked.set("")
        doom.passed(f"{name}.done")
        return answer

    def replying(self: Server, who: Any, number: int, answer: bytes) -> None:
        reply(self, who, number, answer)
        if who.opcode in set(Opcode):  # others are asked for by newer kernels, and answered with ENOSYS
            doom.passed(f"{Opcode(who.opcode).name.lower()}.answered")

    def committing(self: Database, before: Any) -> None:
        doom.passed(f"{asked.get()}.commits")
        commit(self, before)

    Server._carried_out = carrying_out  # type: ignore[method-assign]  # doomed
    Server._reply = replying  # type: ignore[method-assign]  # doomed
    Database.commit = committing  # type: ignore[method-assign]  # doomed


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
    _doom_answers(doom)
    return main()


def _run_supervisor() -> int:
    """The supervisor as it is, but for which daemon it starts."""
    from fusecache.daemon import supervisor

    run = supervisor.Supervisor._child

    def child(self: supervisor.Supervisor, module: str, arguments: list[str], died: str) -> int:
        return run(self, __spec__.name if module == "fusecache.daemon" else module, arguments, died)

    supervisor.Supervisor._child = child  # type: ignore[method-assign]  # doomed
    del sys.argv[1]
    return supervisor.main()


# --- the command that starts it ---


def _run_command() -> None:
    from fusecache.cli import launch
    from fusecache.cli import main as command

    def daemon(_: object, config_fd: int, ready_fd: str) -> list[str]:
        """Without a supervisor, unless the test wants one: the next one is started by the test."""
        mortal = [sys.executable, "-m", "tests.crash.mortal"]
        if FOLLOWED in os.environ:
            return [*mortal, SUPERVISOR, str(config_fd), ready_fd, "0"]
        return [*mortal, "--config-fd", str(config_fd), "--ready-fd", ready_fd]

    launch._supervised = daemon
    command()


def fusecache_doomed_by(doom: Path, *, is_followed: bool = False) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return `fusecache` as a function, whose daemons die where the file `doom` says: it is gone when one does.

    `is_followed`: by another, which goes on with the mount.
    """
    environ = {"PYTHONPATH": str(ROOT), DOOM: str(doom)} | ({FOLLOWED: "1"} if is_followed else {})

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.crash.mortal", *(str(each) for each in arguments)],
            cwd=ROOT,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    return run


if __name__ == "__main__":
    if SUPERVISOR in sys.argv:
        sys.exit(_run_supervisor())
    sys.exit(_run_daemon() if "--config-fd" in sys.argv else _run_command())
