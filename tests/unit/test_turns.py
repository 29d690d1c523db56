"""Workers take turns at reading requests: one at a time, and a request that waits keeps nobody from reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fusecache.fs.transport.turns import Turns


class Requests:
    """What workers read and answer, as pyfuse3's do it. A request is what its handler does; None ends a worker."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.lock = self.turns.Lock()
        self.sent: deque[Callable[[], Awaitable[None]] | None] = deque()
        self.arrived = trio.Event()
        self.readers = 0
        self.read_by: list[str] = []

    def send(self, request: Callable[[], Awaitable[None]] | None) -> None:
        self.sent.append(request)
        self.arrived.set()

    async def work(self) -> None:
        while True:
            async with self.lock:
                self.readers += 1
                assert self.readers == 1, "two read at a time"
                try:
                    while not self.sent:
                        self.arrived = trio.Event()
                        await self.arrived.wait()
                finally:
                    self.readers -= 1
            self.read_by.append(trio.lowlevel.current_task().name)
            request = self.sent.popleft()
            if request is None:
                return
            await self.turns.giving_way(request)()  # type: ignore[arg-type]  # what takes a function


async def at_once() -> None:
    """Answer without waiting for anything."""


async def running(requests: Requests, workers: int, then: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as outer:

        @outer.start_soon
        async def run() -> None:
            async with requests.turns.open_nursery() as nursery:
                for number in range(workers):
                    nursery.start_soon(requests.work, name=f"worker {number}")

        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            await then()
        outer.cancel_scope.cancel()


async def test_who_answers_at_once_reads_on() -> None:
    requests = Requests()

    async def then() -> None:
        for _ in range(5):
            requests.send(at_once)
            await wait_all_tasks_blocked()
        assert len(requests.read_by) == 5
        assert len(set(requests.read_by)) == 1

    await running(requests, 3, then)


async def test_while_a_request_waits_others_are_read() -> None:
    requests = Requests()
    gate = trio.Event()
    answered: list[str] = []

    async def waiting() -> None:
        await gate.wait()
        answered.append("late")

    async def quick() -> None:
        answered.append("at once")

    async def then() -> None:
        for request in (waiting, quick, waiting, quick):
            requests.send(request)
            await wait_all_tasks_blocked()
        assert answered == ["at once", "at once"]
        gate.set()
        await wait_all_tasks_blocked()
        assert answered[2:] == ["late", "late"]
        requests.send(quick)
        await wait_all_tasks_blocked()
        assert answered[4:] == ["at once"]

    await running(requests, 3, then)


async def test_when_all_wait_the_first_that_is_done_reads() -> None:
    requests = Requests()
    gates = [trio.Event(), trio.Event()]
    waits = iter(gates)

    async def waiting() -> None:
        await next(waits).wait()

    async def then() -> None:
        for request in (waiting, waiting, at_once):
            requests.send(request)
        await wait_all_tasks_blocked()
        assert len(requests.read_by) == 2
        gates[1].set()
        await wait_all_tasks_blocked()
        assert requests.read_by[2] == requests.read_by[1]

    await running(requests, 2, then)


async def test_a_worker_that_ends_leaves_its_turn_to_the_next() -> None:
    requests = Requests()

    async def then() -> None:
        requests.send(None)
        requests.send(at_once)
        await wait_all_tasks_blocked()
        assert len(set(requests.read_by)) == 2

    await running(requests, 2, then)


async def test_an_error_after_waiting_is_the_handlers_own() -> None:
    turns = Turns()

    async def failing() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("of the handler")

    with pytest.raises(ValueError, match="of the handler"):
        await turns.giving_way(failing)()


async def test_a_cancelled_request_is_told() -> None:
    turns = Turns()
    was_told = False

    async def waiting() -> None:
        nonlocal was_told
        try:
            await trio.sleep_forever()
        finally:
            was_told = True

    with trio.move_on_after(0.01):
        await turns.giving_way(waiting)()
    assert was_told
