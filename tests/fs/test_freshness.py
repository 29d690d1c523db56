"""How long the store is believed: by path, for names that are there, names that are not, and listings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.config.rules import FOR_EVER_S, Rule
from fusecache.errors import NotFound
from tests.fs.harness import TTL_S, CountedStore, World, a_world, numbered, total

RULES = (
    Rule(path="/never/**", freshness="never"),
    Rule(path="/always/**", freshness="always"),
    Rule(path="/short", ttl_s=5.0),
    Rule(path="/never/but/**", ttl_s=5.0),
    Rule(path="/long/**", ttl_s=3600.0),
    Rule(path="/long/*.open", freshness="always"),
)


@pytest.fixture
def store() -> CountedStore:
    return CountedStore()


@pytest.fixture
async def world(tmp_path: Path, store: CountedStore) -> AsyncIterator[World]:
    async with a_world(tmp_path, store, rules=RULES) as opened:
        yield opened


async def timeout_s(world: World, path: str) -> float:
    return (await world.fs.lookup(*await world.place(path))).timeout_s


async def is_there(world: World, path: str) -> bool:
    try:
        await world.stat(path)
    except NotFound:
        return False
    return True


async def test_what_never_changes_is_asked_for_once(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign(numbered(5, "never/d/"))
    assert len(await world.ls("never/d")) == 5
    for name in ("f00001", "f00002"):
        await world.stat(f"never/d/{name}")  # of others a HEAD will tell, which their attributes need
    assert not await is_there(world, "never/d/new")
    await store.foreign({"never/d/f00001": b"changed", "never/d/new": b"x"})
    store.forget("never/d/f00002")
    mock_clock.jump(1e6)
    store.since()
    assert (await world.stat("never/d/f00001")).size == 1
    assert len(await world.ls("never/d")) == 5
    assert not await is_there(world, "never/d/new")
    assert await is_there(world, "never/d/f00002")
    assert store.since() == {"list": 1}  # of the root, in which no rule says anything
    assert await timeout_s(world, "never/d/f00001") > FOR_EVER_S - 2e6


async def test_what_never_changes_is_believed_by_the_next_daemon(
    tmp_path: Path, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign(numbered(3, "never/d/") | numbered(1500, "never/large/"))
    async with a_world(tmp_path, store, rules=RULES) as world:
        assert len(await world.ls("never/d")) == 3
        for path in ("never/d/f00001", "never/large/f00001"):
            await world.stat(path)
    await store.foreign({"never/d/f00001": b"changed"})
    mock_clock.jump(1e6)
    async with a_world(tmp_path, store, rules=(Rule(path="/", freshness="never"),)) as world:
        store.since()
        assert (await world.stat("never/d/f00001")).size == 1
        assert (await world.stat("never/large/f00001")).size == 1  # a name of a directory that nobody has listed whole
        assert len(await world.ls("never/d")) == 3
        assert store.since() == {}


async def test_each_lookup_of_what_always_changes_asks(world: World, store: CountedStore) -> None:
    await store.foreign({"always/d/a": b"1", "always/d/b": b"2"})
    assert await world.ls("always/d") == ["a", "b"]
    first = await world.stat("always/d/a")
    await store.foreign({"always/d/a": b"changed"})
    second = await world.stat("always/d/a")
    assert (first.size, second.size) == (1, 7)
    assert first.ino != second.ino
    assert first.ino in world.stale
    assert await timeout_s(world, "always/d/a") == 0.0
    store.forget("always/d/a")
    assert not await is_there(world, "always/d/a")
    await store.foreign({"always/d/a/now": b"a directory"})
    assert (await world.stat("always/d/a")).is_dir
    assert await world.ls("always/d") == ["a/", "b"]


async def test_a_lookup_of_what_always_changes_is_one_small_request(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(1500, "always/") | {"always/d/a": b"1"})
    await world.stat("always/f00001")
    directory = (await world.stat("always")).ino
    await world.fs.lookup(directory, b"d")
    store.since()
    await world.fs.lookup(directory, b"f00001")
    assert store.since() == {"head": 1}
    await world.fs.lookup(directory, b"d")
    assert store.since() == {"list": 1}  # of one key


async def test_names_that_are_not_there_are_believed_as_long(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    """Also where a listing would be too long to tell."""
    await store.foreign(numbered(2500, "short/") | numbered(2500, "always/"))
    for path in ("short/zz", "short/zzz"):
        assert not await is_there(world, path)
    assert total(store.since()) > 2
    for path in ("short/zz", "short/zzz"):
        assert not await is_there(world, path)
    assert store.since() == {}
    await store.foreign({"short/zz": b"x"})
    assert not await is_there(world, "short/zz")
    mock_clock.jump(5.1)
    assert await is_there(world, "short/zz")
    assert not await is_there(world, "always/zz")
    await store.foreign({"always/zz": b"x"})
    assert await is_there(world, "always/zz")


async def test_own_writes_are_seen_whatever_is_believed(world: World, store: CountedStore) -> None:
    await store.foreign({f"{path}/d/there": b"x" for path in ("never", "always", "short")})
    for path in ("never/d", "always/d", "short/d"):
        assert await world.ls(path) == ["there"]
        assert not await is_there(world, f"{path}/mine")
        await world.write_file(f"{path}/mine", b"mine")
        await world.unlink(f"{path}/there")
        assert await world.ls(path) == ["mine"]
        assert (await world.stat(f"{path}/mine")).size == 4
        await world.unlink(f"{path}/mine")
        assert not await is_there(world, f"{path}/mine")
        await world.mkdir(f"{path}/mine")
        assert (await world.stat(f"{path}/mine")).is_dir


async def test_each_path_has_its_own_time(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    paths = {"short/a": 5.0, "other/a": TTL_S, "long/a": 3600.0, "never/but/a": 5.0}
    await store.foreign(dict.fromkeys(paths, b"x"))
    for path, expected_s in paths.items():
        mock_clock.jump(3600.0)
        assert await timeout_s(world, path) == pytest.approx(expected_s)
        mock_clock.jump(4.0)
        store.since()
        assert await timeout_s(world, path) == pytest.approx(expected_s - 4.0)
        assert store.since() == {}


async def test_a_directory_is_listed_as_often_as_the_name_in_it_that_is_believed_least(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"long/a": b"x", "long/b.open": b"x"})
    assert await world.ls("long") == ["a", "b.open"]
    store.since()
    await store.foreign({"long/c.open": b"x"})
    assert await world.ls("long") == ["a", "b.open", "c.open"]
    store.since()
    await world.stat("long/a")
    assert store.since() == {"head": 1}  # of its attributes: the listing still counts for this name
    await store.foreign({"long/b.open": b"changed"})
    assert (await world.stat("long/b.open")).size == 7
