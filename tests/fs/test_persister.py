"""What reaches the store of files, in which order and with how many requests.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.types import ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


async def test_create_and_rename_is_one_put(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.rename("a", "b")
    await world.settle()
    assert store.writes == ["put b"]
    assert world.tasks_left() == 0


async def test_create_and_unlink_is_no_request(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await world.write_file("a", b"1")
    await world.unlink("a")
    await world.settle()
    assert store.writes == []


async def test_an_upload_waits_for_the_delay_and_then_is_made(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await trio.sleep(0.9)
    assert store.writes == []
    await trio.sleep(0.5)
    assert store.writes == ["put a"]


async def test_an_overwrite_replaces_the_object(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.settle()
    await world.write_file("a", b"22")
    await world.settle()
    assert store.objects() == {"a": b"22"}
    assert store.writes == ["put a", "put a"]


async def test_delete_and_create_is_an_overwrite(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.settle()
    await world.unlink("a")
    await world.write_file("a", b"2")
    await world.settle()
    await trio.sleep(10)
    assert store.objects() == {"a": b"2"}
    assert store.writes == ["put a", "put a"]
    assert world.tasks_left() == 0


async def test_rename_of_a_clean_file_is_a_copy_and_a_delete(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.settle()
    await world.rename("a", "b")
    await world.settle()
    assert store.writes == ["put a", "copy a b", "delete a"]
    assert await world.read_file("b") == b"1"
    assert store.since()["get"] == 0


async def test_attributes_reach_the_object_and_follow_a_rename(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file("a", b"1")
    await world.settle()
    await world.setattr("a", mode=0o600)
    await world.settle()
    assert store.writes == ["put a", "copy a a"]
    info = await store.head(ObjectKey("a"))
    assert info.metadata is not None
    assert int(info.metadata["mode"]) & 0o777 == 0o600
    assert await world.read_file("a") == b"1"
    assert store.since()["get"] == 0


async def test_a_symbolic_link_is_an_empty_object(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.symlink("x/ä", "link")
    await world.settle()
    assert store.objects() == {"link": b""}


async def test_swapped_files(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    for name in "ab":
        await world.write_file(name, name.encode())
    await world.settle()
    await world.rename("a", "t")
    await world.rename("b", "a")
    await world.rename("t", "b")
    await world.settle()
    assert store.objects() == {"a": b"b", "b": b"a"}


async def test_a_file_where_a_directory_was_and_the_reverse(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.mkdir("d")
    await world.write_file("d/f", b"1")
    await world.write_file("e", b"2")
    await world.settle()
    await world.rename("d/f", "f")
    await world.rmdir("d")
    await world.write_file("d", b"3")
    await world.rename("e", "t")
    await world.mkdir("e")
    await world.rename("t", "e/t")
    await world.settle()
    assert store.objects() == {"d": b"3", "e/t": b"2", "f": b"1"}


async def test_deletes_share_a_request(autojump_clock: MockClock, tmp_path: Path, store: RecordedStore) -> None:
    async with a_drained_world(tmp_path, store, delay_s=3600.0) as world:
        await store.foreign({f"d/{n:04}": b"x" for n in range(100)})
        store.writes.clear()
        for name in await world.ls("d"):
            await world.unlink(f"d/{name}")
        await world.settle()
    assert sorted(write.partition(" ")[0] for write in store.writes) == ["delete", "put"]
    assert store.objects() == {"d/": b""}


# --- large files ---


@pytest.mark.slow
async def test_a_large_file_goes_in_parts(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    data = pattern(11 * MIB)
    await world.write_file("big", data)
    await world.settle()
    assert store.writes == ["multipart big"]
    assert store.content("big") == data
    assert await world.read_file("big") == data
    assert store.since()["get"] == 0


async def test_a_partly_local_file_is_made_whole_before_it_is_sent(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(1 << 20)
    await store.foreign({"f": data})
    await world.write_at("f", 100_000, b"changed")
    await world.settle()
    assert store.content("f") == data[:100_000] + b"changed" + data[100_007:]


async def test_a_file_written_while_it_is_sent_is_sent_again(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("put")
    await world.write_file("f", b"1")
    await trio.sleep(2)
    await world.write_file("f", b"22")
    gate.set()
    await world.settle()
    assert store.content("f") == b"22"


async def test_an_unlinked_open_file_keeps_its_object_until_it_is_read(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    data = pattern(1 << 20)
    await store.foreign({"f": data})
    store.gate = trio.Event()  # the prefetch of what is missing waits
    number = await world.open("f")
    await world.unlink("f")
    told = await world.persister.drain()
    assert told.waiting_open == 1
    assert store.objects() == {"f": data}
    store.gate.set()
    assert await world.read(number) == data
    await world.close(number)
    await trio.sleep(5)
    assert store.objects() == {}
