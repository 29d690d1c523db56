"""What root and a mount's owner may do to its cache by path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from fusecache.control.protocol import ControlError, ExitCode, path_bytes
from fusecache.control.server import Message
from fusecache.fs.load import Wish

Progress = Callable[[Message], None]


class Cacheable(Protocol):
    """The cache of a volume. Paths are relative to the mount's root, b"" is the root; what is not there raises
    `NotFound`."""

    async def load(self, path: bytes, wish: Wish, *, pin: bool, progress: Progress) -> dict[str, object]: ...

    async def free(self, path: bytes, *, progress: Progress) -> dict[str, object]: ...

    async def pin(self, path: bytes, *, progress: Progress) -> dict[str, object]: ...

    async def unpin(self, path: bytes) -> dict[str, object]: ...

    async def pinned(self) -> dict[str, object]: ...

    async def ls(self, path: bytes, *, after: bytes) -> dict[str, object]: ...


class CacheCommands:
    """Carries out the commands in `by_name`."""

    def __init__(self, cache: Cacheable) -> None:
        self._cache = cache
        self.by_name: dict[str, Callable[[Message, Progress], Awaitable[Message]]] = {
            "load": self._load,
            "free": self._free,
            "pin": self._pin,
            "unpin": self._unpin,
        }

    async def _load(self, request: Message, progress: Progress) -> Message:
        wish = Wish(include=_globs(request), bytes_per_s=_rate(request), metadata=request.get("metadata") is True)
        return await self._cache.load(_path(request), wish, pin=request.get("pin") is True, progress=progress)

    async def _free(self, request: Message, progress: Progress) -> Message:
        return await self._cache.free(_path(request), progress=progress)

    async def _pin(self, request: Message, progress: Progress) -> Message:
        return await self._cache.pin(_path(request), progress=progress)

    async def _unpin(self, request: Message, progress: Progress) -> Message:
        return await self._cache.unpin(_path(request))


def _path(request: Message) -> bytes:
    return path_bytes(request.get("path", ""))


def _globs(request: Message) -> tuple[str, ...]:
    given = request.get("include", [])
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise ControlError("`include` must be a list of globs", kind="protocol", exit_code=ExitCode.USAGE)
    return tuple(given)


def _rate(request: Message) -> float | None:
    rate = request.get("rate")
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0:
        raise ControlError("`rate` must be bytes a second", kind="protocol", exit_code=ExitCode.USAGE)
    return float(rate)
