"""What the kernel is told not to believe any more: all that the store changed, and nothing that it asked for itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.errors import NotFound
from fusecache.fs.stale import Stale
from fusecache.namespace.records import Place
from fusecache.types import ROOT_INO
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import TTL_S, CountedStore, World


def told(world: World) -> list[Stale]:
    """Return what was told since the last look."""
    found = world.stale.copy()
    world.stale.clear()
    return found


async def test_another_version(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    """Its name, and the attributes of the old version, which may be open."""
    await store.foreign({"a": b"old", "b": b"same"})
    old = (await world.stat("a")).ino
    await world.stat("b")
    await store.foreign({"a": b"newer"})
    mock_clock.jump(TTL_S + 1)
    assert told(world) == []
    await world.ls()
    assert told(world) == [Place(ROOT_INO, b"a"), old]
    await world.ls()
    await world.stat("a")
    assert told(world) == []


@pytest.mark.parametrize("noticed_by", ["ls", "stat", "getattr"])
async def test_what_is_gone(world: World, store: CountedStore, mock_clock: MockClock, noticed_by: str) -> None:
    """By a listing, by a lookup, and by the HEAD for an inode that only a listing has told of."""
    await store.foreign({"a": b"x"})
    await world.ls()
    ino = world.ns.tables.dentries.get(ROOT_INO, b"a")
    assert ino is not None
    store.forget("a")
    if noticed_by == "ls":
        mock_clock.jump(TTL_S + 1)
        assert await world.ls() == []
    else:
        with pytest.raises(NotFound):
            await (world.stat("a") if noticed_by == "stat" else world.fs.getattr(ino.inode_no))
    assert told(world) == [Place(ROOT_INO, b"a"), ino.ino]


async def test_a_tree_that_is_gone_from_its_top_to_its_files(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    """Who has a directory of it as his working directory sees what is below, too."""
    await store.foreign({"d/e/a": b"x"})
    inos = [(await world.stat(path)).ino for path in ("d", "d/e", "d/e/a")]
    store.forget("d/e/a")
    mock_clock.jump(TTL_S + 1)
    assert await world.ls() == []
    assert told(world) == [Place(ROOT_INO, b"d"), inos[0], Place(inos[0], b"e"), inos[1], Place(inos[1], b"a"), inos[2]]


async def test_a_file_that_became_a_directory(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    await store.foreign({"a": b"x"})
    ino = (await world.stat("a")).ino
    store.forget("a")
    await store.foreign({"a/b": b"x"})
    mock_clock.jump(TTL_S + 1)
    assert await world.ls() == ["a/"]
    assert told(world) == [Place(ROOT_INO, b"a"), ino]


async def test_what_appears_was_not_believed_in(world: World, store: CountedStore, mock_clock: MockClock) -> None:
    """The kernel keeps no names that were not there, and no attributes that only a listing told."""
    with pytest.raises(NotFound):
        await world.stat("a")
    await store.foreign({"a": b"x"}, mode=str(0o100600))
    mock_clock.jump(TTL_S + 1)
    assert [each.entry.timeout_s for each in await world.entries(ROOT_INO)] == [0.0]
    assert (await world.stat("a")).mode == 0o100600
    assert told(world) == []


async def test_what_the_kernel_asked_for(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"x", "b": b"x", "d/a": b"x", "e/": b""})
    await world.ls()
    await world.write_file("a", b"written")
    await world.write_file("new", b"written")
    await world.rename("new", "b")
    await world.rename("d", "moved")
    await world.truncate("a", 1)
    await world.setattr("a", mode=0o600)
    await world.link("a", "hard")
    await world.unlink("a")
    await world.rmdir("e")
    await world.mkdir("made")
    await world.ls()
    assert told(world) == []


async def test_a_drain(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Uploads, copies, deletes and relocations change where bytes are, not what is seen."""
    store = RecordedStore()
    await store.foreign({"d/a": b"x", "d/s/b": b"x", "gone": b"x", "old": b"x"})
    async with a_drained_world(tmp_path, store, ttl_s=0.0) as world:
        await world.rename("d", "e")
        await world.rename("old", "new")
        await world.unlink("gone")
        await world.write_file("made", b"x")
        await world.mkdir("empty")
        for _ in range(2):
            await world.settle()
            assert sorted(await world.ls()) == ["e/", "empty/", "made", "new"]
            assert sorted(await world.ls("e")) == ["a", "s/"]
        assert told(world) == []


async def test_a_name_of_several_leaves_a_link_less(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, ttl_s=0.0) as world:
        await world.write_file("a", b"x")
        await world.link("a", "b")
        await world.settle()
        ino = (await world.stat("a")).ino
        assert told(world) == []
        store.forget("b")
        assert await world.ls() == ["a"]
        assert told(world) == [Place(ROOT_INO, b"b"), ino]
        assert (await world.stat("a")).nlink == 1
