from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.hedge import Hedge, Lateness
from fusecache.errors import BackendUnavailable

SIZE = 1000
USUAL_S = 0.1


class Store:
    """Answers each request after the next of these delays, with its number."""

    def __init__(self, delays: Iterator[float | Exception]) -> None:
        self._delays = delays
        self.asked = 0
        self.cancelled = 0

    async def get(self) -> bytes:
        self.asked += 1
        number, delay = self.asked, next(self._delays)
        if isinstance(delay, Exception):
            await trio.sleep(USUAL_S)
            raise delay
        try:
            await trio.sleep(delay)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return b"%d" % number


def delays(*last: float | Exception, usual: int = 30) -> Iterator[float | Exception]:
    yield from [1.2 * USUAL_S] * 3  # so that what is usual does not end in the very moment in which it becomes late
    yield from [USUAL_S] * (usual - 3)
    yield from last


@pytest.fixture
def warmed() -> Callable[..., object]:
    async def make(*last: float | Exception, is_on: bool = True) -> tuple[Hedge, Store]:
        hedge, store = Hedge(is_on=is_on), Store(delays(*last))
        for _ in range(30):
            await hedge.ask(store.get, SIZE)
        return hedge, store

    return make


def test_what_is_late_is_told_by_what_came_before() -> None:
    lateness = Lateness()
    for n in range(19):
        lateness.note(SIZE, n / 100)
    assert lateness.late_s(SIZE) is None
    for n in range(19, 100):
        lateness.note(SIZE, n / 100)
    assert lateness.late_s(SIZE) == 0.95
    assert lateness.late_s(100 * SIZE) is None
    for _ in range(200):
        lateness.note(SIZE, 2.0)
    assert lateness.late_s(SIZE) == 2.0


async def test_a_late_answer_is_asked_for_again_and_the_other_one_is_cancelled(
    autojump_clock: MockClock, warmed: Callable[..., object]
) -> None:
    hedge, store = await warmed(9.0, 0.05)  # type: ignore[misc]  # a coroutine
    began_s = trio.current_time()
    assert await hedge.ask(store.get, SIZE) == b"32"
    assert trio.current_time() - began_s < 0.2
    assert (hedge.sent, hedge.won, store.cancelled) == (1, 1, 1)


async def test_the_first_answer_counts_if_it_comes_first(
    autojump_clock: MockClock, warmed: Callable[..., object]
) -> None:
    hedge, store = await warmed(0.15, 9.0)  # type: ignore[misc]  # a coroutine
    assert await hedge.ask(store.get, SIZE) == b"31"
    assert (hedge.sent, hedge.won, store.cancelled) == (1, 0, 1)


async def test_who_did_not_ask_for_it_has_one_request(autojump_clock: MockClock, warmed: Callable[..., object]) -> None:
    hedge, store = await warmed(9.0, is_on=False)  # type: ignore[misc]  # a coroutine
    assert await hedge.ask(store.get, SIZE) == b"31"
    assert (hedge.sent, store.asked) == (0, 31)


async def test_a_failure_is_no_lateness(autojump_clock: MockClock, warmed: Callable[..., object]) -> None:
    hedge, store = await warmed(BackendUnavailable("first"))  # type: ignore[misc]  # a coroutine
    with pytest.raises(BackendUnavailable, match="first"):
        await hedge.ask(store.get, SIZE)
    assert hedge.sent == 0


async def test_a_second_one_that_fails_leaves_the_first_one_its_time(
    autojump_clock: MockClock, warmed: Callable[..., object]
) -> None:
    hedge, store = await warmed(1.0, BackendUnavailable("second"))  # type: ignore[misc]  # a coroutine
    assert await hedge.ask(store.get, SIZE) == b"31"
    assert (hedge.sent, hedge.won) == (1, 0)


async def test_a_slow_store_is_not_asked_for_everything_twice(autojump_clock: MockClock) -> None:
    hedge, store = Hedge(is_on=True), Store(delays(*([0.2, 0.2] * 200), usual=100))
    for _ in range(200):
        await hedge.ask(store.get, SIZE)
    assert hedge.sent <= 0.1 * 200


async def test_a_cancellation_ends_both(autojump_clock: MockClock, warmed: Callable[..., object]) -> None:
    hedge, store = await warmed(9.0, 9.0)  # type: ignore[misc]  # a coroutine
    with trio.move_on_after(1) as patience:
        await hedge.ask(store.get, SIZE)
    assert patience.cancelled_caught
    assert store.cancelled == 2
