"""A store that is away for an hour is a normal day: work goes on, little is asked, and then the drain is at speed."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.backends.pace import Paced, Pacer, Priority
from fusecache.backends.pace.knobs import Aimd, Limits
from fusecache.errors import BackendUnavailable
from fusecache.persist.plan import Planner
from tests.amounts import SEED, amount
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import MEMORY

T = TypeVar("T")

HOUR_S = 3600.0
FILES = amount("FUSECACHE_BACKLOG", usual=600, soak=100_000)
ROUNDS = 60
PROBES_S = 5.0
"""How often it is asked whether it is back, at the latest."""
REQUESTS = 2 * HOUR_S / PROBES_S
RESIDENT_BYTES = 300 << 20
RATE = 1000.0
"""Writes a second that a store may be sent at once, so that it is known how long a drain takes."""


class DarkBackend(FaultyBackend):
    """Answers nobody while it `is_dark`: each request ends after `ends_s`."""

    def __init__(self, inner: RecordedStore, *, ends_s: float) -> None:
        super().__init__(inner, fail_at=None, failure=BackendUnavailable("never"))
        self.is_dark = False
        self.asked = 0
        self._ends_s = ends_s

    async def _call(self, request: Coroutine[Any, Any, T]) -> T:
        if not self.is_dark:
            return await super()._call(request)
        request.close()
        self.asked += 1
        await trio.sleep(self._ends_s)
        raise BackendUnavailable("no route to host")


class Work:
    """Files that come, get another name, and go, and what is left of them."""

    def __init__(self, world: Drained) -> None:
        self._world = world
        self._rng = random.Random(SEED)
        self.left: dict[str, bytes] = {}

    async def some(self, round_no: int) -> None:
        """A directory of files, of which every third has another name then, and every fifth is gone."""
        directory = f"d{round_no}"
        await self._world.mkdir(directory)
        for n in range(FILES // ROUNDS):
            path, data = f"{directory}/{n}", b"%d" % self._rng.randrange(1 << 30)
            await self._world.write_file(path, data)
            self.left[path] = data
            if n % 3 == 0:
                await self._world.rename(path, f"{path}-renamed")
                self.left[f"{path}-renamed"] = self.left.pop(path)
            elif n % 5 == 0:
                await self._world.unlink(path)
                del self.left[path]
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def a_dark_world(store: RecordedStore, ends_s: float) -> AsyncIterator[tuple[Drained, DarkBackend]]:
    dark, pacer = DarkBackend(store, ends_s=ends_s), Pacer(Aimd(initial_rate=RATE), Limits())
    paced = Paced(dark, pacer, Priority.DRAIN)
    with TemporaryDirectory(dir=MEMORY) as root:
        async with a_drained_world(Path(root), store, through=paced, pacer=pacer) as world:
            yield world, dark


async def drained_s(world: Drained) -> float:
    """Return how long it is until nothing is left."""
    began = trio.current_time()
    with trio.fail_after(HOUR_S):
        while world.tasks_left():  # noqa: ASYNC110 - a flush would tell, and hurry what has to wait
            await trio.sleep(0.1)
    return trio.current_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("ends_s", [0.0, 10.0], ids=["refuses", "swallows"])
async def test_an_hour_without_a_store_costs_little(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ends_s: float,
) -> None:
    steps, plan = 0, Planner.plan

    def counted(self: Planner, **arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        return plan(self, **arguments)

    monkeypatch.setattr(Planner, "plan", counted)
    store, before = RecordedStore(), resident_bytes()
    async with a_dark_world(store, ends_s) as (world, dark):
        tasks = trio.lowlevel.current_statistics().tasks_living
        dark.is_dark, work, told, most = True, Work(world), len(caplog.records), 0
        for round_no in range(ROUNDS):
            await work.some(round_no)
            await trio.sleep(HOUR_S / ROUNDS)
            most = max(most, trio.lowlevel.current_statistics().tasks_living)
            assert dark.asked <= REQUESTS
        assert steps <= 10 * REQUESTS + FILES
        assert most - tasks < 100
        assert len(caplog.records) - told < 10
        assert len(work.left) <= world.persister.report().files_dirty <= FILES
        assert resident_bytes() - before < RESIDENT_BYTES
        dark.is_dark = False
        assert await drained_s(world) < PROBES_S + ends_s + 2 * FILES / RATE + 1
        assert store.objects() == work.left


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
