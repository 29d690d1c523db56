"""Requests through a pacer, on a clock that the test owns."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.memory import MemoryBackend
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority, RequestClass
from fusecache.backends.repeat import Repeats
from fusecache.backends.sources import BytesSource
from fusecache.errors import BackendUnavailable, NoSuchObject, Throttled
from fusecache.types import ObjectInfo, ObjectKey
from tests.backends.helpers import key, put


class Store(MemoryBackend):
    """Answers HEADs after a while, with what the test says."""

    def __init__(self, *, takes_s: float = 0.01) -> None:
        super().__init__()
        self.takes_s = takes_s
        self.failure: Exception | None = None
        self.asked_at: list[float] = []
        self.in_flight = self.most_in_flight = 0

    async def head(self, key: ObjectKey) -> ObjectInfo:
        self.asked_at.append(trio.current_time())
        async with self._busy():
            await trio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        return await super().head(key)

    @asynccontextmanager
    async def _busy(self) -> AsyncIterator[None]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        yield
        self.in_flight -= 1


def pacer(limits: Limits = Limits(), **knobs: float) -> Pacer:  # noqa: B008 - frozen
    return Pacer(Aimd(**knobs), limits)  # type: ignore[arg-type]  # `enabled` is none of them


async def many(count: int, request: Callable[[int], Awaitable[object]], *, at_once: int = 64) -> list[Exception]:
    errors: list[Exception] = []
    limiter = trio.CapacityLimiter(at_once)

    async def one(number: int) -> None:
        async with limiter:
            try:
                await request(number)
            except (BackendUnavailable, Throttled, NoSuchObject) as exc:
                errors.append(exc)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return errors


async def test_request_rate_is_kept(autojump_clock: MockClock) -> None:
    store = Store()
    paced = Paced(store, pacer(Limits(requests_per_s=10.0)), Priority.DRAIN)
    await many(31, lambda _: paced.head(key("absent")))
    assert trio.current_time() == pytest.approx(3.01, abs=0.05)


async def test_upload_limit_is_kept(autojump_clock: MockClock) -> None:
    set_pace = pacer(Limits(upload_bytes_per_s=1000.0))
    paced = Paced(Store(), set_pace, Priority.DRAIN)
    for number in range(4):
        await paced.put(key(f"k{number}"), BytesSource(b"x" * 500), metadata={})
    assert trio.current_time() == pytest.approx(1.5, abs=0.05), "the first goes at once"
    assert set_pace.reason() == "upload-limit"
    set_pace.tune(Limits())
    before_s = trio.current_time()
    await paced.put(key("k"), BytesSource(b"x" * 500), metadata={})
    assert trio.current_time() - before_s < 0.05
    assert set_pace.limits == Limits()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(upload_bytes_per_s=1.0), "upload-limit"),
        (Limits(requests_per_s=0.01), "the pace that the store accepts, or request-rate"),
    ],
)
async def test_who_waits_for_long_is_held_all_the_time(limits: Limits, reason: str, autojump_clock: MockClock) -> None:
    set_pace = pacer(limits)
    paced = Paced(Store(), set_pace, Priority.DRAIN)
    await paced.put(key("a"), BytesSource(b"x" * 60), metadata={})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: paced.put(key("b"), BytesSource(b"x" * 60), metadata={}))
        await trio.sleep(50.0)
        assert set_pace.reason() == reason
        set_pace.tune(Limits())
    assert trio.current_time() == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize("limits", [Limits(upload_bytes_per_s=1.0), Limits(requests_per_s=0.001)])
async def test_a_limit_that_is_lifted_holds_nobody_up_who_waits_already(
    limits: Limits, autojump_clock: MockClock
) -> None:
    store, set_pace = Store(), pacer(limits)
    paced = Paced(store, set_pace, Priority.DRAIN)

    async def one(number: int) -> None:
        await paced.put(key(f"k{number}"), BytesSource(b"x" * 500), metadata={})

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, number)
        await trio.sleep(1.0)
        set_pace.tune(Limits(upload_bytes_per_s=1000.0))
    assert trio.current_time() == pytest.approx(1.0 + 3 * 0.5, abs=0.1), "by the new one"


async def test_a_reader_waits_for_no_drain(autojump_clock: MockClock) -> None:
    set_pace = pacer(Limits(requests_per_s=10.0))
    drain, reader = (Paced(Store(), set_pace, each) for each in (Priority.DRAIN, Priority.READER))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(many, 30, lambda _: drain.head(key("absent")))
        await trio.sleep(1.0)
        before_s = trio.current_time()
        with pytest.raises(NoSuchObject):
            await reader.head(key("absent"))
        assert trio.current_time() - before_s < 0.05
        nursery.cancel_scope.cancel()
    assert "{}" in repr(set_pace)


async def test_a_store_that_does_not_answer_is_asked_by_one(autojump_clock: MockClock) -> None:
    store, set_pace = Store(), pacer()
    paced = Paced(store, set_pace, Priority.DRAIN)
    store.failure = BackendUnavailable("dark")
    await many(3, lambda _: paced.head(key("absent")))
    assert (set_pace.reason() or "").startswith("the store: no answer for")
    dark_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(many, 200, lambda _: paced.head(key("absent")))
        await trio.sleep(60.0)
        asked = [at_s for at_s in store.asked_at if at_s > dark_s]
        assert 10 <= len(asked) <= 30
        store.failure = None
        await trio.sleep(6.0)
        assert len(store.asked_at) > 180, "within a probe of its end all go on"
    assert "no answer" not in (set_pace.reason() or "")


async def test_who_was_promised_a_turn_far_ahead_goes_when_the_store_takes_more(autojump_clock: MockClock) -> None:
    store, knobs = Store(), Aimd()
    paced = Paced(store, pacer(), Priority.DRAIN)
    store.failure = Throttled("all of it")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(many, 10_000, lambda _: paced.head(key("absent")))
        await trio.sleep(60.0)
        store.failure = None
        await trio.sleep(1 / knobs.min_rate + 10.0)
        asked = [at_s for at_s in store.asked_at if at_s > trio.current_time() - 1.0]
        nursery.cancel_scope.cancel()
    assert len(asked) >= 100


async def test_concurrency_begins_small_grows_and_shrinks(autojump_clock: MockClock) -> None:
    store = Store(takes_s=1.0)
    set_pace = pacer(initial_rate=1e5)
    paced = Paced(store, set_pace, Priority.DRAIN)
    await many(4, lambda _: paced.head(key("absent")))
    assert store.most_in_flight == 4
    await many(200, lambda _: paced.head(key("absent")))
    assert 30 <= store.most_in_flight <= 64
    store.failure = BackendUnavailable("too much")
    await many(64, lambda _: paced.head(key("absent")))
    store.failure, store.most_in_flight = None, 0
    await trio.sleep(10.0)
    await many(8, lambda _: paced.head(key("absent")))
    assert store.most_in_flight < 30


async def test_a_refusal_of_one_key_of_a_batch_slows_down(autojump_clock: MockClock) -> None:
    set_pace = pacer()
    before = {pace.kind: pace.per_s for pace in set_pace.paces()}
    assert before == {}
    set_pace.refused_one(RequestClass.DELETE, "a", trio.current_time())
    assert {pace.kind: pace.per_s for pace in set_pace.paces()} == {RequestClass.DELETE: 125.0}
    assert set_pace.reason() == "the store: it refuses requests (throttling)"


async def test_what_is_sent_again_at_once_was_throttled_all_the_same(autojump_clock: MockClock) -> None:
    store, set_pace = Store(), pacer()
    paced = Paced(store, set_pace, Priority.DRAIN, repeats=Repeats(random.Random(1)))
    store.failure = Throttled("slower")
    await trio.sleep(10.0)
    await many(5, lambda _: paced.head(key("absent")))
    assert set_pace.throttled_per_s == pytest.approx(len(store.asked_at) / 10.0)
    assert len(store.asked_at) == 20
    await trio.sleep(20.0)
    assert set_pace.throttled_per_s == 0.0


async def test_cancelled_while_it_waits_nothing_is_held(autojump_clock: MockClock) -> None:
    set_pace = pacer(Limits(requests_per_s=0.1))
    paced = Paced(Store(), set_pace, Priority.DRAIN)
    with trio.move_on_after(15.0):
        await many(20, lambda _: paced.head(key("absent")))
    assert repr(set_pace) == "<Pacer {} in flight>"
    set_pace.tune(Limits())
    await put(paced, "a")
