"""What the control socket's commands do, and who may."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import trio

from fusecache.config import Config
from fusecache.control.protocol import ControlError, ExitCode, path_bytes
from fusecache.control.server import Message, Peer
from fusecache.daemon.caching import Cacheable, CacheCommands
from fusecache.daemon.departure import Departure, Drainable, Tell, drain
from fusecache.daemon.steering import Progress, Steerable, Steering
from fusecache.errors import NotFound

_MAX_DEADLINE_S = 366 * 86400.0
Command = Callable[[Message, Progress], Awaitable[Message]]


class Inspectable(Drainable, Steerable, Protocol):
    """A volume, as far as the commands use it. Paths are relative to the mount's root, b"" is the root."""

    @property
    def caching(self) -> Cacheable: ...

    async def stat_path(self, path: bytes) -> dict[str, object]:
        """Return the facts of `path`. Raises `NotFound`."""
        ...

    async def examine(self, path: bytes, *, repair: bool, progress: Progress) -> dict[str, object]:
        """Return what a doctor found. Raises `NotFound`."""
        ...

    def may_read(self, path: bytes, uid: int, gids: Sequence[int]) -> bool: ...


class Commands:
    """Answers one request after the other; knows the volume, the departure and the mount's owner."""

    def __init__(
        self,
        config: Config,
        volume: Inspectable,
        departure: Departure,
        *,
        hand_over: Callable[[], None] | None = None,
    ) -> None:
        """`hand_over` ends this process in favour of the next; None: nobody would start one."""
        self._config = config
        self._volume = volume
        self._departure = departure
        self._hand_over = hand_over
        self._barriers: set[trio.CancelScope] = set()
        self._for_all: dict[str, Callable[[Peer, Message, Progress], Awaitable[Message]]] = {
            "ping": self._ping,
            "stat": self._stat,
            "flush": self._flush,
            "ls": self._ls,
        }
        steering, caching = Steering(volume, config.mountpoint), CacheCommands(volume.caching)
        self._for_owners: dict[str, Command] = {
            "umount": self._umount,
            "upgrade": self._upgrade,
            **{name: self._endable(command) for name, command in (steering.by_name | caching.by_name).items()},
            "doctor": self._endable(self._doctor),
        }

    async def answer(self, peer: Peer, request: Message, progress: Progress) -> Message:
        """Carry out `request` for `peer`."""
        name = str(request.get("command"))
        if name in self._for_all:
            return await self._for_all[name](peer, request, progress)
        if name not in self._for_owners:
            raise ControlError(f"unknown command {name!r}: is the daemon older?", kind="protocol")
        if peer.uid not in (0, os.getuid()):
            raise ControlError(f"only root and whoever mounted it may {name} it", kind="not_permitted")
        return await self._for_owners[name](request, progress)

    def release_barriers(self) -> None:
        """Let those go who wait for a flush or the like: the mount is gone."""
        for scope in list(self._barriers):
            scope.cancel()

    async def _ping(self, peer: Peer, request: Message, progress: Progress) -> Message:
        return {"pid": os.getpid()}

    async def _stat(self, peer: Peer, request: Message, progress: Progress) -> Message:
        if request.get("path") is None:
            self._check_may_read(peer, b"")
            facts = self._volume.stat_mount()
            return facts | {
                "mountpoint": os.fspath(self._config.mountpoint),
                "transport": self._config.transport,
                "pid": os.getpid(),
                "cache": facts["cache"] | {"pinned": await self._volume.caching.pinned()},
            }
        path = path_bytes(request["path"])
        self._check_may_read(peer, path)
        with self._no_such_file(path):
            return await self._volume.stat_path(path)

    async def _ls(self, peer: Peer, request: Message, progress: Progress) -> Message:
        path = path_bytes(request.get("path", ""))
        self._check_may_read(peer, path)
        with self._no_such_file(path):
            return await self._volume.caching.ls(path, after=path_bytes(request.get("after", "")))

    async def _flush(self, peer: Peer, request: Message, progress: Progress) -> Message:
        path = path_bytes(request.get("path", ""))
        self._check_may_read(peer, path)
        with trio.CancelScope() as barrier, self._releasable(barrier), self._no_such_file(path):
            return (await drain(self._volume, path, deadline_s=_deadline(request), tell=_telling(progress))).as_dict()
        raise ControlError("the mount went away; what is not in the store yet is kept for the next mount", kind="gone")

    async def _umount(self, request: Message, progress: Progress) -> Message:
        drained, unmounted = await self._departure.leave(
            flush=request.get("flush") is not False, deadline_s=_deadline(request), tell=_telling(progress)
        )
        return drained.as_dict() | {"unmounted": unmounted}

    async def _upgrade(self, request: Message, progress: Progress) -> Message:
        if self._hand_over is None:
            raise ControlError("this mount ends with its daemon: unmount it, and mount it again", kind="unsupported")
        if self._departure.is_under_way:
            raise ControlError("it is being unmounted", kind="busy")
        self._hand_over()
        return {"pid": os.getpid()}

    async def _doctor(self, request: Message, progress: Progress) -> Message:
        path = path_bytes(request.get("path", ""))
        return await self._volume.examine(path, repair=request.get("repair") is True, progress=progress)

    def _endable(self, command: Command) -> Command:
        """A command that is about a path, and ends when the mount goes."""

        async def carry_out(request: Message, progress: Progress) -> Message:
            path = path_bytes(request.get("path", ""))
            with trio.CancelScope() as barrier, self._releasable(barrier), self._no_such_file(path):
                return await command(request, progress)
            raise ControlError("the mount went away meanwhile", kind="gone")

        return carry_out

    @contextmanager
    def _releasable(self, barrier: trio.CancelScope) -> Iterator[None]:
        self._barriers.add(barrier)
        try:
            yield
        finally:
            self._barriers.discard(barrier)

    @contextmanager
    def _no_such_file(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except NotFound as exc:
            raise ControlError(f"{self._shown(path)}: no such file or directory", kind="not_found") from exc

    def _shown(self, path: bytes) -> str:
        return str(self._config.mountpoint / path.decode("utf-8", "backslashreplace"))

    def _check_may_read(self, peer: Peer, path: bytes) -> None:
        with self._no_such_file(path):
            if peer.uid not in (0, os.getuid()) and not self._volume.may_read(path, peer.uid, peer.gids):
                raise ControlError(f"{self._shown(path)}: permission denied", kind="not_permitted")


def _telling(progress: Progress) -> Tell:
    return lambda now: progress(now.as_dict())


def _deadline(request: Message) -> float | None:
    value = request.get("deadline_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_DEADLINE_S:
        raise ControlError("`deadline_s` must be a number of seconds", kind="protocol", exit_code=ExitCode.USAGE)
    return float(value)
