"""Objects too large to be copied at once: an upload in parts inside the store, of which nothing is ever left there."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.errors import AccessDenied, BackendUnavailable
from fusecache.types import Capabilities
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

T = TypeVar("T")
BIG, THEIRS = pattern(11 * MIB), pattern(12 * MIB)[MIB:]
"""Three parts."""


class NarrowStore(RecordedStore):
    """Copies 5 MiB at once at most."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, max_copy_bytes=5 * MIB)

    def contents(self) -> set[tuple[str, bytes]]:
        """What it has, whatever etag a name tells of."""
        return {(key.partition("-")[0], data) for key, data in self.objects().items()}


class SilentStore(FaultyBackend):
    """From its `fail_at`-th call on it doesn't answer; with `before` that one isn't carried out, either."""

    silent: trio.Event

    async def _call(self, request: Coroutine[Any, Any, T]) -> T:
        self._call_count += 1
        assert self._fail_at is not None
        if self._call_count < self._fail_at:
            return await request
        if self._call_count == self._fail_at and not self._before:
            await request
        else:
            request.close()
        self.silent.set()
        return await trio.sleep_forever()


@dataclass(frozen=True)
class Job:
    """What makes the store copy `path`, and what is there in the end."""

    name: str
    path: str
    run: Callable[[Drained, NarrowStore], Awaitable[None]]
    expected: set[tuple[str, bytes]]

    def __str__(self) -> str:
        return self.name


async def _rename(world: Drained, store: NarrowStore) -> None:
    await world.rename("big", "other")


async def _rename_directory(world: Drained, store: NarrowStore) -> None:
    await world.rename("t", "u")


async def _chmod(world: Drained, store: NarrowStore) -> None:
    await world.setattr("big", mode=0o600)


async def _replace_by_both(world: Drained, store: NarrowStore) -> None:
    await world.write_file("big", b"ours")
    await store.foreign({"big": THEIRS})


JOBS = (
    Job("a file moves", "big", _rename, {("other", BIG)}),
    Job("a directory moves", "t/big", _rename_directory, {("u/big", BIG)}),
    Job("attributes change", "big", _chmod, {("big", BIG)}),
    Job("two write it", "big", _replace_by_both, {("big", b"ours"), ("big.conflict", THEIRS)}),
)


@pytest.fixture(params=JOBS, ids=str)
def job(request: pytest.FixtureRequest) -> Job:
    found: Job = request.param
    return found


async def _begun(job: Job) -> NarrowStore:
    store = NarrowStore()
    await store.foreign({job.path: BIG}, mode=str(0o100644))
    store.writes.clear()
    return store


async def _check(world: Drained, job: Job, store: NarrowStore) -> None:
    await world.settle()
    await trio.sleep(100)  # nobody waits for what is aborted
    assert store.contents() == job.expected
    assert store.parts_left == 0
    assert world.ns.database.connection.execute("SELECT count(*) FROM upload").fetchone() == (0,)


async def test_it_is_copied_by_parts(autojump_clock: MockClock, tmp_path: Path, job: Job) -> None:
    store = await _begun(job)
    async with a_drained_world(tmp_path, store) as world:
        await job.run(world, store)
        await _check(world, job, store)
    assert [part.split()[1:] for part in sorted(store.parts)] == [[n, "copied"] for n in "123"]
    assert not any(write.startswith("copy") for write in store.writes)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["not carried out", "answer lost"])
async def test_any_request_may_fail(autojump_clock: MockClock, tmp_path: Path, job: Job, before: bool) -> None:
    for nth in itertools.count(1):
        store, root = await _begun(job), tmp_path / str(nth)
        root.mkdir()
        backend = FaultyBackend(store, fail_at=nth, failure=BackendUnavailable("reset"), before=before)
        async with a_drained_world(root, store, through=backend) as world:
            await job.run(world, store)
            await _check(world, job, store)
        if not backend.fired:
            assert nth > 5  # a listing, a start, three parts, an end
            return


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["not carried out", "answer lost"])
async def test_a_crash_at_any_request_leaves_nothing(
    autojump_clock: MockClock, tmp_path: Path, job: Job, before: bool
) -> None:
    for nth in itertools.count(1):
        store, root = await _begun(job), tmp_path / str(nth)
        root.mkdir()
        backend = SilentStore(store, fail_at=nth, failure=BackendUnavailable("never"), before=before)
        backend.silent = trio.Event()
        async with a_drained_world(root, store, through=backend) as world:
            await job.run(world, store)
            with trio.move_on_after(100):
                await backend.silent.wait()
        async with a_drained_world(root, store) as world:
            await _check(world, job, store)
        if not backend.fired:
            assert nth > 5
            return


async def test_one_that_may_not_be_begun_is_forgotten(autojump_clock: MockClock, tmp_path: Path) -> None:
    job = JOBS[0]
    store = await _begun(job)
    refusing = FaultyBackend(store, fail_at=None, failure=BackendUnavailable("never"))

    async def refuse(*_: object, **__: object) -> str:
        raise AccessDenied("no")

    refusing.start_copy = refuse  # type: ignore[method-assign,assignment]  # a bucket policy, say
    async with a_drained_world(tmp_path, store, through=refusing) as world:
        await job.run(world, store)
        with trio.move_on_after(50):
            await world.settle()
        assert world.ns.tables.uploads.unwanted() == []
        assert len(world.persister.report().stuck) == 1
