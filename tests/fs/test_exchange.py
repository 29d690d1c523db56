"""Two names that swap places, and what RENAME_NOREPLACE refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.errors import AlreadyExists, InvalidArgument, NotFound
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import CountedStore, World


async def test_two_files(world: World) -> None:
    await world.write_file("a", b"one")
    await world.write_file("b", b"another")
    inodes = [(await world.stat(name)).ino for name in "ab"]
    await world.exchange("a", "b")
    assert [(await world.stat(name)).ino for name in "ba"] == inodes
    assert [await world.read_file(name) for name in "ab"] == [b"another", b"one"]


@pytest.mark.parametrize("is_foreign", [False, True])
async def test_a_file_and_a_directory(world: World, store: CountedStore, is_foreign: bool) -> None:
    """Each reads from where it was until the store has followed."""
    if is_foreign:
        await store.foreign({"d/s/x": b"below", "f": b"file"})
    else:
        await world.mkdir("d")
        await world.mkdir("d/s")
        await world.write_file("d/s/x", b"below")
        await world.write_file("f", b"file")
    await world.exchange("d", "f")
    assert await world.ls() == (["d", "f/"])
    assert await world.read_file("f/s/x") == b"below"
    assert await world.read_file("d") == b"file"


async def test_in_two_directories(world: World) -> None:
    for name in ("p", "q", "p/d"):
        await world.mkdir(name)
    await world.write_file("q/f", b"file")
    await world.exchange("p/d", "q/f")
    assert (await world.ls("p"), await world.ls("q")) == (["d"], ["f/"])
    assert [(await world.stat(name)).nlink for name in ("p", "q", "q/f")] == [2, 3, 2]


async def test_what_cannot_be_exchanged(world: World) -> None:
    await world.mkdir("d")
    await world.write_file("d/f", b"x")
    with pytest.raises(InvalidArgument):
        await world.exchange("d", "d/f")
    with pytest.raises(InvalidArgument):
        await world.exchange("d/f", "d")
    with pytest.raises(NotFound):
        await world.exchange("d", "absent")
    with pytest.raises(NotFound):
        await world.exchange("absent", "d")
    await world.exchange("d", "d")
    assert await world.ls("d") == ["f"]


async def test_no_replace(world: World) -> None:
    await world.write_file("a", b"a")
    await world.write_file("b", b"b")
    with pytest.raises(AlreadyExists):
        await world.rename("a", "b", replace=False)
    await world.rename("a", "c", replace=False)
    assert await world.ls() == ["b", "c"]


async def test_the_store_follows(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Files, directories, and one of each, of which all have objects in the other's place."""
    store = RecordedStore()
    await store.foreign({"a": b"a", "b": b"b", "d/x": b"d", "e/x": b"e", "e/y": b"e", "f": b"f", "g/z": b"g"})
    async with a_drained_world(tmp_path, store) as world:
        for pair in (("a", "b"), ("d", "e"), ("f", "g")):
            await world.exchange(*pair)
        await world.settle()
    assert store.objects() == {"a": b"b", "b": b"a", "d/x": b"e", "d/y": b"e", "e/x": b"d", "g": b"f", "f/z": b"g"}
