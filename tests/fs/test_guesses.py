"""A listing with attributes: one HEAD a directory, unless its objects have attributes of their own."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.errors import Stale
from fusecache.fs.attrs import Changes
from fusecache.fs.guesses import Guesses
from fusecache.namespace.records import Inode
from fusecache.types import InodeNo
from tests.fs.harness import DEFAULTS, TTL_S, CountedStore, World, a_world, numbered

GUESS = stat.S_IFREG | DEFAULTS.file_mode


@pytest.fixture
def store() -> CountedStore:
    return CountedStore()


@pytest.fixture
async def world(tmp_path: Path, store: CountedStore) -> AsyncIterator[World]:
    async with a_world(tmp_path, store) as opened:
        yield opened


async def walk(world: World, path: str) -> dict[str, int]:
    """List a directory and look at each file as `ls -l` does; return their modes."""
    ino = (await world.stat(path)).ino
    entries = await world.entries(ino)
    return {each.name.decode(): (await world.fs.lookup(ino, each.name)).inode.mode for each in entries}


async def test_a_walk_is_one_list_and_one_head_a_directory(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign(numbered(100, "d/") | numbered(100, "e/"))
    for path in ("d", "e"):
        await world.stat(path)
        store.since()
        assert set((await walk(world, path)).values()) == {GUESS}
        assert store.since() == {"list": 1, "head": 1}
        assert set((await walk(world, path)).values()) == {GUESS}
        assert store.since() == {}
    mock_clock.jump(TTL_S + 1)
    await walk(world, "d")
    assert "head" not in store.since()


async def test_who_lists_it_next_needs_no_lookups(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(10, "d/"))
    ino = (await world.stat("d")).ino
    assert {each.entry.timeout_s for each in await world.entries(ino)} == {0.0}
    await walk(world, "d")
    assert all(each.entry.timeout_s > TTL_S - 5 for each in await world.entries(ino))


async def test_a_single_stat_is_a_head(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign(numbered(10, "d/"))
    await walk(world, "d")
    mock_clock.jump(5.0)
    store.since()
    await world.stat("d/f00007")
    assert store.since() == {"head": 1}


async def test_where_one_has_attributes_each_is_asked_for(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(5, "d/"), mode=str(0o100600))
    assert set((await walk(world, "d")).values()) == {stat.S_IFREG | 0o600}


async def test_one_that_turns_up_later_ends_the_guesses(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(5, "d/"))
    await store.foreign({"d/f00003": b"x", "d/f00004": b"x"}, mode=str(0o100600))
    await walk(world, "d")
    fourth = (await world.fs.lookup(*await world.place("d/f00004"))).inode.ino
    with pytest.raises(Stale):
        await world.fs.open((await world.fs.lookup(*await world.place("d/f00003"))).inode.ino, os.O_RDONLY)
    world.stale.clear()
    assert (await walk(world, "d"))["f00004"] == stat.S_IFREG | 0o600
    assert world.stale == [fourth]


@pytest.mark.parametrize("metadata", [{"mode": str(0o100600)}, {"uid": "5"}, {"mtime": "5"}])
async def test_who_was_judged_by_a_wrong_guess_is_judged_again(
    world: World, store: CountedStore, metadata: dict[str, str]
) -> None:
    """The kernel answers ESTALE with a lookup and another attempt."""
    await store.foreign(numbered(5, "d/"))
    await store.foreign({"d/f00003": b"x", "d/f00004": b"x"}, **metadata)
    await walk(world, "d")
    third, fourth = [(await world.fs.lookup(*await world.place(f"d/f0000{n}"))).inode.ino for n in (3, 4)]
    with pytest.raises(Stale):
        await world.fs.open(third, os.O_RDONLY)
    world.fs.release(await world.fs.open(third, os.O_RDONLY))
    with pytest.raises(Stale):
        await world.fs.setattr(fourth, Changes(mode=0o644))
    await world.fs.setattr(fourth, Changes(mode=0o644))


async def test_a_good_guess_is_no_reason_to_judge_again(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(5, "d/"))
    await walk(world, "d")
    ino = (await world.fs.lookup(*await world.place("d/f00003"))).inode.ino
    world.fs.release(await world.fs.open(ino, os.O_RDONLY))


def test_where_each_is_to_be_asked_for_there_are_none() -> None:
    inode = Inode(*[0] * len(Inode._fields))  # type: ignore[arg-type]
    guesses = Guesses(is_allowed=False)
    guesses.learnt(InodeNo(7), inode, inode)
    assert not guesses.are_shown(InodeNo(7))
