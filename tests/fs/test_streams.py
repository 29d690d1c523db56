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
from fusecache.types import ROOT_INO, HandleNo, ObjectInfo, ObjectKey
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
    st.tuples(st.sampled_from(["create", "unlink", "rename", "open", "rewind", *["read"] * 3]), st.sampled_from(NAMES)),
    max_size=60,
)


async def _listed(world: World, number: HandleNo) -> list[str]:
    """Read a directory from its beginning."""
    found, position = [], 0
    while entries := await world.fs.readdir(number, position):
        found += [each.name.decode() for each in entries]
        position = entries[-1].position
    return found


async def test_who_begins_again_sees_what_is_there_now(world: World) -> None:
    """rewinddir(3): also what was created since the first time."""
    for name in "abc":
        await world.write_file(name, b"")
    number = await world.fs.opendir(ROOT_INO)
    assert sorted(await _listed(world, number)) == ["a", "b", "c"]
    await world.write_file("d", b"")
    await world.unlink("a")
    assert sorted(await _listed(world, number)) == ["b", "c", "d"]
    world.fs.releasedir(number)


async def test_who_opens_sees_what_was_made_since_another_reader_was_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read on in one listing, and the name was made where the first one had been already."""
    monkeypatch.setattr("fusecache.fs.streams._LOCAL_CHUNK", 5)
    ino = await world.mkdir("d")
    names = [f"f{n:03d}" for n in range(150)]
    for name in names:
        await world.write_file(f"d/{name}", b"")
    one = await world.fs.opendir(ino)
    position = (await world.fs.readdir(one, 0))[-1].position
    await world.write_file("d/a", b"")
    other = await world.fs.opendir(ino)
    assert sorted(await _listed(world, other)) == ["a", *names]
    assert (await world.fs.readdir(one, position))[0].name.decode() == names[position]
    for number in (one, other):
        world.fs.releasedir(number)


async def test_who_opens_later_sees_what_the_store_has_then(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign(numbered(1200))
    one = await world.fs.opendir(ROOT_INO)
    await _listed(world, one)
    store.forget("f00003")
    await store.foreign({"new": b""})
    mock_clock.jump(TTL_S + 1)
    other = await world.fs.opendir(ROOT_INO)
    assert sorted(await _listed(world, other)) == sorted(({*numbered(1200)} - {"f00003"}) | {"new"})
    for number in (one, other):
        world.fs.releasedir(number)


async def test_an_unchanged_directory_is_not_merged_again(world: World, store: CountedStore) -> None:
    await store.foreign(numbered(600))
    assert len(await world.ls()) == 600
    store.since()
    number = await world.fs.opendir(ROOT_INO)
    assert world.fs.streams.get(number).count == 600
    world.fs.releasedir(number)
    await world.write_file("one", b"")
    assert len(await world.ls()) == 601
    assert store.since()["list"] == 0


async def test_a_page_that_nobody_waited_for_lacks_nothing(
    world: World, store: CountedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt comes while empty objects are asked for their type."""
    await store.foreign(numbered(3, data=b""))

    async def head(key: ObjectKey) -> ObjectInfo:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(store, "head", head)
    number = await world.fs.opendir(ROOT_INO)
    with trio.move_on_after(1):
        await world.fs.readdir(number, 0)
    monkeypatch.undo()
    assert await _listed(world, number) == [*numbered(3)]
    world.fs.releasedir(number)


@pytest.mark.slow
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(before=st.sets(st.sampled_from(NAMES)), changes=CHANGES)
def test_what_is_there_throughout_is_shown_exactly_once(before: set[str], changes: list[tuple[str, str]]) -> None:
    """However the directory changes between two reads of its stream, and whoever has opened it meanwhile."""
    trio.run(_changing, before, changes, clock=MockClock())


class _Reader:
    """Reads a directory, as the kernel does with any of its handles."""

    def __init__(self, present: set[str]) -> None:
        self.throughout = set(present)
        self.seen: Counter[str] = Counter()
        self.position = 0

    async def read(self, world: World, number: HandleNo) -> None:
        """Read on; at the end the position is -1."""
        if self.position >= 0:
            entries = await world.fs.readdir(number, self.position)
            self.seen.update(each.name.decode() for each in entries)
            self.position = entries[-1].position if entries else -1

    async def finish(self, world: World, number: HandleNo) -> None:
        while self.position >= 0:
            await self.read(world, number)
        assert {name: self.seen[name] for name in self.throughout} == dict.fromkeys(self.throughout, 1)
        assert max(self.seen.values(), default=1) == 1


async def _changing(before: set[str], changes: list[tuple[str, str]]) -> None:
    store = CountedStore()
    foreign = numbered(1200)
    await store.foreign(foreign)
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        async with a_world(Path(root), store) as world:
            for name in before:
                await world.write_file(name, b"before")
            present = {*foreign, *before}
            numbers = [await world.fs.opendir(ROOT_INO)]
            readers = [_Reader(present)]
            for at, (action, name) in enumerate(changes):
                which = at % len(readers)
                if action == "open":
                    numbers.append(await world.fs.opendir(ROOT_INO))
                    readers.append(_Reader(present))
                elif action == "rewind":
                    readers[which] = _Reader(present)
                elif action == "read":
                    by = which if readers[which].position <= 0 else at * 7 % len(numbers)
                    await readers[which].read(world, numbers[by])
                else:
                    present = await _change(world, action, name, present)
                    for reader in readers:
                        reader.throughout &= present
            for reader, number in zip(readers, numbers, strict=True):
                await reader.finish(world, number)
                world.fs.releasedir(number)
            assert sorted(await world.ls()) == sorted(present)


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
