"""Directory streams: what is there throughout is shown exactly once, and a position stays valid."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fusecache.errors import NotADirectory
from fusecache.types import HandleNo
from tests.amounts import examples
from tests.fs.harness import MEMORY, TTL_S, CountedStore, World, a_world, numbered


async def test_a_position_may_be_asked_for_again(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(300))
    number = await world.fs.opendir((await world.stat("")).ino)
    first = await world.fs.readdir(number, 0)
    second = await world.fs.readdir(number, first[-1].position)
    assert [each.name for each in await world.fs.readdir(number, first[9].position)][:5] == [
        each.name for each in first[10:15]
    ]
    assert await world.fs.readdir(number, 0) == first
    assert await world.fs.readdir(number, first[-1].position) == second
    world.fs.releasedir(number)


async def test_local_and_foreign_names_are_one_directory(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"1", "c/x": b"2"})
    await world.write_file("b", b"3")
    await world.mkdir("d")
    await world.write_file("a", b"4")
    await world.symlink("a", "l")
    assert sorted(await world.ls()) == ["a", "b", "c/", "d/", "l"]


async def test_a_directory_removed_while_it_is_open_is_empty(world: World) -> None:
    ino = await world.mkdir("d")
    number = await world.fs.opendir(ino)
    await world.rmdir("d")
    assert await world.fs.readdir(number, 0) == []
    world.fs.releasedir(number)


async def test_a_file_cannot_be_listed(world: World) -> None:
    await world.write_file("a", b"")
    with pytest.raises(NotADirectory):
        await world.fs.opendir((await world.stat("a")).ino)


async def test_names_removed_while_a_page_is_read_end_nothing(world: World, store: CountedStore) -> None:
    """A whole batch of names that are gone is no end of the directory."""
    await store.foreign(numbered(300))
    number = await world.fs.opendir((await world.stat("")).ino)
    first = await world.fs.readdir(number, 0)
    for name in range(len(first), 250):
        await world.unlink(f"f{name:05d}")
    seen = [each.name for each in first]
    position = first[-1].position
    while some := await world.fs.readdir(number, position):
        seen += [each.name for each in some]
        position = some[-1].position
    assert set(seen) >= {b"f%05d" % n for n in range(250, 300)}
    assert not set(seen) & {b"f%05d" % n for n in range(len(first), 250)}
    world.fs.releasedir(number)


NAMES = [f"f{n:05d}" for n in range(0, 1400, 35)] + [f"new{n}" for n in range(40)]
CHANGES = st.lists(
    st.tuples(st.sampled_from(["create", "unlink", "rename", "read", "read"]), st.sampled_from(NAMES)),
    max_size=60,
)


@pytest.mark.slow
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(before=st.sets(st.sampled_from(NAMES)), changes=CHANGES)
def test_what_is_there_throughout_is_shown_exactly_once(before: set[str], changes: list[tuple[str, str]]) -> None:
    """However the directory changes between two reads of its stream."""
    trio.run(_changing, before, changes, clock=MockClock())


async def _changing(before: set[str], changes: list[tuple[str, str]]) -> None:
    store = CountedStore()
    foreign = numbered(1200)
    await store.foreign(foreign)
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        async with a_world(Path(root), store) as world:
            for name in before:
                await world.write_file(name, b"before")
            present = {*foreign, *before}
            throughout = set(present)
            number = await world.fs.opendir((await world.stat("")).ino)
            seen: Counter[str] = Counter()
            position = 0
            for action, name in changes:
                if action == "read":
                    position = await _read_some(world, number, position, seen)
                else:
                    present = await _change(world, action, name, present)
                    throughout &= present
            while position >= 0:
                position = await _read_some(world, number, position, seen)
            assert {name: seen[name] for name in throughout} == dict.fromkeys(throughout, 1)
            assert max(seen.values(), default=1) == 1
            world.fs.releasedir(number)
            assert sorted(await world.ls()) == sorted(present)


async def _read_some(world: World, number: HandleNo, position: int, seen: Counter[str]) -> int:
    """Read on; -1 at the end."""
    if position < 0:
        return position
    entries = await world.fs.readdir(number, position)
    seen.update(each.name.decode() for each in entries)
    return entries[-1].position if entries else -1


async def _change(world: World, action: str, name: str, present: set[str]) -> set[str]:
    """Change one name and return what is there then."""
    if action == "create":
        await world.write_file(name, b"new")
        return present | {name}
    if name not in present:
        return present
    if action == "unlink":
        await world.unlink(name)
        return present - {name}
    if action == "rename":
        target = f"{name}.moved"
        await world.rename(name, target)
        return present - {name} | {target}
    return present


async def test_a_listing_after_a_restart_asks_nobody(
    tmp_path: Path, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign(numbered(1500, "d/"))
    async with a_world(tmp_path, store) as world:
        assert len(await world.ls("d")) == 1500
        before = (await world.stat("d/f00007")).ino
    store.since()
    async with a_world(tmp_path, store) as world:
        assert len(await world.ls("d")) == 1500
        assert store.since()["list"] <= 1  # its parent's, for the name
        assert (await world.stat("d/f00007")).ino == before
        mock_clock.jump(TTL_S + 1)
        assert len(await world.ls("d")) == 1500
        assert store.since()["list"] == 3  # its parent's and two pages
