"""The life of one mount: made, announced, served, left."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import trio

from fusecache.config import Config
from fusecache.control.server import ControlServer
from fusecache.daemon.commands import Commands, Inspectable
from fusecache.daemon.departure import Departure, Drained
from fusecache.daemon.reporting import Starter, Supervisor
from fusecache.errors import FusecacheError
from fusecache.nurseries import unwrapped
from fusecache.types import FlushProgress

log = logging.getLogger(__name__)
_LAST_WORDS_S = 2.0  # for the answers of commands that ended with the mount

_SIGNS = 4
"""Signs of life in the time after which somebody would be taken for dead."""
_DETACH_S = 60.0  # to unmount, and to close what is open

Transport = Callable[[Callable[[], None]], Awaitable[None]]
"""Mounts, calls back once the kernel is answered, and serves until unmounted or cancelled."""


class Runnable(Inspectable, Protocol):
    async def run(self) -> None: ...


class Service:
    """Runs a volume behind a transport until somebody unmounts it, or a signal asks for it.

    The first SIGTERM or SIGINT drains, for as long as `stop_deadline` says, then unmounts; the second
    unmounts at once. Whatever is not persisted then stays in the cache and goes on with the next mount.
    """

    def __init__(
        self,
        config: Config,
        volume: Runnable,
        *,
        transport: Transport,
        unmount: Callable[[], Awaitable[None]],
        control_socket: Callable[[], AbstractContextManager[socket.socket]],
        starter: Starter,
        supervisor: Supervisor,
        ready: Callable[[], None] = lambda: None,
        alive: Callable[[], None] = lambda: None,
        watched_s: float | None = None,
        hand_over: Callable[[], None] | None = None,
    ) -> None:
        """`ready` is called once requests are answered, and `alive` again and again while the loop goes on, if somebody
        looks for that at least every `watched_s`. `hand_over` has the transport end, and the mount stay for the
        next process; None: there would be none."""
        self._config = config
        self._volume = volume
        self._transport = transport
        self._control_socket = control_socket
        self._starter = starter
        self._supervisor = supervisor
        self._ready = ready
        self._alive = alive
        self._watched_s = watched_s
        self._departure = Departure(volume, unmount)
        self._commands = Commands(config, volume, self._departure, hand_over=hand_over)
        self._server = ControlServer(self._commands.answer)
        self._mounted = trio.Event()
        self._asked_to_leave = trio.Event()
        self._serving = trio.CancelScope()
        self._settling = trio.CancelScope()

    async def run(self) -> None:
        """Mount and serve; return when it is unmounted.

        Raises:
            FusecacheError: it couldn't be mounted. Anything else is a bug; it is unmounted then, too.
        """
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._volume.run)
                nursery.start_soon(self._leave_when_asked)
                nursery.start_soon(self._announce)
                if self._watched_s is not None:
                    nursery.start_soon(self._show_life, self._watched_s / _SIGNS)
                with self._serving:
                    await self._transport(self._mounted.set)
                await self._last_words()
                nursery.cancel_scope.cancel()

    @property
    def leaves_at_once(self) -> bool:
        """Whether the transport is cancelled because the mount is to go, and not as something has failed."""
        return self._serving.cancel_called

    def signalled(self, number: int) -> None:
        """Heed a SIGTERM or SIGINT."""
        name = signal.Signals(number).name
        if self._mounted.is_set() and not self._asked_to_leave.is_set():
            log.warning("%s: draining, then unmounting; a second signal unmounts at once", name)
            self._asked_to_leave.set()
        else:
            log.warning("%s: unmounting at once; the next mount goes on with what is left", name)
            self._serving.cancel()
            self._settling.cancel()

    async def _announce(self) -> None:
        """Once mounted: open the control socket, then tell whoever waits."""
        await self._mounted.wait()
        with self._control_socket() as listener:
            self._ready()
            self._starter.ready()
            self._supervisor.ready(str(self._config.mountpoint), self._config.store)
            log.info("%s is mounted on %s", self._config.store, self._config.mountpoint)
            await self._server.serve(listener)

    async def _show_life(self, every_s: float) -> None:
        """Of the loop alone: a store, or a disk in a thread, may hang for as long as it does."""
        while True:
            self._alive()
            self._supervisor.alive()
            await trio.sleep(every_s)

    async def _leave_when_asked(self) -> None:
        await self._asked_to_leave.wait()
        await self._leave()

    async def _leave(self) -> None:
        """Drain and unmount as a signal asks for it: what is stuck, open or late does not keep the mount up."""
        deadline_s = self._config.stop_deadline_s
        self._supervisor.stopping(deadline_s + _DETACH_S)
        try:
            drained, unmounted = await self._departure.leave(
                flush=True, deadline_s=deadline_s, tell=self._supervisor.draining
            )
            if not unmounted:
                log.warning("%s", _what_is_left(drained))
                _, unmounted = await self._departure.leave(flush=False, deadline_s=None, tell=_tell_nobody)
        except FusecacheError as exc:
            log.warning("unmounting without a complete drain: %s", exc)
            unmounted = False
        if not unmounted:
            self._serving.cancel()  # the transport detaches: open files fail, what they wrote is kept

    async def _last_words(self) -> None:
        """The mount is gone: let departures finish their drain, and everybody get an answer."""
        self._commands.release_barriers()
        with self._settling:
            await self._departure.settled()
        with trio.move_on_after(_LAST_WORDS_S):
            await self._server.idle()
        log.info("%s is served no more by this process", self._config.mountpoint)


def _what_is_left(drained: Drained) -> str:
    left = drained.progress
    why = "the deadline passed" if drained.deadline_passed else f"{len(left.stuck)} stuck, {left.paused} paused"
    return (
        f"unmounting with {left.files_left} changes, {left.bytes_left} bytes not in the store ({why}): "
        "they are kept, and the next mount goes on with them"
    )


def _tell_nobody(_: FlushProgress) -> None:
    """Nothing is drained."""
