"""A table in the bucket, with a commit marker, and what its tests share."""

from __future__ import annotations

import trio

from tests.fs.draining import MIB, Drained, RecordedStore
from tests.fs.harness import pattern

TABLE = {"t/_SUCCESS": b"1", "t/a": b"a 1", "t/b": b"b 1", "t/p/c": b"c 1"}


async def a_table() -> RecordedStore:
    """Return a store that has it."""
    store = RecordedStore()
    await store.foreign(TABLE)
    store.writes.clear()
    return store


async def be_busy(world: Drained, store: RecordedStore) -> None:
    """Something else is in flight, for ever: circles are not looked for."""
    store.hold("part")
    await world.write_file("busy", pattern(9 * MIB))


async def is_finished(world: Drained) -> bool:
    with trio.move_on_after(3600):
        await world.persister.drain()
        return True
    return False
