"""What reaches the store, in which order and with how many requests.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.types import ROOT_INO, FlushProgress, ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


# --- files ---


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


# --- directories ---


async def tree(world: Drained, store: RecordedStore) -> None:
    """A directory with what is known, what is not, and what is dirty."""
    await store.foreign({"d/known": b"1", "d/x/unknown": b"2", "d/unknown": b"3", "d/dirty": b"4"})
    assert await world.read_file("d/known") == b"1"
    await world.write_file("d/dirty", b"44")
    await world.write_file("d/new", b"5")


TREE = {"known": b"1", "x/unknown": b"2", "unknown": b"3", "dirty": b"44", "new": b"5"}


def under(prefix: str, files: dict[str, bytes] = TREE) -> dict[str, bytes]:
    return {prefix + name: data for name, data in files.items()}


async def test_rename_of_a_directory_moves_all_that_is_below(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await tree(world, store)
    await world.rename("d", "e")
    await world.settle()
    assert store.objects() == under("e/")
    assert world.tasks_left() == 0
    assert await world.ls("e") == sorted(["dirty", "known", "new", "unknown", "x/"])


async def test_a_renamed_directory_is_renamed_again_while_it_is_copied(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await tree(world, store)
    await world.settle()
    gate = store.hold("copy")
    await world.rename("d", "e")
    await trio.sleep(2)
    await world.rename("e", "f")
    await world.mkdir("e")
    await world.write_file("e/known", b"another")
    await trio.sleep(2)
    gate.set()
    await world.settle()
    assert store.objects() == under("f/") | {"e/known": b"another"}


async def test_unlink_while_its_directory_is_copied(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await tree(world, store)
    await world.settle()
    gate = store.hold("copy")
    await world.rename("d", "e")
    await trio.sleep(2)
    for name in ("known", "unknown", "x/unknown"):
        await world.unlink(f"e/{name}")
    await world.rmdir("e/x")
    gate.set()
    await world.settle()
    await trio.sleep(5)
    assert store.objects() == {"e/dirty": b"44", "e/new": b"5"}
    assert await world.ls("e") == ["dirty", "new"]


async def test_rmdir_while_a_directory_is_copied_leaves_nothing(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/a": b"1", "d/b": b"2"})
    gate = store.hold("copy")
    await world.rename("d", "e")
    await trio.sleep(2)
    await world.unlink("e/a")
    await world.unlink("e/b")
    await world.rmdir("e")
    gate.set()
    await world.settle()
    await trio.sleep(5)
    assert store.objects() == {}


async def test_swapped_directories(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"a/1": b"a1", "a/2": b"a2", "b/1": b"b1", "b/3": b"b3"})
    await world.rename("a", "t")
    await world.rename("b", "a")
    await world.rename("t", "b")
    await world.settle()
    assert store.objects() == {"a/1": b"b1", "a/3": b"b3", "b/1": b"a1", "b/2": b"a2"}
    assert not world.tasks_left()


async def test_a_table_moved_aside_and_written_anew(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"t/1": b"old 1", "t/2": b"old 2"})
    await world.rename("t", "t_old")
    await world.mkdir("t")
    await world.write_file("t/1", b"new 1")
    await world.settle()
    assert store.objects() == {"t/1": b"new 1", "t_old/1": b"old 1", "t_old/2": b"old 2"}


@pytest.mark.parametrize("inner", ["a", "b"])
async def test_a_directory_takes_the_place_of_its_parent(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, inner: str
) -> None:
    await store.foreign({f"a/{inner}/f": b"1", f"a/{inner}/{inner}/f": b"2"})
    await world.rename(f"a/{inner}", "t")
    await world.rmdir("a")
    await world.rename("t", "a")
    await world.settle()
    assert store.objects() == {"a/f": b"1", f"a/{inner}/f": b"2"}


@pytest.mark.slow
async def test_more_than_a_page_is_relocated(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    files = {f"{n:04}": b"%d" % n for n in range(2100)}
    await store.foreign(under("d/", files))
    await world.rename("d", "e")
    await world.settle()
    assert store.objects() == under("e/", files)


async def test_an_empty_directory_has_a_marker_until_it_has_a_child(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.mkdir("d")
    await world.settle()
    assert store.objects() == {"d/": b""}
    await world.write_file("d/f", b"1")
    await world.settle()
    await trio.sleep(5)
    assert store.objects() == {"d/f": b"1"}
    await world.unlink("d/f")
    await world.settle()
    assert store.objects() == {"d/": b""}
    await world.rename("d", "e")
    await world.settle()
    assert store.objects() == {"e/": b""}
    await world.rmdir("e")
    await world.settle()
    assert store.objects() == {}


# --- staging and commit markers ---


async def committed(world: Drained, store: RecordedStore, *, count: int = 5) -> None:
    """Write a dataset as Spark's FileOutputCommitter does."""
    for path in ("out", "out/_temporary", "out/_temporary/0"):
        await world.mkdir(path)
    for n in range(count):
        await world.write_file(f"out/_temporary/0/{n}", b"%d" % n)
    await world.settle()
    assert not [key for key in sorted(store.objects()) if "_temporary" in key]
    for n in range(count):
        await world.rename(f"out/_temporary/0/{n}", f"out/{n}")
    await world.rmdir("out/_temporary/0")
    await world.rmdir("out/_temporary")
    await world.write_file("out/_SUCCESS", b"")


async def test_staging_is_never_uploaded_and_success_comes_last(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await committed(world, store)
    await world.settle()
    assert store.writes[-1] == "put out/_SUCCESS"
    assert sorted(store.objects()) == [*(f"out/{n}" for n in range(5)), "out/_SUCCESS"]
    assert world.persister.report().files_local == 0


async def test_a_marker_waits_for_a_file_that_the_store_refuses_for_now(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    gate = store.hold("put")
    await committed_quickly(world)
    await trio.sleep(60)
    assert store.writes == ["put t/data"]
    gate.set()
    await world.settle()
    assert store.writes == ["put t/data", "put t/_delta_log/0.json"]


async def committed_quickly(world: Drained) -> None:
    await world.mkdir("t")
    await world.mkdir("t/_delta_log")
    await world.write_file("t/data", b"1")
    await world.write_file("t/_delta_log/0.json", b"{}")


async def test_local_files_are_counted_and_not_waited_for(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await world.write_file(".x.tmp", b"123")
    told = await world.persister.drain()
    assert told.files_left == 0
    report = world.persister.report()
    assert (report.files_local, report.bytes_local, report.files_dirty) == (1, 3, 0)
    await world.rename(".x.tmp", "x")
    await world.settle()
    assert store.objects() == {"x": b"123"}


# --- large files ---


async def test_a_large_file_goes_in_parts(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    data = pattern(11 * MIB)
    await world.write_file("big", data)
    await world.settle()
    assert store.writes == ["multipart big"]
    assert store.content("big") == data
    assert await world.read_file("big") == data
    assert store.since()["get"] == 0


async def test_an_interrupted_upload_leaves_no_parts(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, store) as world:
        gate = store.hold("part")
        await world.write_file("big", pattern(11 * MIB))
        await trio.sleep(2)
        assert store.parts_left == 1
    assert store.parts_left == 0
    gate.set()
    assert store.objects() == {}
    async with a_drained_world(tmp_path, store) as world:
        await world.settle()
    assert store.content("big") == pattern(11 * MIB)


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


# --- flush ---


async def test_flush_does_not_wait_for_the_delay_nor_for_others(
    autojump_clock: MockClock, tmp_path: Path, store: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, store, delay_s=3600.0) as world:
        await world.mkdir("d")
        await world.write_file("d/f", b"1")
        await world.write_file("g", b"2")
        told: list[FlushProgress] = []
        done = await world.persister.flush((await world.stat("d")).ino, progress=told.append)
        assert store.objects() == {"d/f": b"1"}
        assert (done.files_left, done.bytes_left, done.bytes_done) == (0, 0, 1)
        assert told[0].bytes_left == 1
        await world.persister.flush(ROOT_INO)
        assert store.objects() == {"d/f": b"1", "g": b"2"}


async def test_flush_lists_what_is_open_and_does_not_wait_for_it(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    number = await world.create("f")
    await world.fs.write(number, 0, b"1")
    told = await world.persister.drain()
    assert told.open_files == ("f",)
    assert told.files_left == 1
    assert store.objects() == {}
    await world.close(number)
    assert (await world.persister.drain()).files_left == 0
    assert store.objects() == {"f": b"1"}


async def test_a_lost_base_is_stuck_and_said(autojump_clock: MockClock, world: Drained, store: RecordedStore) -> None:
    await store.foreign({"f": pattern(1 << 20), "g": b"2"})
    await world.write_at("f", 0, b"x")
    store.forget("f")
    told = await world.persister.drain()
    assert [(entry["path"], entry["error"]) for entry in told.stuck] == [("f", "base object changed")]
    report = world.persister.report()
    assert report.files_dirty == 1
    assert [entry["path"] for entry in report.stuck] == ["f"]
