"""Leaving: drain, then unmount, and nothing lost if that is cut short anywhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from fusecache.control.protocol import ControlError
from fusecache.types import FlushProgress

log = logging.getLogger(__name__)
Tell = Callable[[FlushProgress], None]


class Drainable(Protocol):
    def stat_mount(self) -> dict[str, Any]: ...

    async def flush(self, path: bytes, *, progress: Tell) -> FlushProgress: ...

    async def tidy(self) -> None: ...


class StillBusy(ControlError):
    """Somebody has files open on the mount."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended."""

    progress: FlushProgress
    deadline_passed: bool

    @property
    def is_complete(self) -> bool:
        return not self.deadline_passed and not self.progress.stuck and not self.progress.paused

    def as_dict(self) -> dict[str, object]:
        return self.progress.as_dict() | {"deadline_passed": self.deadline_passed}


async def drain(volume: Drainable, path: bytes, *, deadline_s: float | None, tell: Tell) -> Drained:
    """Wait until what is under `path` is persisted, stuck or paused, at most `deadline_s`.

    A cancellation leaves everything as it was: the drain goes on without being waited for.
    """
    newest = what_is_left(volume)

    def note(progress: FlushProgress) -> None:
        nonlocal newest
        newest = progress
        tell(progress)

    with trio.move_on_after(float("inf") if deadline_s is None else deadline_s) as patience:
        newest = await volume.flush(path, progress=note)
    return Drained(newest, patience.cancelled_caught)


def what_is_left(volume: Drainable) -> FlushProgress:
    """Return what the whole mount still lacks in the store, without waiting for anything."""
    facts = volume.stat_mount()
    return FlushProgress(
        files_left=facts["files_dirty"],
        bytes_left=facts["bytes_dirty"],
        stuck=tuple(facts["stuck"]),
        paused=facts["files_paused"],
    )


class Departure:
    """Ends a mount in order. Two may run at once (a signal during an umount): the second finds it done."""

    def __init__(self, volume: Drainable, unmount: Callable[[], Awaitable[None]]) -> None:
        self._volume = volume
        self._unmount = unmount
        self._leaving = 0
        self._settled = trio.Event()

    @property
    def is_under_way(self) -> bool:
        return self._leaving > 0

    async def settled(self) -> None:
        """Return when no departure is under way."""
        while self._leaving:
            await self._settled.wait()

    async def leave(self, *, flush: bool, deadline_s: float | None, tell: Tell) -> tuple[Drained, bool]:
        """Drain if `flush`, then unmount; return how it went and whether it is unmounted.

        With `flush` it stays mounted if the drain is not complete.

        Raises:
            StillBusy: files are open; it stays mounted.
        """
        with self._counted():
            until = trio.current_time() + (float("inf") if deadline_s is None else deadline_s)
            if not flush:
                await self._unmount()
                return Drained(what_is_left(self._volume), deadline_passed=False), True
            drained = await drain(self._volume, b"", deadline_s=deadline_s, tell=tell)
            if not drained.is_complete:
                return drained, False
            await self._unmount()
            # What was closed while we unmounted; nothing can come after it.
            left_s = max(0.0, until - trio.current_time())
            drained = await drain(self._volume, b"", deadline_s=left_s, tell=tell)
            with trio.move_on_at(until):
                await self._volume.tidy()
            return drained, True

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._leaving += 1
        try:
            yield
        finally:
            self._leaving -= 1
            if not self._leaving:
                self._settled.set()
                self._settled = trio.Event()
