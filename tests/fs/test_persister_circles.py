"""Tasks that wait for each other go on while others are in flight: with a backlog there always are some."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.fs.draining import RecordedStore, a_drained_world

FOREIGN = {"a": b"1", "b": b"2", "c/x": b"3", "d/x": b"4"}


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([("exchange", "a", "b")], {"a": b"2", "b": b"1", "c/x": b"3", "d/x": b"4"}),
        (
            [("rename", "a", "t"), ("rename", "b", "a"), ("rename", "t", "b")],
            {"a": b"2", "b": b"1", "c/x": b"3", "d/x": b"4"},
        ),
        ([("exchange", "c", "d")], {"a": b"1", "b": b"2", "c/x": b"4", "d/x": b"3"}),
        ([("exchange", "a", "d")], {"a/x": b"4", "b": b"2", "c/x": b"3", "d": b"1"}),
        (
            [("rename", "a", "t"), ("mkdir", "a"), ("rename", "t", "a/y")],
            {"a/y": b"1", "b": b"2", "c/x": b"3", "d/x": b"4"},
        ),
        (
            [("rename", "d/x", "t"), ("rmdir", "d"), ("rename", "t", "d")],
            {"a": b"1", "b": b"2", "c/x": b"3", "d": b"4"},
        ),
    ],
)
async def test_what_waits_for_itself_steps_aside_while_something_else_is_sent(
    autojump_clock: MockClock, tmp_path: Path, calls: list[tuple[str, ...]], expected: dict[str, bytes]
) -> None:
    store = RecordedStore()
    await store.foreign(FOREIGN)
    async with a_drained_world(tmp_path, store) as world:
        answered = store.hold("put")
        await world.write_file("other", b"long")
        await trio.sleep(3)
        for kind, *paths in calls:
            await getattr(world, kind)(*paths)
        await trio.sleep(30)
        assert store.objects() == expected
        answered.set()
        await world.settle()
        assert store.objects() == expected | {"other": b"long"}


async def test_what_waits_for_something_in_flight_does_not_step_aside(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    store = RecordedStore()
    await store.foreign({"d/x": b"1", "d/y": b"2", "a": b"3"})
    async with a_drained_world(tmp_path, store) as world:
        answered = store.hold("copy")
        await world.rename("d", "e")
        await trio.sleep(3)
        await world.rename("a", "d")
        await trio.sleep(60)
        answered.set()
        await world.settle()
        assert store.objects() == {"e/x": b"1", "e/y": b"2", "d": b"3"}
        assert not any(".fusecache-tmp" in write for write in store.writes), " ".join(store.writes)


async def test_what_is_at_home_in_a_tree_that_arrives_is_in_nobodys_way(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A file waited for its directory, that for the one above, and this one's commit marker for the file."""
    store = RecordedStore()
    await store.foreign({"t/_SUCCESS": b"", "t/x": b"1", "u/d/y": b"2", "c": b"3"})
    async with a_drained_world(tmp_path, store) as world:
        await world.rename("c", "u/d/f")
        await world.rename("u/d", "e")
        await world.rmdir("u")
        await world.rename("t", "u")
        await world.rename("e", "u/d")
        await world.settle()
        assert store.objects() == {"u/_SUCCESS": b"", "u/x": b"1", "u/d/y": b"2", "u/d/f": b"3"}
        assert not any(".fusecache-tmp" in write for write in store.writes), " ".join(store.writes)


async def test_a_delete_does_not_wait_for_what_is_at_home_above_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    """That waited for the directory above it, which waited for the delete."""
    store = RecordedStore()
    await store.foreign({"t/x": b"1", "u/d/y": b"2", "u/d/z": b"3"})
    async with a_drained_world(tmp_path, store) as world:
        await world.rename("u/d", "e")
        await world.rmdir("u")
        await world.rename("t", "u")
        await world.rename("e", "u/d")
        await world.unlink("u/d/z")
        await world.settle()
        assert store.objects() == {"u/x": b"1", "u/d/y": b"2"}


async def test_a_delete_that_waits_for_a_reader_steps_nowhere_while_another_waits_for_its_table(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Both are seen when nothing goes on: the persister died of it."""
    store = RecordedStore()
    table = {"t/_SUCCESS": b"", **{f"t/{n}": b"1" for n in range(9)}}
    await store.foreign({**table, "old": bytes(1 << 20)})
    async with a_drained_world(tmp_path, store) as world:
        await world.ls("t")
        store.gate = trio.Event()
        number = await world.open("old")
        await world.unlink("old")
        for n in range(9):
            await trio.sleep(0.7)
            await world.unlink(f"t/{n}")
        await trio.sleep(5)
        store.gate.set()
        await world.close(number)
        await world.settle()
        assert store.objects() == {"t/_SUCCESS": b""}
