"""Which version stays where somebody else wrote, too, by path.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.config import MARKERS, STAGING
from fusecache.config.rules import Rule, Rules
from fusecache.errors import BackendUnavailable
from fusecache.namespace.records import Place
from fusecache.persist.settings import Settings
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

TTL_S = 60.0
RULES = Rules([Rule(path="/ours", on_conflict="ours"), Rule(path="/theirs", on_conflict="theirs")])
SETTINGS = Settings(staging=STAGING, markers=MARKERS, rules=RULES, multipart_threshold=8 * MIB, part_size=5 * MIB)


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore(is_versioned=True)


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store, ttl_s=TTL_S, settings=SETTINGS) as opened:
        for path in ("ours", "theirs", "both"):
            await opened.mkdir(path)
        yield opened


def objects(store: RecordedStore) -> dict[str, bytes]:
    """What is in the store; what was kept aside without the version or number in its name."""
    return {re.sub(r"\.conflict-(ours)?.*", r".conflict\1", key): data for key, data in store.objects().items()}


async def conflict(world: Drained, store: RecordedStore, path: str, *, known: bool) -> None:
    """Change an object, known to this mount before or not, on both sides."""
    if known:
        await world.write_file(path, b"old")
        await world.settle()
    await world.write_file(path, b"mine")
    await store.foreign({path: b"foreign"})
    await world.settle()


@pytest.mark.parametrize("known", [False, True])
async def test_ours_goes_over_theirs(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, known: bool
) -> None:
    await conflict(world, store, "ours/f", known=known)
    assert objects(store) == {"ours/f": b"mine", "theirs/": b"", "both/": b""}


@pytest.mark.parametrize("known", [False, True])
async def test_theirs_stays_and_ours_is_beside(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, known: bool
) -> None:
    await conflict(world, store, "theirs/f", known=known)
    assert objects(store) == {"theirs/f": b"foreign", "theirs/f.conflictours": b"mine", "ours/": b"", "both/": b""}
    assert Place((await world.stat("theirs")).ino, b"f") in world.stale
    await trio.sleep(TTL_S + 1)
    assert await world.read_file("theirs/f") == b"foreign"
    beside = next(name for name in await world.ls("theirs") if "conflict" in name)
    assert await world.read_file(f"theirs/{beside}") == b"mine"
    await world.write_file("theirs/f", b"after")
    await world.settle()
    assert store.objects()["theirs/f"] == b"after"


async def test_elsewhere_both_are_kept(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await conflict(world, store, "both/f", known=True)
    assert objects(store) == {"both/f": b"mine", "both/f.conflict": b"foreign", "ours/": b"", "theirs/": b""}


async def test_a_large_file_steps_aside_with_its_parts(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(12 * MIB)
    await world.write_file("theirs/f", data)
    await store.foreign({"theirs/f": b"foreign"})
    await world.settle()
    found = objects(store)
    assert (found["theirs/f"], found["theirs/f.conflictours"]) == (b"foreign", data)
    assert store.parts_left == 0


async def test_what_is_renamed_onto_theirs_is_beside(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("theirs/a", b"mine")
    await world.settle()
    await world.rename("theirs/a", "theirs/f")
    await store.foreign({"theirs/f": b"foreign"})
    await world.settle()
    assert objects(store) == {"theirs/f": b"foreign", "theirs/f.conflictours": b"mine", "ours/": b"", "both/": b""}


async def test_who_has_it_open_goes_on_with_ours(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    number = await world.create("theirs/f")
    await world.fs.write(number, 0, b"mine")
    world.fs.flush(number)
    await store.foreign({"theirs/f": b"foreign"})
    await world.settle()
    await world.fs.write(number, 4, b", more")
    await world.close(number)
    await world.settle()
    assert objects(store)["theirs/f.conflictours"] == b"mine, more"
    assert store.objects()["theirs/f"] == b"foreign"


async def test_one_of_two_names_steps_aside(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.write_file("theirs/f", b"mine")
    await world.link("theirs/f", "both/g")
    await store.foreign({"theirs/f": b"foreign"})
    await world.settle()
    found = objects(store)
    assert (found["theirs/f"], found["theirs/f.conflictours"], found["both/g"]) == (b"foreign", b"mine", b"mine")


async def test_a_long_name_is_cut(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    name = "ä" * 127
    await conflict(world, store, f"theirs/{name}", known=False)
    beside = next(name for name in await world.ls("theirs") if "conflict" in name)
    assert len(beside.encode()) <= 255
    assert store.objects()[f"theirs/{beside}"] == b"mine"


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_what_we_made_ourselves_is_no_conflict(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore, nth: int
) -> None:
    """The answer to a request is lost, and the file is another one before the next attempt."""
    backend = FaultyBackend(store, fail_at=nth, failure=BackendUnavailable("lost"), before=False)
    async with a_drained_world(tmp_path, store, through=backend, settings=SETTINGS) as world:
        await world.mkdir("theirs")
        await world.write_file("theirs/f", b"mine")
        with trio.move_on_after(5):
            while not backend.fired:  # noqa: ASYNC110 - it has no event, and the clock jumps
                await trio.sleep(0.01)
        await world.write_file("theirs/f", b"mine again")
        await world.settle()
        assert store.objects() == {"theirs/f": b"mine again"}
