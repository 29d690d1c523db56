"""A volume and a transport that a test drives by hand, for the daemon's own logic."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import trio

from fusecache.config import Config
from fusecache.control.protocol import ControlError
from fusecache.control.server import listen
from fusecache.daemon.departure import StillBusy
from fusecache.daemon.reporting import Starter, Supervisor
from fusecache.daemon.service import Service
from fusecache.errors import ConfigError, NotFound, StoreUnreachable
from fusecache.fs.load import Wish
from fusecache.types import FlushProgress


class FakeCaching:
    """Answers what it was asked."""

    async def load(
        self, path: bytes, wish: Wish, *, pin: bool, progress: Callable[[dict[str, object]], None]
    ) -> dict[str, object]:
        progress({"files_left": 1})
        return await self._told(path) | {"include": list(wish.include), "rate": wish.bytes_per_s, "pin": pin}

    async def free(self, path: bytes, *, progress: Callable[[dict[str, object]], None]) -> dict[str, object]:
        return await self._told(path)

    async def pin(self, path: bytes, *, progress: Callable[[dict[str, object]], None]) -> dict[str, object]:
        return await self._told(path)

    async def unpin(self, path: bytes) -> dict[str, object]:
        return await self._told(path)

    async def pinned(self) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return {"paths": []}

    async def ls(self, path: bytes, *, after: bytes) -> dict[str, object]:
        return await self._told(path) | {"after": after.decode()}

    async def _told(self, path: bytes) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        if path == b"absent":
            raise NotFound
        return {"path": path.decode()}


class FakeVolume:
    """Has `files_left` dirty files until a test calls `store`; `b"secret"` is nobody else's to read."""

    def __init__(self, files_left: int = 0) -> None:
        self.files_left = files_left
        self.caching = FakeCaching()
        self.stuck: tuple[dict[str, object], ...] = ()
        self.paused: list[bytes] = []
        self.limits: dict[str, object] = {"max_uploads": 16, "upload_limit": None}
        self.flushed: list[bytes] = []
        self.tidied: list[int] = []
        """How many files were dirty when it was to tidy up."""
        self.bug: Exception | None = None
        self.crash = trio.Event()
        self.flushing = trio.Event()
        self._stored = trio.Event()

    def store(self) -> None:
        """Everything reaches the store now."""
        self.files_left = 0
        self._stored.set()
        self._stored = trio.Event()

    async def run(self) -> None:
        await self.crash.wait()
        raise self.bug or AssertionError("a crash without a bug")

    def stat_mount(self) -> dict[str, object]:
        facts = {"files_dirty": self.files_left, "bytes_dirty": 0, "stuck": self.stuck, "stores": ["s3://b/p"]}
        return facts | {"files_paused": len(self.paused), "cache": {"bytes": 0}}

    async def stat_path(self, path: bytes) -> dict[str, object]:
        if path == b"absent":
            raise NotFound
        return {"path": path.decode(), "state": "clean"}

    def may_read(self, path: bytes, uid: int, gids: Sequence[int]) -> bool:
        return path != b"secret"

    async def examine(
        self, path: bytes, *, repair: bool, progress: Callable[[dict[str, object]], None]
    ) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        progress({"rows": 1})
        return {"healthy": not repair, "path": path.decode()}

    async def pause(self, path: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if path == b"absent":
            raise NotFound
        self.paused.append(path)

    async def resume(self, path: bytes) -> list[str]:
        await trio.lowlevel.checkpoint()
        resumed, self.paused = self.paused, []
        return [each.decode() for each in resumed]

    async def sync(self, path: bytes, *, progress: Callable[[dict[str, object]], None]) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        if path == b"away":
            raise StoreUnreachable("the store does not answer")
        progress({"names": 1})
        return {"directories": 1, "names": 2, "changed": 1}

    async def retry(self, path: bytes) -> int:
        await trio.lowlevel.checkpoint()
        return len(self.stuck)

    async def export(
        self, path: bytes, to: Path, *, progress: Callable[[dict[str, object]], None]
    ) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        if not to.parent.exists():
            raise FileNotFoundError(2, "No such file or directory")
        progress({"files": 1})
        return {"files": 1, "to": str(to)}

    def tune(self, **limits: object) -> dict[str, object]:
        if limits.get("max_uploads") == 0:
            raise ConfigError("max_uploads must be between 1 and 256")
        self.limits |= limits
        return self.limits

    async def tidy(self) -> None:
        self.tidied.append(self.files_left)
        await trio.lowlevel.checkpoint()

    async def flush(self, path: bytes, *, progress: Callable[[FlushProgress], None]) -> FlushProgress:
        self.flushed.append(path)
        self.flushing.set()
        while True:
            now = FlushProgress(files_left=self.files_left, stuck=self.stuck, paused=len(self.paused))
            progress(now)
            if self.files_left == len(self.stuck):
                await trio.lowlevel.checkpoint()
                return now
            await self._stored.wait()


class FakeMount:
    """The kernel's side: mounted at once, unmounted when `unmount` is called and nobody has files open."""

    def __init__(self) -> None:
        self.mounted = False
        self.is_busy = False
        self.refuses = False
        self.on_unmount: Callable[[], None] = lambda: None
        self.gone = trio.Event()

    async def serve(self, ready: Callable[[], None]) -> None:
        self.mounted = True
        try:
            ready()
            await self.gone.wait()
        finally:
            self.mounted = False

    async def unmount(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_busy:
            raise StillBusy("busy", kind="busy")
        if self.refuses:
            raise ControlError("refused")
        self.on_unmount()
        self.gone.set()


def make_config(directory: Path) -> Config:
    return Config(
        store="s3://b/p", mountpoint=directory / "m", cache_dirs=(directory / "c",), state_dir=directory / "c/state"
    )


def make_service(
    directory: Path,
    volume: FakeVolume,
    mount: FakeMount,
    *,
    stop_deadline_s: float = 60.0,
    alive: Callable[[], None] = lambda: None,
    watched_s: float | None = None,
) -> Service:
    """Return a service on a control socket at `directory`/s."""

    @contextmanager
    def control_socket() -> Iterator[socket.socket]:
        with listen(directory / "s", mode=0o600) as listener:
            yield listener

    return Service(
        replace(make_config(directory), stop_deadline_s=stop_deadline_s),
        volume,
        transport=mount.serve,
        unmount=mount.unmount,
        control_socket=control_socket,
        starter=Starter(None),
        supervisor=Supervisor({}),
        alive=alive,
        watched_s=watched_s,
    )
