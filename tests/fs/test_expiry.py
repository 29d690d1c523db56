"""What stays here by a rule goes when it is old, and nothing else does.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.config import MARKERS, STAGING
from fusecache.config.rules import Rule, Rules
from fusecache.fs.expiry import Expiry
from fusecache.namespace.records import Place
from fusecache.persist.settings import Settings
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import wall_clock

TTL_S = 3600.0
RULES = (
    Rule(path="/scratch", write_mode="local", local_ttl_s=TTL_S),
    Rule(path="/keep", write_mode="local"),
    Rule(path="/out", local_ttl_s=TTL_S),
)


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@asynccontextmanager
async def aging(tmp_path: Path, store: RecordedStore, *rules: Rule) -> AsyncIterator[Drained]:
    """A world that removes what is old, and the directories of the rules."""
    settings = Settings(staging=STAGING, markers=MARKERS, rules=Rules(rules))
    wall_ns = wall_clock()
    async with a_drained_world(tmp_path, store, settings=settings) as world, trio.open_nursery() as nursery:
        for path in ("scratch", "keep", "out"):
            await world.mkdir(path)
        expiry = Expiry(
            world.ns,
            world.fs.unlink,
            is_open=lambda ino: ino in world.kernel.values(),
            wall_ns=wall_ns,
            stale=world.stale.append,
        )
        nursery.start_soon(expiry.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_what_is_local_and_old_is_removed(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with aging(tmp_path, store, *RULES) as world:
        for path in ("scratch/old", "scratch/.x.tmp", "keep/a", "out/a", "out/.y.tmp"):
            await world.write_file(path, b"1")
        await world.mkfifo("scratch/fifo")
        await trio.sleep(TTL_S - 120)
        await world.write_file("scratch/new", b"1")
        await trio.sleep(240)
        assert sorted(await world.ls("scratch")) == ["fifo", "new"]
        assert sorted(await world.ls("keep")) == ["a"]
        assert sorted(await world.ls("out")) == [".y.tmp", "a"]
        assert Place((await world.stat("scratch")).ino, b"old") in world.stale
        await trio.sleep(TTL_S)
        assert sorted(await world.ls("scratch")) == ["fifo"]


async def test_a_change_begins_the_time_anew(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with aging(tmp_path, store, *RULES) as world:
        await world.write_file("scratch/a", b"1")
        await trio.sleep(TTL_S - 120)
        await world.setattr("scratch/a", mode=0o600)
        await trio.sleep(240)
        assert sorted(await world.ls("scratch")) == ["a"]


async def test_what_is_open_or_was_in_the_store_stays(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with aging(tmp_path, store, *RULES) as world:
        for path in ("scratch/open", "out/stored"):
            await world.write_file(path, b"1")
        await world.settle()
        await world.rename("out/stored", "scratch/stored")
        await world.settle()
        await world.write_file("scratch/stored", b"2")
        number = await world.open("scratch/open")
        await trio.sleep(2 * TTL_S)
        assert sorted(await world.ls("scratch")) == ["open", "stored"]
        await world.close(number)
        await trio.sleep(120)
        assert sorted(await world.ls("scratch")) == ["stored"]


async def test_a_name_elsewhere_keeps_the_file(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with aging(tmp_path, store, *RULES) as world:
        await world.write_file("scratch/a", b"1")
        await world.link("scratch/a", "keep/a")
        await trio.sleep(2 * TTL_S)
        assert sorted(await world.ls("scratch")) == ["a"]
