"""A store of which strictly every nth call fails is drained, and nothing is left behind there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority
from fusecache.backends.repeat import Repeats
from fusecache.errors import BackendUnavailable, Throttled, TransientBackendError
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.test_persister_faults import BIG, EXPECTED, FOREIGN, work


def through(store: RecordedStore, every: int, failure: TransientBackendError, *, before: bool) -> Paced:
    faulty = FaultyBackend(store, every=every, failure=failure, before=before)
    return Paced(faulty, Pacer(Aimd(), Limits()), Priority.DRAIN, repeats=Repeats(random.Random(1)))


@pytest.mark.parametrize("before", [True, False], ids=["refused", "answer lost"])
@pytest.mark.parametrize("failure", [Throttled("slow down"), BackendUnavailable("reset")], ids=["throttled", "reset"])
@pytest.mark.parametrize("every", [2, 3, 5])
async def test_every_nth_call_fails(
    tmp_path: Path, autojump_clock: MockClock, every: int, failure: TransientBackendError, before: bool
) -> None:
    if isinstance(failure, Throttled) and not before:
        pytest.skip("what was throttled was not carried out")
    store = RecordedStore()
    await store.foreign(FOREIGN)
    async with a_drained_world(tmp_path, store, through=through(store, every, failure, before=before)) as world:
        await work(world)
        with trio.fail_after(600):
            await world.persister.drain()
        await trio.sleep(60)
        assert store.objects() == EXPECTED
        assert store.parts_left == 0


@pytest.mark.parametrize("before", [True, False], ids=["refused", "answer lost"])
async def test_one_at_a_time(tmp_path: Path, autojump_clock: MockClock, before: bool) -> None:
    """Nothing comes between the calls of a task, so that the same ones fail each time it begins anew."""
    store = RecordedStore()
    await store.foreign({"moved": b"1", "gone": b"2", "d/1": b"3"})
    lost = BackendUnavailable("reset")
    async with a_drained_world(tmp_path, store, through=through(store, 2, lost, before=before)) as world:
        for expected, step in (
            ({"d/1": b"3", "gone": b"2", "there": b"1"}, world.rename("moved", "there")),
            ({"d/1": b"3", "there": b"1"}, world.unlink("gone")),
            ({"e/1": b"3", "there": b"1"}, world.rename("d", "e")),
            ({"e/1": b"3", "there": b"1", "big": BIG}, world.write_file("big", BIG)),
            ({"e/1": b"3", "there": b"1", "big": BIG, "f/": b""}, world.mkdir("f")),
            ({"e/1": b"3", "there": b"2", "big": BIG, "f/": b""}, world.write_file("there", b"2")),
        ):
            await step
            with trio.fail_after(300):
                await world.persister.drain()
            await trio.sleep(30)
            assert store.objects() == expected
            assert store.parts_left == 0


async def test_what_is_in_the_way_is_looked_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The write after that look is the one that fails whenever it begins anew."""
    store = RecordedStore()
    lost = BackendUnavailable("reset")
    async with a_drained_world(tmp_path, store, through=through(store, 2, lost, before=True)) as world:
        await world.write_file("a", b"ours")
        await store.foreign({"a": b"theirs"})
        with trio.fail_after(300):
            await world.persister.drain()
        assert sorted(store.objects().values()) == [b"ours", b"theirs"]
        assert store.objects()["a"] == b"ours"
