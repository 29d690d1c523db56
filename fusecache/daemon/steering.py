"""What root and a mount's owner may do: hold up its drain, hurry it, limit it, give up its store, or look at it now."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from fusecache.control.protocol import ControlError, ExitCode, path_bytes
from fusecache.control.server import Message
from fusecache.errors import ConfigError, StoreUnreachable

Progress = Callable[[Message], None]


class Steerable(Protocol):
    """A volume, as far as this uses it. Paths are relative to the mount's root, b"" is the root."""

    async def pause(self, path: bytes) -> None:
        """Raises `NotFound`."""
        ...

    async def resume(self, path: bytes) -> list[str]: ...

    async def retry(self, path: bytes) -> int:
        """Raises `NotFound`."""
        ...

    async def export(self, path: bytes, to: Path, *, progress: Progress) -> dict[str, object]:
        """Raises `NotFound`, and OSError if nothing can be put to `to`."""
        ...

    async def sync(self, path: bytes, *, progress: Progress) -> dict[str, object]:
        """Raises `NotFound`, and `StoreUnreachable`."""
        ...

    def tune(self, **limits: object) -> dict[str, object]:
        """Raises `ConfigError`."""
        ...


class Steering:
    """Carries out the commands in `by_name`."""

    def __init__(self, volume: Steerable, mountpoint: Path) -> None:
        self._volume = volume
        self._mountpoint = mountpoint
        self.by_name: dict[str, Callable[[Message, Progress], Awaitable[Message]]] = {
            "pause": self._pause,
            "resume": self._resume,
            "retry": self._retry,
            "export": self._export,
            "tune": self._tune,
            "sync": self._sync,
        }

    async def _pause(self, request: Message, progress: Progress) -> Message:
        await self._volume.pause(_path(request))
        return {}

    async def _resume(self, request: Message, progress: Progress) -> Message:
        return {"resumed": await self._volume.resume(_path(request))}

    async def _retry(self, request: Message, progress: Progress) -> Message:
        return {"retried": await self._volume.retry(_path(request))}

    async def _export(self, request: Message, progress: Progress) -> Message:
        to = Path(os.fsdecode(b"/" + path_bytes(request.get("to"))))
        if to == self._mountpoint or self._mountpoint in to.parents:
            raise ControlError(f"{to} is on the mount itself", kind="usage", exit_code=ExitCode.USAGE)
        try:
            return await self._volume.export(_path(request), to, progress=progress)
        except OSError as exc:
            raise ControlError(f"{to}: {exc.strerror}") from exc

    async def _sync(self, request: Message, progress: Progress) -> Message:
        try:
            return await self._volume.sync(_path(request), progress=progress)
        except StoreUnreachable as exc:
            raise ControlError(
                f"{exc}; what was not looked at is believed as before: sync again when it is back"
            ) from exc

    async def _tune(self, request: Message, progress: Progress) -> Message:
        limits = request.get("limits")
        if not isinstance(limits, dict) or not all(map(_is_limit, limits.values())):
            raise ControlError("`limits` must be numbers by their names", kind="protocol", exit_code=ExitCode.USAGE)
        try:
            return self._volume.tune(**limits)
        except (ConfigError, TypeError) as exc:
            raise ControlError(str(exc), kind="usage", exit_code=ExitCode.USAGE) from exc


def _path(request: Message) -> bytes:
    return path_bytes(request.get("path", ""))


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
