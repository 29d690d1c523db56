"""What reaches the store of directories: what is below a renamed one, and the markers of empty ones.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.persist import relocate
from tests.fs.draining import Drained, RecordedStore, a_drained_world


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store) as opened:
        yield opened


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


async def test_a_directory_that_is_at_home_does_not_step_aside_for_ever(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its relocation waits for that of the directory above, which waits for an upload: that has to step aside."""
    monkeypatch.setattr(relocate, "_PAGE", 1)
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await store.foreign({"d/a": b"1", "d/b": b"2", "g/x": b"3"})
        for path in ("d/a", "d/b", "g/x"):
            await world.read_file(path)
        store.pause_s = 1.0
        await world.rename("d", "c")
        await trio.sleep(4)
        assert "c/a" in store.objects()
        assert "c/b" not in store.objects()
        await world.rename("g", "c/g")
        await world.rename("c/a", "c/g/y")
        await world.write_at("c/g/y", 1, b"1")
    store.pause_s = 0.0
    async with a_drained_world(tmp_path, store) as world:
        with trio.fail_after(60):
            await world.settle()
        assert world.tasks_left() == 0
        assert store.objects() == {"c/b": b"2", "c/g/x": b"3", "c/g/y": b"11"}


async def test_a_directory_leaves_one_that_is_under_way_while_a_file_in_it_is_sent(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """What arrives at its old path is hidden there: it would be taken for what others have put."""
    await store.foreign({"d/x": b"1"})
    copies, puts = store.hold("copy"), store.hold("put")
    await world.rename("d", "e")
    await world.mkdir("e/b")
    await world.write_file("e/b/f", b"2")
    await trio.sleep(3)
    assert store.writes[1:] == ["copy d/x e/x", "put e/b/f"]
    await world.rename("e/b", "g")
    copies.set()
    await trio.sleep(0.5)
    puts.set()
    await trio.sleep(0.01)
    assert await world.ls("e") == ["x"]
    await world.rename("e", "h")
    await world.settle()
    assert store.objects() == {"h/x": b"1", "g/f": b"2"}


async def test_a_directory_that_came_into_a_table_that_moves_arrives_before_its_marker(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    """And goes nowhere else first."""
    await store.foreign({"t/_SUCCESS": b"1", "t/a": b"a", "t/p/c": b"c", "s/x": b"x"})
    store.writes.clear()
    await world.rename("s", "t/q")
    await world.rename("t", "u")
    await world.settle()
    copies = [each for each in store.writes if each.startswith("copy")]
    assert sorted(copies[:-1]) == ["copy s/x u/q/x", "copy t/a u/a", "copy t/p/c u/p/c"]
    assert copies[-1] == "copy t/_SUCCESS u/_SUCCESS"


async def test_how_far_a_directory_that_moves_has_got_is_told(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({f"d/{n:02}": b"x" for n in range(40)})
    store.pause_s = 1.0
    await world.rename("d", "e")
    seen, limits = [], set()
    while store.objects().keys() != {f"e/{n:02}" for n in range(40)}:
        await trio.sleep(0.5)
        report = world.persister.report()
        seen += report.relocating
        limits.add(report.limited_by)
    assert {each["path"] for each in seen} == {"e"}
    counts = [each["objects_copied"] for each in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) >= 2
    assert f"the move of e, {counts[-1]} objects so far" in limits
    await world.settle()
    assert world.persister.report().relocating == ()


@pytest.mark.parametrize("is_listed", [False, True])
async def test_a_directory_moves_with_the_markers_below_it_that_others_made(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, is_listed: bool
) -> None:
    await store.foreign({"d/x/": b"", "d/x/f": b"1", "d/": b"", "d/y/": b""})
    if is_listed:
        assert await world.read_file("d/x/f") == b"1"
    await world.rename("d", "e")
    with trio.fail_after(60):
        await world.settle()
    assert {key: data for key, data in store.objects().items() if data} == {"e/x/f": b"1"}
    assert "e/y/" in store.objects()
    assert not [key for key in store.objects() if key.startswith("d")]


async def test_a_directory_moves_as_fast_as_is_allowed_now(tmp_path: Path, autojump_clock: MockClock) -> None:
    """And not as it was at the mount."""

    class Counting(RecordedStore):
        in_flight = most = 0

        async def _record(self, request: str) -> None:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            await trio.sleep(1.0)
            self.in_flight -= 1
            await super()._record(request)

    store = Counting()
    await store.foreign({f"d/{number}": b"x" for number in range(40)})
    async with a_drained_world(tmp_path, store) as world:
        world.persister.tune(max_uploads=30)
        await world.rename("d", "e")
        await world.settle()
    assert store.most == 30


CHANGES: dict[str, tuple[Callable[[Drained], Awaitable[object]], dict[str, bytes]]] = {
    "is written below": (lambda world: world.write_file("d/y", b"2"), {"d/": b"theirs", "d/x": b"1", "d/y": b"2"}),
    "is emptied": (lambda world: world.unlink("d/x"), {"d/": b"theirs"}),
    "is renamed": (lambda world: world.rename("d", "f"), {"f/": b"theirs", "f/x": b"1"}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_object_with_the_name_of_a_directory_keeps_its_bytes(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, change: str
) -> None:
    """Somebody's, as S3 allows it: it is no marker."""
    await store.foreign({"d/": b"theirs", "d/x": b"1"})
    assert await world.ls("d") == ["x"]
    changed, objects = CHANGES[change]
    await changed(world)
    await world.settle()
    await trio.sleep(5.0)
    await world.settle()
    assert store.objects() == objects
