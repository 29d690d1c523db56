"""One failure at any call, and a crash at any moment, lose nothing and leave nothing behind."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.backends.pace import Aimd, Limits, Paced, Pacer, Priority
from fusecache.errors import AccessDenied, BackendUnavailable, Throttled, TransientBackendError
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

BIG = pattern(9 * MIB)
FOREIGN = {"d/1": b"1", "d/2": b"2", "d/s/3": b"3", "old": b"4", "gone": b"5"}
EXPECTED = {
    "e/1": b"changed", "e/2": b"2", "e/s/3": b"3", "new": b"4", "big": BIG, "f/": b"", "e/x": b"x", "old": b"again",
}  # fmt: skip


async def work(world: Drained) -> None:
    """Something of everything."""
    await world.write_file("d/1", b"changed")
    await world.write_file("big", BIG)
    await world.mkdir("f")
    await world.rename("d", "e")
    await world.write_file("e/x", b"x")
    await world.rename("old", "new")
    await world.write_file("old", b"again")
    await world.unlink("gone")


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["refused", "answer lost"])
@pytest.mark.parametrize("failure", [Throttled("slow down", retry_after_s=30.0), BackendUnavailable("reset")])
async def test_one_failure_at_any_call_loses_nothing(
    tmp_path: Path, autojump_clock: MockClock, failure: TransientBackendError, before: bool
) -> None:
    for nth in itertools.count(1):
        store = RecordedStore()
        await store.foreign(FOREIGN)
        backend = FaultyBackend(store, fail_at=nth, failure=failure, before=before)
        root = tmp_path / str(nth)
        root.mkdir()
        async with a_drained_world(root, store, through=backend) as world:
            await work(world)
            await world.settle()
            assert store.objects() == EXPECTED, nth
        if not backend.fired:
            assert nth > 10
            return


@pytest.mark.slow
async def test_a_crash_at_any_moment_loses_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Requests take 20 ms, half of it before they happen: crash every 5 ms, until all was done before."""
    for nth in itertools.count():
        store = RecordedStore()
        await store.foreign(FOREIGN)
        store.pause_s = 0.01
        root = tmp_path / str(nth)
        root.mkdir()
        async with a_drained_world(root, store) as world:
            await work(world)
            await trio.sleep(0.995 + nth * 0.005)
            is_done = not world.tasks_left()
        async with a_drained_world(root, store) as world:
            await world.settle()
            assert store.objects() == EXPECTED, nth
            assert await world.read_file("e/s/3") == b"3"
        assert store.parts_left == 0
        if is_done:
            assert nth > 20
            return


async def test_a_refusal_is_told_and_the_others_go_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    backend = FaultyBackend(store, fail_at=1, failure=AccessDenied("no"))
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("a", b"1")
        await world.write_file("b", b"2")
        told = await world.persister.drain()
        (stuck,) = told.stuck
        assert (stuck["error"], stuck["attempts"], told.files_left) == ("no", 1, 1)
        assert len(store.objects()) == 1
        await trio.sleep(100)
        assert store.objects() == {"a": b"1", "b": b"2"}
        assert world.persister.report().stuck == ()


async def test_a_bug_makes_its_own_task_stuck(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = RecordedStore()
    backend = FaultyBackend(store, fail_at=1, failure=ZeroDivisionError())  # type: ignore[arg-type]  # a bug
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("a", b"1")
        told = await world.persister.drain()
        assert [each["error"] for each in told.stuck] == ["ZeroDivisionError"]
    assert "bug" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("before", [True, False], ids=["refused", "lost"])
@pytest.mark.parametrize("new", [None, "b"], ids=["unlinked", "renamed"])
async def test_a_key_whose_upload_failed_goes_with_its_name(
    autojump_clock: MockClock, tmp_path: Path, before: bool, new: str | None
) -> None:
    """It holds the older version, or the one whose answer was an error: both were of this name."""
    store = RecordedStore()
    await store.foreign({"a": b"older"})
    backend = FaultyBackend(store, fail_at=1, failure=AccessDenied("no"), before=before)
    async with a_drained_world(tmp_path, store, through=backend) as world:
        await world.write_file("a", b"1")
        told = await world.persister.drain()
        assert [entry["path"] for entry in told.stuck] == ["a"]
        if new is None:
            await world.unlink("a")
        else:
            await world.rename("a", new)
        await trio.sleep(100)  # a flush does not wait for what is stuck
        assert store.objects() == ({} if new is None else {new: b"1"})


async def test_an_absent_store_makes_the_drain_late(tmp_path: Path, autojump_clock: MockClock) -> None:
    class Absent(RecordedStore):
        is_there = False

        async def _record(self, request: str) -> None:
            if not self.is_there:
                raise BackendUnavailable("no route")
            await super()._record(request)

    store = Absent()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"1")
        await trio.sleep(3600)
        report = world.persister.report()
        assert (report.files_dirty, report.bytes_dirty, report.stuck) == (1, 1, ())
        assert report.oldest_dirty_s is not None
        assert report.oldest_dirty_s > 3500
        store.is_there = True
        await trio.sleep(40)
        assert store.objects() == {"a": b"1"}


async def test_after_a_restart_the_pace_that_the_store_took_is_kept(tmp_path: Path, autojump_clock: MockClock) -> None:
    class Busy(RecordedStore):
        """Takes five writes a second."""

        def __init__(self) -> None:
            super().__init__()
            self.refused, self._full_s = 0, 0.0

        async def _record(self, request: str) -> None:
            full_s = max(self._full_s, trio.current_time()) + 0.2
            if full_s > trio.current_time() + 1.0:
                self.refused += 1
                raise Throttled("slow down")
            self._full_s = full_s
            await super()._record(request)

    store = Busy()
    for refused in (range(60, 1000), range(40)):
        pacer, store.refused = Pacer(Aimd(), Limits()), 0
        async with a_drained_world(tmp_path, store, pacer=pacer, through=Paced(store, pacer, Priority.DRAIN)) as world:
            for number in range(100):
                await world.write_file(f"f{number}", str(refused).encode())
            await trio.sleep(20)
        assert store.refused in refused
