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
from fusecache.daemon.departure import Departure, Drainable, Tell, drain
from fusecache.errors import NotFound

_MAX_DEADLINE_S = 366 * 86400.0


class Inspectable(Drainable, Protocol):
    """A volume, as far as the commands use it. Paths are relative to the mount's root, b"" is the root."""

    async def stat_path(self, path: bytes) -> dict[str, object]:
        """Return the facts of `path`. Raises `NotFound`."""
        ...

    async def examine(self, path: bytes, *, repair: bool, progress: Callable[[Message], None]) -> dict[str, object]:
        """Return what a doctor found. Raises `NotFound`."""
        ...

    def may_read(self, path: bytes, uid: int, gids: Sequence[int]) -> bool: ...


class Commands:
    """Answers one request after the other; knows the volume, the departure and the mount's owner."""

    def __init__(self, config: Config, volume: Inspectable, departure: Departure) -> None:
        self._config = config
        self._volume = volume
        self._departure = departure
        self._barriers: set[trio.CancelScope] = set()
        self._by_name: dict[str, Callable[[Peer, Message, Callable[[Message], None]], Awaitable[Message]]] = {
            "ping": self._ping,
            "stat": self._stat,
            "flush": self._flush,
            "umount": self._umount,
            "doctor": self._doctor,
        }

    async def answer(self, peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        """Carry out `request` for `peer`."""
        command = self._by_name.get(str(request.get("command")))
        if command is None:
            raise ControlError(f"unknown command {request.get('command')!r}: is the daemon older?", kind="protocol")
        return await command(peer, request, progress)

    def release_barriers(self) -> None:
        """Let those go who wait for a flush or an examination: the mount is gone."""
        for scope in list(self._barriers):
            scope.cancel()

    async def _ping(self, peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        return {"pid": os.getpid()}

    async def _stat(self, peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        if request.get("path") is None:
            self._check_may_read(peer, b"")
            return self._volume.stat_mount() | {
                "mountpoint": os.fspath(self._config.mountpoint),
                "transport": self._config.transport,
                "pid": os.getpid(),
            }
        path = path_bytes(request["path"])
        self._check_may_read(peer, path)
        with _no_such_file(path):
            return await self._volume.stat_path(path)

    async def _flush(self, peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        path = path_bytes(request.get("path", ""))
        self._check_may_read(peer, path)
        with trio.CancelScope() as barrier, self._releasable(barrier), _no_such_file(path):
            return (await drain(self._volume, path, deadline_s=_deadline(request), tell=_telling(progress))).as_dict()
        raise ControlError("the mount went away; what is not in the store yet is kept for the next mount", kind="gone")

    async def _umount(self, peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        if peer.uid not in (0, os.getuid()):
            raise ControlError("only root and whoever mounted it may unmount it", kind="not_permitted")
        drained, unmounted = await self._departure.leave(
            flush=request.get("flush") is not False, deadline_s=_deadline(request), tell=_telling(progress)
        )
        return drained.as_dict() | {"unmounted": unmounted}

    async def _doctor(self, peer: Peer, request: Message, progress: Callable[[Message], None]) -> Message:
        if peer.uid not in (0, os.getuid()):
            raise ControlError("only root and whoever mounted it may examine it", kind="not_permitted")
        path = path_bytes(request.get("path", ""))
        with trio.CancelScope() as barrier, self._releasable(barrier), _no_such_file(path):
            return await self._volume.examine(path, repair=request.get("repair") is True, progress=progress)
        raise ControlError("the mount went away meanwhile", kind="gone")

    @contextmanager
    def _releasable(self, barrier: trio.CancelScope) -> Iterator[None]:
        self._barriers.add(barrier)
        try:
            yield
        finally:
            self._barriers.discard(barrier)

    def _check_may_read(self, peer: Peer, path: bytes) -> None:
        with _no_such_file(path):
            if peer.uid not in (0, os.getuid()) and not self._volume.may_read(path, peer.uid, peer.gids):
                raise ControlError(f"{_shown(path)}: permission denied", kind="not_permitted")


def _telling(progress: Callable[[Message], None]) -> Tell:
    return lambda now: progress(now.as_dict())


def _deadline(request: Message) -> float | None:
    value = request.get("deadline_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_DEADLINE_S:
        raise ControlError("`deadline_s` must be a number of seconds", kind="protocol", exit_code=ExitCode.USAGE)
    return float(value)


@contextmanager
def _no_such_file(path: bytes) -> Iterator[None]:
    try:
        yield
    except NotFound as exc:
        raise ControlError(f"{_shown(path)}: no such file or directory", kind="not_found") from exc


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace") or "the mount"
