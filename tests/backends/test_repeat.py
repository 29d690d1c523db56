"""A request of several is sent again a few times, on a clock that the test owns."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.repeat import Repeats
from fusecache.errors import BackendUnavailable, Miswritten, NoSuchObject, PreconditionFailed, Throttled

LOST, SLOWER, GONE = BackendUnavailable("lost"), Throttled("slower"), NoSuchObject("gone")


class Request:
    """Ends as it is told to, one time after the other; then well."""

    def __init__(self, *ends: Exception, takes_s: float = 0.0) -> None:
        self._ends = list(ends)
        self._takes_s = takes_s
        self.asked_at: list[float] = []

    async def __call__(self) -> str:
        self.asked_at.append(trio.current_time())
        await trio.sleep(self._takes_s)
        if self._ends:
            raise self._ends.pop(0)
        return "well"


@pytest.fixture
def repeats() -> Repeats:
    return Repeats(random.Random(1))


def ways(repeats: Repeats) -> list[Callable[[Request], Awaitable[str]]]:
    return [repeats.ask, repeats.send]


@pytest.mark.parametrize("way", [0, 1], ids=["ask", "send"])
async def test_it_is_sent_again(repeats: Repeats, way: int, autojump_clock: MockClock) -> None:
    request = Request(LOST, SLOWER, LOST)
    assert await ways(repeats)[way](request) == "well"
    assert len(request.asked_at) == 4
    assert trio.current_time() < 1.0


@pytest.mark.parametrize("way", [0, 1], ids=["ask", "send"])
async def test_not_for_ever(repeats: Repeats, way: int, autojump_clock: MockClock) -> None:
    request = Request(*[LOST] * 5)
    with pytest.raises(BackendUnavailable):
        await ways(repeats)[way](request)
    assert len(request.asked_at) == 4


async def test_the_store_is_obeyed(repeats: Repeats, autojump_clock: MockClock) -> None:
    request = Request(Throttled("slower", retry_after_s=3.0))
    assert await repeats.ask(request) == "well"
    assert request.asked_at == [0.0, 3.0]


@pytest.mark.parametrize(
    "request_",
    [
        Request(Throttled("much slower", retry_after_s=30.0)),
        Request(LOST, takes_s=10.0),
        Request(Miswritten("other bytes")),
        Request(GONE),
    ],
    ids=["later", "an outage", "miswritten", "refused"],
)
async def test_what_is_not_sent_again(repeats: Repeats, request_: Request, autojump_clock: MockClock) -> None:
    with pytest.raises((Throttled, BackendUnavailable, Miswritten, NoSuchObject)):
        await repeats.ask(request_)
    assert len(request_.asked_at) == 1


async def test_throttled_attempts_are_told(repeats: Repeats, autojump_clock: MockClock) -> None:
    told: list[float] = []
    request = Request(SLOWER, LOST, SLOWER)
    await repeats.send(request, told.append)
    assert told == [request.asked_at[0], request.asked_at[2]]
    with pytest.raises(Throttled):
        await repeats.ask(Request(*[SLOWER] * 9), told.append)
    assert len(told) == 5, "who gets the last one knows"


async def test_a_refusal_after_what_had_no_answer_says_nothing(repeats: Repeats, autojump_clock: MockClock) -> None:
    refused = PreconditionFailed("another version: maybe the one that was just sent")
    with pytest.raises(BackendUnavailable, match="lost"):
        await repeats.send(Request(LOST, SLOWER, refused))
    with pytest.raises(PreconditionFailed):
        await repeats.send(Request(SLOWER, refused))
    with pytest.raises(PreconditionFailed):
        await repeats.ask(Request(LOST, refused))
