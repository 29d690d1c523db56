"""Reads are asked again, writes are not: on a clock that the test owns."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.base import Backend
from fusecache.backends.fault import FaultyBackend
from fusecache.backends.memory import MemoryBackend
from fusecache.backends.retry import RetryingReader
from fusecache.backends.sources import BytesSource
from fusecache.errors import BackendUnavailable, NoSuchObject, PreconditionFailed, Throttled
from fusecache.types import Extent, ObjectInfo, ObjectKey
from tests.backends.helpers import WRONG, key, put

READS: dict[str, Callable[[Backend], Awaitable[object]]] = {
    "get": lambda store: store.get(key("a"), Extent(0, 4), if_match=None),
    "head": lambda store: store.head(key("a")),
    "list": lambda store: store.list("", delimiter=None),
    "uploads": lambda store: store.list_uploads(),
}
WRITES: dict[str, Callable[[Backend], Awaitable[object]]] = {
    "check": lambda store: store.check(),
    "put": lambda store: store.put(key("b"), BytesSource(b""), metadata={}),
    "copy": lambda store: store.copy(key("a"), key("b"), if_match=None, size=4, metadata=None),
    "delete": lambda store: store.delete([key("a")]),
    "start": lambda store: store.start_multipart(key("b"), metadata={}),
    "part": lambda store: store.put_part(key("b"), "u", 1, BytesSource(b"")),
    "copied part": lambda store: store.put_part_copy(key("b"), "u", 1, key("a"), Extent(0, 1), if_match=WRONG),
    "complete": lambda store: store.complete_multipart(key("b"), "u", []),
    "abort": lambda store: store.abort_multipart(key("b"), "u"),
}


class Failing(MemoryBackend):
    """A store whose head never comes to an answer, and says when it was asked."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__()
        self.asked_at: list[float] = []
        self._failure = failure

    async def head(self, key: ObjectKey) -> ObjectInfo:
        self.asked_at.append(trio.current_time())
        if self._failure is None:
            await trio.sleep_forever()
        assert self._failure is not None
        raise self._failure


def patient(inner: Backend, patience_s: float = 60.0) -> RetryingReader:
    return RetryingReader(inner, patience_s=patience_s, rng=random.Random(1))


@pytest.mark.parametrize("request_name", READS)
async def test_a_read_is_asked_again(request_name: str, autojump_clock: MockClock) -> None:
    memory = MemoryBackend()
    await put(memory, "a")
    faulty = FaultyBackend(memory, fail_at=1, failure=BackendUnavailable("once"))
    await READS[request_name](patient(faulty))
    assert faulty.call_count == 2


@pytest.mark.parametrize("request_name", WRITES)
async def test_a_write_is_not(request_name: str, autojump_clock: MockClock) -> None:
    memory = MemoryBackend()
    await put(memory, "a")
    faulty = FaultyBackend(memory, fail_at=1, failure=BackendUnavailable("once"))
    with pytest.raises(BackendUnavailable):
        await WRITES[request_name](patient(faulty))
    assert (faulty.call_count, trio.current_time()) == (1, 0.0)


async def test_conditions_reach_the_store() -> None:
    store = patient(MemoryBackend())
    await put(store, "a")
    upload_id = await store.start_multipart(key("a"), metadata={})
    etag = await store.put_part(key("a"), upload_id, 1, BytesSource(b"x"))
    with pytest.raises(PreconditionFailed):
        await store.complete_multipart(key("a"), upload_id, [etag], if_match=WRONG)
    with pytest.raises(PreconditionFailed):
        await store.complete_multipart(key("a"), upload_id, [etag], if_none_match=True)
    (outcome,) = await store.delete([key("a")], if_match=[WRONG])
    assert isinstance(outcome.error, PreconditionFailed)


async def test_a_permanent_error_is_raised_at_once(autojump_clock: MockClock) -> None:
    with pytest.raises(NoSuchObject):
        await patient(MemoryBackend()).head(key("absent"))
    assert trio.current_time() == 0.0


async def test_patience_ends_with_the_last_error(autojump_clock: MockClock) -> None:
    store = Failing(BackendUnavailable("down"))
    with pytest.raises(BackendUnavailable, match="down"):
        await patient(store, 60.0).head(key("a"))
    assert 40.0 < trio.current_time() <= 60.0
    delays = [later - earlier for earlier, later in pairwise(store.asked_at)]
    bounds = [min(0.1 * 2**number, 10.0) for number in range(len(delays))]
    assert all(delay <= bound for delay, bound in zip(delays, bounds, strict=True))


async def test_the_store_is_obeyed(autojump_clock: MockClock) -> None:
    store = Failing(Throttled("slow down", retry_after_s=25.0))
    with pytest.raises(Throttled):
        await patient(store, 60.0).head(key("a"))
    assert store.asked_at == [0.0, 25.0, 50.0]


async def test_a_request_that_hangs_outlasts_no_patience(autojump_clock: MockClock) -> None:
    with pytest.raises(BackendUnavailable, match="no answer within 60 s"):
        await patient(Failing(None)).head(key("a"))
    assert trio.current_time() == 60.0


async def test_it_can_be_interrupted(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as scope:
        await patient(Failing(Throttled("", retry_after_s=10.0))).head(key("a"))
    assert scope.cancelled_caught
