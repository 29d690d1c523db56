"""A commit marker beside a backlog that is none of its business: what it waits for is found all the same, and soon.

Each test asks for the clock itself: pytest-trio installs none that only a fixture asks for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.fs.draining import Drained, RecordedStore, a_drained_world

OTHERS = 100
"""More than are looked at before a tree is gone through."""
FOREIGN = {"t/p/a": b"1", "t/p/b": b"2", "t/c": b"3"}


@pytest.fixture
async def store() -> RecordedStore:
    store = RecordedStore()
    await store.foreign(FOREIGN)
    store.writes.clear()
    return store


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    """Files of another tree wait for somebody to go on."""
    async with a_drained_world(tmp_path, store) as opened:
        await opened.persister.pause("others")
        await opened.mkdir("others")
        await wait(opened, range(OTHERS))
        yield opened


async def wait(world: Drained, numbers: range) -> None:
    for number in numbers:
        await world.write_file(f"others/{number}", b"")


async def test_a_marker_asks_nothing_of_what_is_elsewhere(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await wait(world, range(OTHERS, 6 * OTHERS))
    await world.persister.drain()
    statements: list[str] = []
    world.ns.database.connection.set_trace_callback(statements.append)
    await world.mkdir("u")
    await world.write_file("u/_SUCCESS", b"")
    await trio.sleep(30.0)
    world.ns.database.connection.set_trace_callback(None)
    assert store.writes == ["put u/_SUCCESS"]
    assert len(statements) < 6 * OTHERS


CHANGES: dict[str, Callable[[Drained], Awaitable[object]]] = {
    "written": lambda world: world.write_file("t/p/new", b"4"),
    "removed": lambda world: world.unlink("t/p/a"),
    "renamed": lambda world: world.rename("t/p/a", "t/p/z"),
    "moved out": lambda world: world.rename("t/p/a", "elsewhere"),
    "linked": lambda world: world.link("t/p/a", "t/p/z"),
    "a directory": lambda world: world.mkdir("t/p/d"),
    "attributes": lambda world: world.setattr("t/p/a", mode=0o100600),
    "a directory that moves": lambda world: world.rename("t/p", "t/q"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_marker_waits_for_what_is_in_its_tree(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, change: str
) -> None:
    await world.ls("t/p")
    await world.persister.pause("t/p")
    await CHANGES[change](world)
    await world.write_file("t/_SUCCESS", b"")
    await trio.sleep(30.0)
    assert "put t/_SUCCESS" not in store.writes
    await world.persister.resume("t/p")
    await trio.sleep(30.0)
    first, *more = store.writes
    assert more[-1] == "put t/_SUCCESS", first


async def test_what_is_removed_while_it_waits_is_forgotten(autojump_clock: MockClock, world: Drained) -> None:
    await world.persister.pause("t/p")
    await world.write_file("t/p/new", b"4")
    await world.write_file("t/_SUCCESS", b"")
    await trio.sleep(30.0)
    assert "1 held" in repr(world.persister)
    await world.unlink("t/_SUCCESS")
    await trio.sleep(30.0)
    assert "0 held" in repr(world.persister)
