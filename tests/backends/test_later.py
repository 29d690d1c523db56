"""A store that is opened after the first answers: who asks before that waits, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fusecache.backends.base import Backend
from fusecache.backends.later import Later
from fusecache.backends.memory import MemoryBackend
from fusecache.errors import ConfigError
from fusecache.nurseries import unwrapped
from fusecache.types import Capabilities, Extent, ObjectKey
from tests.backends.helpers import put

EXPECTED = Capabilities(max_key_bytes=77)
KEY = ObjectKey("a")


class Opening:
    """Opens a store in memory, and remembers what happened when."""

    def __init__(self) -> None:
        self.store = MemoryBackend()
        self.said: list[str] = []
        self.later = Later("memory://", EXPECTED, prepare=self._prepare, opened=self._opened)
        self.backend = cast("Backend", self.later)

    def _prepare(self) -> None:
        assert threading.current_thread() is not threading.main_thread(), "the loop would wait for it"
        self.said.append("prepared")

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Backend]:
        self.said.append("opened")
        try:
            yield self.store
        finally:
            self.said.append("closed")


async def test_who_asks_before_it_is_open_is_answered_then(autojump_clock: MockClock) -> None:
    opening = Opening()
    await put(opening.store, KEY, b"bytes")
    told: list[bytes] = []
    answered = trio.Event()

    async def ask() -> None:
        told.append(await opening.backend.get(KEY, Extent(0, 5), if_match=None))
        answered.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert opening.backend.capabilities == EXPECTED
        assert (told, opening.said) == ([], [])
        nursery.start_soon(opening.later.run)
        await answered.wait()  # with no deadline: this clock jumps while a thread works
        assert opening.said == ["prepared", "opened"]
        assert opening.backend.capabilities == opening.store.capabilities
        await ask()
        nursery.cancel_scope.cancel()
    assert told == [b"bytes"] * 2
    assert opening.said == ["prepared", "opened", "closed"]


async def test_what_cannot_be_opened_ends_whoever_runs_it(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def refused() -> AsyncIterator[Backend]:
        raise ConfigError("no such profile")
        yield

    later = Later("s3://b", EXPECTED, prepare=lambda: None, opened=refused)

    async def ask() -> None:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(later.run)
                await cast("Backend", later).check()

    with pytest.raises(ConfigError, match="no such profile"):
        await ask()


def test_only_what_a_store_has_is_asked_for() -> None:
    with pytest.raises(AttributeError):
        Opening().later._nothing  # noqa: B018  # looking is what is tested
