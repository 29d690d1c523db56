"""Whose turn it is to read requests: the `trio` that pyfuse3 works with, with one switch of tasks a request less.

pyfuse3's workers hand a lock on, each to the next, before they answer what they have read: two more steps of the
scheduler and an epoll_wait(2) a request, 10-15 µs, though nearly all are answered at once. Here the worker that has
read a request keeps its turn, and gives it away when the request has to wait for something. `pyfuse3.trio` is a
variable for such replacements: pyfuse3.asyncio sets it, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pyfuse3
import trio

from fusecache.fs.transport.stepping import run

_IDLE_WORKERS = 8
"""So many wait for a turn; more end, as each has a buffer of up to 1 MiB."""

_WORKERS = 1000
"""So many requests may wait; more are not even read, and neither is anybody's `ls`. Of its buffer each takes what it
has read, mostly one page."""

Handler = Callable[..., Coroutine[Any, Any, Any]]


async def answer_requests(operations: pyfuse3.Operations) -> None:
    """Run pyfuse3's main loop for `operations`, which it was initialised with, until the mount is gone."""
    turns = Turns()
    for name in dir(pyfuse3.Operations):
        if not name.startswith("_") and callable(handler := getattr(operations, name)):
            setattr(operations, name, turns.giving_way(handler))
    pyfuse3.trio = turns  # type: ignore[attr-defined]  # its stubs leave it out
    await pyfuse3.main(min_tasks=_IDLE_WORKERS, max_tasks=_WORKERS)


class Turns:
    """The parts of `trio` that pyfuse3 uses. It takes the one lock it makes before it waits for a request."""

    lowlevel = trio.lowlevel
    ClosedResourceError = trio.ClosedResourceError

    def __init__(self) -> None:
        self._reader: trio.lowlevel.Task | None = None
        """Who reads the next request, or handles one that has not had to wait so far."""
        self._waiting: list[trio.lowlevel.Task] = []

    def __repr__(self) -> str:
        return f"<Turns {self._reader!r}, {len(self._waiting)} more>"

    def giving_way(self, handler: Handler) -> Callable[..., Awaitable[Any]]:
        """Return a handler whose requests give their turn away when they have to wait."""

        def handle(*args: Any) -> Awaitable[Any]:
            return run(handler(*args), self._give_away)

        return handle

    def Lock(self) -> Turns:  # noqa: N802 - trio's name
        """Return what is held from before a request is read until it is answered, or has to wait."""
        return self

    async def __aenter__(self) -> None:
        task = trio.lowlevel.current_task()
        if self._reader is None:
            self._reader = task
        elif self._reader is not task:
            self._waiting.append(task)
            await trio.lowlevel.wait_task_rescheduled(self._abort_of(task))

    async def __aexit__(self, *_: object) -> None:
        """Keep the turn."""

    @asynccontextmanager
    async def open_nursery(self) -> AsyncIterator[Turns.Nursery]:
        """Return a nursery for workers: one that ends has no turn any more."""
        async with trio.open_nursery() as nursery:
            yield Turns.Nursery(nursery, self._give_away)

    class Nursery:
        def __init__(self, nursery: trio.Nursery, at_end: Callable[[], None]) -> None:
            self._nursery = nursery
            self._at_end = at_end

        def start_soon(self, worker: Callable[..., Awaitable[None]], *args: Any, name: object = None) -> None:
            async def run() -> None:
                try:
                    await worker(*args)
                finally:
                    self._at_end()

            self._nursery.start_soon(run, name=name)

    def _give_away(self) -> None:
        """The running task does not read now: somebody else does, if there is anybody."""
        if self._reader is trio.lowlevel.current_task():
            self._reader = self._waiting.pop() if self._waiting else None
            if self._reader is not None:
                trio.lowlevel.reschedule(self._reader)

    def _abort_of(self, task: trio.lowlevel.Task) -> Callable[[object], trio.lowlevel.Abort]:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        return abort
