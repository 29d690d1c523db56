"""What rules say of paths: how long an upload waits, what stays here, which directories have an object.

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
from fusecache.config.rules import Policy, Rule, Rules
from fusecache.persist.settings import Settings
from fusecache.types import ObjectKey
from tests.fs.draining import Drained, RecordedStore, a_drained_world


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@asynccontextmanager
async def ruled(tmp_path: Path, store: RecordedStore, *rules: Rule, **default: str) -> AsyncIterator[Drained]:
    policy = Policy(**default)  # type: ignore[arg-type]  # only words are given here
    settings = Settings(staging=STAGING, markers=MARKERS, rules=Rules(rules, policy))
    async with a_drained_world(tmp_path, store, settings=settings) as world:
        yield world


# --- delays ---


async def test_an_upload_waits_as_long_as_its_path_says(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    slow, quick = Rule(path="/slow", persist_delay_s=600.0), Rule(path="/**/*.now", persist_delay_s=0.0)
    async with ruled(tmp_path, store, slow, quick) as world:
        await world.mkdir("slow")
        for name in ("slow/a", "slow/b.now", "c"):
            await world.write_file(name, b"1")
        await trio.sleep(0.5)
        assert sorted(store.objects()) == ["slow/b.now"]
        await trio.sleep(30)
        assert sorted(store.objects()) == ["c", "slow/b.now"]
        await trio.sleep(600)
        assert sorted(store.objects()) == ["c", "slow/a", "slow/b.now"]


async def test_a_flush_does_not_wait_for_a_long_delay(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with ruled(tmp_path, store, Rule(path="/", persist_delay_s=86400.0)) as world:
        await world.write_file("a", b"1")
        with trio.fail_after(60):
            await world.persister.drain()
        assert sorted(store.objects()) == ["a"]


async def test_a_long_delay_goes_on_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    rule = Rule(path="/slow", persist_delay_s=600.0)
    async with ruled(tmp_path, store, rule) as world:
        await world.mkdir("slow")
        await world.write_file("slow/a", b"1")
        await trio.sleep(100)
    async with ruled(tmp_path, store, rule):
        await trio.sleep(400)
        assert not store.objects()
        await trio.sleep(200)
        assert sorted(store.objects()) == ["slow/a"]


# --- what stays here ---


async def test_what_is_local_stays_here_until_it_is_renamed(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with ruled(tmp_path, store, Rule(path="/scratch/**", write_mode="local")) as world:
        for path in ("scratch", "scratch/d", "scratch/d/empty", "out"):
            await world.mkdir(path)
        await world.write_file("scratch/a", b"a")
        await world.write_file("scratch/d/b", b"b")
        await world.settle()
        assert sorted(store.objects()) == ["out/"]
        assert world.persister.report().files_local == 2
        await world.rename("scratch/a", "out/a")
        await world.rename("scratch/d", "out/d")
        await world.settle()
        assert sorted(store.objects()) == ["out/a", "out/d/b", "out/d/empty/", "scratch/"]
        assert world.persister.report().files_local == 0


async def test_a_directory_above_what_is_local_takes_it_out_of_there(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with ruled(tmp_path, store, Rule(path="/a/scratch/**", write_mode="local")) as world:
        for path in ("a", "a/scratch"):
            await world.mkdir(path)
        await world.write_file("a/scratch/f", b"1")
        await world.settle()
        assert not store.objects()
        await world.rename("a", "b")
        await world.settle()
        assert store.objects() == {"b/scratch/f": b"1"}


async def test_what_the_store_has_follows_into_a_local_path(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """As into staging: else a rename would take from the store what others may be reading."""
    async with ruled(tmp_path, store, Rule(path="/scratch/**", write_mode="local")) as world:
        await world.mkdir("scratch")
        await world.write_file("a", b"1")
        await world.settle()
        await world.rename("a", "scratch/a")
        await world.settle()
        assert store.objects() == {"scratch/a": b"1"}
        await world.write_file("scratch/a", b"22")
        await world.settle()
        assert store.objects() == {"scratch/a": b"1"}
        assert world.persister.report().files_local == 1


async def test_patterns_of_a_rule_come_on_top(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    rule = Rule(path="/w/**", staging=("_wip/",), markers=("DONE",))
    async with ruled(tmp_path, store, rule) as world:
        for path in ("w", "w/_wip", "w/t", "_wip"):
            await world.mkdir(path)
        for path in ("w/_wip/a", "_wip/a", "w/.x.tmp"):
            await world.write_file(path, b"1")
        await world.settle()
        assert sorted(store.objects()) == ["_wip/a", "w/t/"]
        await world.rename("w/_wip", "w/t/p")
        await world.write_file("w/t/DONE", b"")
        gate = store.hold("put")
        await trio.sleep(60)
        assert store.writes[-1] == "put w/t/p/a"
        gate.set()
        await world.settle()
        assert store.writes[-1] == "put w/t/DONE"


async def test_a_rule_may_exempt_a_path_of_a_local_mount(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with ruled(tmp_path, store, Rule(path="/keep", write_mode="writeback"), write_mode="local") as world:
        await world.mkdir("keep")
        for path in ("keep/a", "b"):
            await world.write_file(path, b"1")
        await world.settle()
        assert sorted(store.objects()) == ["keep/a"]


# --- directories ---


async def test_a_directory_has_its_object_while_it_is_empty_always_or_never(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    always, never = Rule(path="/always", dir_markers="always"), Rule(path="/never", dir_markers="never")
    async with ruled(tmp_path, store, always, never) as world:
        for path in ("always", "never", "empty"):
            await world.mkdir(path)
            await world.mkdir(f"{path}/d")
        await world.settle()
        assert sorted(store.objects()) == ["always/", "always/d/", "empty/d/"]
        for path in ("always", "never", "empty"):
            await world.write_file(f"{path}/d/f", b"1")
        await world.settle()
        assert sorted(store.objects()) == ["always/", "always/d/", "always/d/f", "empty/d/f", "never/d/f"]
        for path in ("always", "never", "empty"):
            await world.unlink(f"{path}/d/f")
        await world.settle()
        assert sorted(store.objects()) == ["always/", "always/d/", "empty/d/"]
        await world.rename("always/d", "always/e")
        await world.settle()
        assert sorted(store.objects()) == ["always/", "always/e/", "empty/d/"]
        await world.rmdir("always/e")
        await world.settle()
        assert sorted(store.objects()) == ["always/", "empty/d/"]


async def test_a_directory_that_is_renamed_follows_the_rule_of_where_it_is(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with ruled(tmp_path, store, Rule(path="/always/**", dir_markers="always")) as world:
        for path in ("always", "d", "always/e"):
            await world.mkdir(path)
        for path in ("d/f", "always/e/f"):
            await world.write_file(path, b"1")
        await world.settle()
        assert sorted(store.objects()) == ["always/e/", "always/e/f", "d/f"]
        await world.rename("always/e", "e")
        await world.settle()
        assert sorted(store.objects()) == ["always/", "d/f", "e/f"]


async def test_the_object_of_a_full_directory_follows_its_mode(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """Also where somebody else has put something into it, which says already that it is there."""
    async with ruled(tmp_path, store, Rule(path="/d", dir_markers="always")) as world:
        await world.mkdir("d")
        await world.write_file("d/ours", b"1")
        await world.settle()
        await store.foreign({"d/theirs": b"1"})
        await world.setattr("d", mode=0o700)
        await world.settle()
        info = await store.head(ObjectKey("d/"))
        assert info.metadata is not None
        assert int(info.metadata["mode"]) & 0o777 == 0o700


# --- after a change of the rules ---


async def test_what_is_not_local_any_more_is_uploaded_after_the_next_mount(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    local, also = Rule(path="/scratch/**", write_mode="local"), Rule(path="/more/**", staging=("*.wip",))
    async with ruled(tmp_path, store, local, also) as world:
        for path in ("scratch", "more"):
            await world.mkdir(path)
        for path in ("scratch/a", "more/b.wip", "more/.c.tmp"):
            await world.write_file(path, b"1")
        await world.settle()
        assert not store.objects()
    async with ruled(tmp_path, store, also) as world:
        await world.settle()
        assert store.objects() == {"scratch/a": b"1"}
        assert world.persister.report().files_local == 2
    async with ruled(tmp_path, store) as world:
        await world.settle()
        assert store.objects() == {"scratch/a": b"1", "more/b.wip": b"1"}
        assert world.persister.report().files_local == 1


async def test_what_is_local_is_not_looked_at_again_without_a_change(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with ruled(tmp_path, store, Rule(path="/scratch/**", write_mode="local")) as world:
        await world.mkdir("scratch")
        await world.write_file("scratch/a", b"1")
        await world.settle()
    async with ruled(tmp_path, store, Rule(path="/scratch/**", write_mode="local")) as world:
        tasks = world.ns.tables.tasks.all_of_inode((await world.stat("scratch/a")).ino)
        assert [task.staged for task in tasks] == [1]
