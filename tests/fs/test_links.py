"""Hard links: one inode here, an object for each name in the store.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import AlreadyExists, NotFound, NotPermitted
from fusecache.types import ObjectKey
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore(is_versioned=True)


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def test_two_names_are_one_inode(autojump_clock: MockClock, world: Drained) -> None:
    await world.write_file("a", b"1")
    await world.mkdir("d")
    await world.link("a", "d/b")
    one, other = await world.stat("a"), await world.stat("d/b")
    assert (one.ino, one.nlink) == (other.ino, 2)
    await world.write_file("d/b", b"22")
    assert await world.read_file("a") == b"22"
    await world.unlink("a")
    assert (await world.stat("d/b")).nlink == 1
    assert await world.read_file("d/b") == b"22"


async def test_what_cannot_be_linked(autojump_clock: MockClock, world: Drained) -> None:
    await world.write_file("a", b"1")
    ino = await world.mkdir("d")
    with pytest.raises(AlreadyExists):
        await world.link("a", "d")
    with pytest.raises(NotPermitted):
        await world.fs.link(ino, await world.place("e"))
    number = await world.open("a")
    gone = (await world.stat("a")).ino
    await world.unlink("a")
    with pytest.raises(NotFound):
        await world.fs.link(gone, await world.place("b"))
    await world.close(number)


async def test_each_name_is_an_object(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.link("a", "b")
    await world.settle()
    assert store.objects() == {"a": b"1", "b": b"1"}
    await world.write_file("b", b"22")
    await world.settle()
    assert store.objects() == {"a": b"22", "b": b"22"}
    assert world.tasks_left() == 0


async def test_the_link_of_a_clean_file_is_one_copy(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(3 * BLOCK)
    await store.foreign({"a": data})
    await world.link("a", "b")
    store.since()
    store.writes.clear()
    await world.settle()
    assert store.writes == ["copy a b"]
    assert store.since()["get"] == 0
    assert store.objects() == {"a": data, "b": data}
    assert (await world.stat("b")).base_key == "a"


async def test_a_change_of_attributes_reaches_every_name(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.link("a", "b")
    await world.link("a", "c")
    await world.settle()
    await world.setattr("b", mode=0o100600)
    await world.settle()
    for name in ("a", "b", "c"):
        metadata = (await store.head(ObjectKey(name))).metadata
        assert metadata is not None
        assert metadata["mode"] == str(0o100600)


async def test_the_name_whose_object_is_read_goes_first(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """Nothing of it is local: the bytes move to the other name, as if it had been renamed."""
    data = pattern(3 * BLOCK)
    await store.foreign({"a": data})
    await world.link("a", "b")
    await world.unlink("a")
    await world.settle()
    assert store.objects() == {"b": data}
    assert await world.read_file("b") == data
    assert world.tasks_left() == 0


async def test_the_name_whose_object_is_read_goes_later(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(3 * BLOCK)
    await store.foreign({"a": data})
    await world.link("a", "b")
    await world.settle()
    await world.unlink("a")
    await world.settle()
    assert store.objects() == {"b": data}
    assert await world.read_file("b") == data


async def test_a_name_moves_alone(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"a": b"1", "d/x": b"2"})
    await world.link("a", "b")
    await world.settle()
    await world.rename("a", "d/a")
    await world.rename("d", "e")
    await world.settle()
    assert store.objects() == {"e/a": b"1", "b": b"1", "e/x": b"2"}
    assert (await world.stat("b")).ino == (await world.stat("e/a")).ino
    assert world.tasks_left() == 0


async def test_a_rename_over_another_name_of_the_file_does_nothing(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.link("a", "b")
    await world.rename("a", "b")
    assert await world.ls() == ["a", "b"]


async def test_a_link_out_of_staging_is_sent(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.mkdir("_temporary")
    await world.write_file("_temporary/a", b"1")
    await trio.sleep(5)
    assert store.objects() == {}
    await world.link("_temporary/a", "a")
    await world.settle()
    assert store.objects() == {"a": b"1"}
    await world.rename("_temporary/a", "b")
    await world.settle()
    assert store.objects() == {"a": b"1", "b": b"1"}


async def test_a_link_of_a_clean_file_stays_local_below_a_staging_name(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"a": b"1"})
    await world.mkdir("_temporary")
    await world.link("a", "_temporary/b")
    await world.settle()
    assert store.objects() == {"a": b"1"}
    await world.rename("_temporary/b", "b")
    await world.settle()
    assert store.objects() == {"a": b"1", "b": b"1"}


async def test_what_is_left_of_two_names_moves_and_is_linked_again(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """The upload for the name that is gone is still wanted, and sends neither: one has the bytes, elsewhere."""
    await world.write_file("a", b"1")
    await world.link("a", "b")
    await world.settle()
    store.pause_s = 1.0
    store.writes.clear()
    await world.write_file("a", b"22")
    await trio.sleep(4)  # one name has them, the other is on its way
    assert [each.split()[0] for each in store.writes] == ["put", "put"]
    sent, gone = (each.split()[1] for each in store.writes)
    await world.unlink(gone)
    await world.rename(sent, "c")
    await world.link("c", "d")
    store.pause_s = 0.0
    await world.settle()
    assert store.objects() == {"c": b"22", "d": b"22"}
    assert world.tasks_left() == 0


async def test_a_foreign_version_of_one_name_parts_them(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(3 * BLOCK)
    await store.foreign({"a": data})
    await world.link("a", "b")
    await world.settle()
    await store.foreign({"a": b"theirs"})
    assert await world.read_file("a") == b"theirs"
    one, other = await world.stat("a"), await world.stat("b")
    assert (one.nlink, other.nlink) == (1, 1)
    assert one.ino != other.ino
    assert await world.read_file("b") == data


async def test_the_object_that_is_read_is_replaced_by_somebody(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    """Nobody has noticed yet, and the other name has an object of its own with the same bytes."""
    data = pattern(3 * BLOCK)
    await store.foreign({"a": data})
    async with a_drained_world(tmp_path, store, ttl_s=60.0) as world:
        await world.link("a", "b")
        await world.settle()
        await store.foreign({"a": b"theirs"})
        assert await world.read_file("b") == data


async def test_a_link_made_while_its_file_is_sent(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    gate = store.hold("put")
    await trio.sleep(5)
    await world.link("a", "b")
    gate.set()
    await world.settle()
    assert store.objects() == {"a": b"1", "b": b"1"}


async def test_a_name_goes_while_its_file_is_sent(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.link("a", "b")
    gate = store.hold("put")
    await trio.sleep(5)
    sent = store.writes[-1].split()[1]
    await world.unlink(sent)
    gate.set()
    await world.settle()
    assert store.objects() == {"ab".replace(sent, ""): b"1"}
    assert world.tasks_left() == 0


async def test_links_are_there_after_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"1")
        await world.link("a", "b")
    async with a_drained_world(tmp_path, store) as world:
        assert (await world.stat("a")).ino == (await world.stat("b")).ino
        number = await world.open("a", os.O_RDONLY)
        await world.unlink("a")
        await world.unlink("b")
        assert await world.read(number) == b"1"
        await world.close(number)
        await world.settle()
    assert store.objects() == {}
