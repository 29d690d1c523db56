"""A listing that is still believed, and what has happened in the store through us since it was made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.errors import DirectoryNotEmpty, NotFound
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import TTL_S


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store, ttl_s=TTL_S) as opened:
        yield opened


async def test_what_was_removed_stays_away(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    """Also after somebody asked for it, and was told by a HEAD that it is gone."""
    await store.foreign({"d/a": b"1", "d/b": b"2"})
    assert await world.ls("d") == ["a", "b"]
    await world.unlink("d/a")
    await world.settle()
    for _ in range(2):
        assert await world.ls("d") == ["b"]
        with pytest.raises(NotFound):
            await world.stat("d/a")


async def test_what_others_removed_stays_away(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"d/a": b"1", "d/b": b"2"})
    await world.ls("d")
    store.forget("d/a")
    with pytest.raises(NotFound):
        await world.stat("d/a")  # its HEAD tells
    assert await world.ls("d") == ["b"]


async def test_what_others_put_back_is_seen(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"d/a": b"1", "d/b": b"2"})
    await world.ls("d")
    await world.unlink("d/a")
    await world.settle()
    await store.foreign({"d/a": b"again"})
    autojump_clock.jump(TTL_S + 1)
    assert await world.ls("d") == ["a", "b"]
    assert await world.read_file("d/a") == b"again"


async def test_a_directory_where_a_file_was_listed(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """A HEAD tells, later than the listing, that the file is gone; not that nothing has its name."""
    await store.foreign({"d/a": b"1", "d/b": b"2"})
    await world.ls("d")
    await world.unlink("d/a")
    ino = await world.mkdir("d/a")
    await world.settle()
    assert (await world.stat("d/a")).ino == ino
    await world.write_file("d/a/c", b"3")
    await world.settle()
    assert await world.ls("d") == ["a/", "b"]
    assert await world.read_file("d/a/c") == b"3"
    assert store.objects() == {"d/a/c": b"3", "d/b": b"2"}


async def test_whiteouts_end_with_the_first_listing_that_is_newer(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({f"d/{n}": b"1" for n in range(9)})
    await world.ls("d")
    for n in range(8):
        await world.unlink(f"d/{n}")
    await world.settle()
    autojump_clock.jump(TTL_S + 1)
    assert await world.ls("d") == ["8"]
    ino = (await world.stat("d")).ino
    assert [row.name for row in world.ns.tables.dentries.children(ino, after=b"", count=99)] == [b"8"]


async def test_a_directory_moved_to_where_one_was_listed_is_listed_anew(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"x/b0": b"x", "x/s/c": b"x", "z/b0": b"z", "y/": b""})
    assert await world.ls("y") == []
    await world.rmdir("y")
    await world.settle()
    await world.rename("x", "y")
    await world.settle()
    assert await world.ls("y") == ["b0", "s/"]
    assert await world.ls("y/s") == ["c"]
    with pytest.raises(DirectoryNotEmpty):
        await world.rename("z", "y")
    with pytest.raises(DirectoryNotEmpty):
        await world.rmdir("y")


async def test_other_files_of_the_same_names_are_those_that_moved_there(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"x/a": b"of x", "x/s/a": b"of x/s", "y/a": b"older", "y/s/a": b"older", "y/gone": b"1"})
    for path in ("y", "y/s"):
        await world.ls(path)
    await world.rename("y", "y0")
    await world.settle()
    await world.rename("x", "y")
    await world.settle()
    assert await world.ls("y") == ["a", "s/"]
    assert await world.read_file("y/a") == b"of x"
    assert await world.read_file("y/s/a") == b"of x/s"
    assert await world.read_file("y0/s/a") == b"older"
