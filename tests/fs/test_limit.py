"""The cache keeps to its size: clean contents go before it is reached, whoever reads, and nothing else does."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import NoSpace
from fusecache.fs import release
from fusecache.fs.pressure import Limits
from fusecache.types import ETag, Extent, HandleNo, ObjectKey
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern
from tests.fs.room import Disk, Room

SIZE = 16 * MIB
HIGH = int(SIZE * 0.9375)


class Watched(RecordedStore):
    """Looks at the cache at each GET: that is when there is most of it."""

    def __init__(self) -> None:
        super().__init__()
        self.world: Drained | None = None
        self.most = 0

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.look()
        return await super().get(key, extent, if_match=if_match)

    def look(self) -> None:
        if self.world is not None:
            self.world.contents.flush_index()
            self.most = max(self.most, self.world.contents.used_bytes())


@pytest.fixture
def store() -> Watched:
    return Watched()


@asynccontextmanager
async def a_bounded_world(root: Path, store: Watched, *, is_said: bool = True) -> AsyncIterator[Drained]:
    room = Room(Disk(1 << 40), Limits(cache_size=SIZE, bounds_writers=is_said), 1.0)
    async with a_drained_world(root, store, room=room) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.releaser.run)
        nursery.start_soon(world.upkeep.run)
        store.world = world
        yield world
        nursery.cancel_scope.cancel()


async def test_what_is_read_goes_again_and_never_beyond_the_size(
    tmp_path: Path, store: Watched, autojump_clock: MockClock
) -> None:
    await store.foreign({f"f{n}": pattern(MIB, n) for n in range(48)})
    async with a_bounded_world(tmp_path, store) as world:
        for n in range(48):
            assert await world.read_file(f"f{n}") == pattern(MIB, n)
            store.look()
        await trio.sleep(1)
        assert world.contents.used_bytes() <= HIGH
        assert HIGH - 3 * MIB < store.most <= SIZE


@pytest.mark.parametrize("file_count", [2, 48])
async def test_so_it_is_with_64_readers_who_read_at_random(
    tmp_path: Path, store: Watched, autojump_clock: MockClock, file_count: int
) -> None:
    """Few large files, of which pieces go while they are open, or many small ones."""
    size = 48 * MIB // file_count
    bodies = {f"f{n}": pattern(size, n) for n in range(file_count)}
    await store.foreign(bodies)

    async def reader(world: Drained, rng: random.Random) -> None:
        for _ in range(8):
            name = rng.choice(sorted(bodies))
            number = await world.open(name)
            for _ in range(2):
                offset = rng.randrange(size - BLOCK)
                assert await world.read(number, offset, BLOCK) == bodies[name][offset : offset + BLOCK]
            await world.close(number)

    async with a_bounded_world(tmp_path, store) as world:
        async with trio.open_nursery() as nursery:
            for seed in range(64):
                nursery.start_soon(reader, world, random.Random(seed))
        store.look()
        assert HIGH - 3 * MIB < store.most <= SIZE


async def test_what_was_here_and_what_went_is_counted(
    tmp_path: Path, store: Watched, autojump_clock: MockClock
) -> None:
    await store.foreign({f"f{n}": pattern(MIB, n) for n in range(24)})
    async with a_bounded_world(tmp_path, store) as world:
        for names in ((0, 0, 1), range(2, 24), (2,)):
            for n in names:
                await world.read_file(f"f{n}")
                await trio.sleep(1)
        traffic, opens = world.contents.traffic, world.contents.eviction.opens
        assert (traffic.reads, traffic.hits, traffic.hit_bytes) == (26, 1, MIB)
        assert (opens.count, opens.hits, opens.ghosts) == (26, 1, 1)  # 2 went not long ago, and 0 is kept
        assert traffic.evicted_bytes >= 24 * MIB - SIZE
        await world.read_file("f0")
        assert (traffic.reads, traffic.hits) == (27, 2)


async def test_a_large_file_goes_piece_by_piece(
    tmp_path: Path, store: Watched, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_LARGE", 4 * MIB)
    body = pattern(12 * MIB)
    await store.foreign({"large": body, **{f"f{n}": pattern(MIB, n) for n in range(4)}})
    async with a_bounded_world(tmp_path, store) as world:
        assert await world.read_file("large") == body
        for n in range(4):
            assert await world.read_file(f"f{n}") == pattern(MIB, n)
            await trio.sleep(1)
        assert 9 * MIB <= (await world.describer.describe(b"large"))["cached_bytes"] < 12 * MIB
        store.since()
        assert await world.read_file("large") == body
        assert store.since()["get"] == 1


async def test_what_a_lost_index_knew_goes_too(tmp_path: Path, store: Watched, autojump_clock: MockClock) -> None:
    """Nobody would choose it, and the cache would be the smaller by it for ever."""
    await store.foreign({f"f{n}": pattern(MIB, n) for n in range(30)})
    async with a_bounded_world(tmp_path, store) as world:
        for n in range(12):
            await world.read_file(f"f{n}")
        await world.write_file("dirty", pattern(MIB, 99))
        world.contents.flush_index()
        world.contents._index._db.execute("DELETE FROM content")
        store.hold("put")
        for n in range(12, 30):
            assert await world.read_file(f"f{n}") == pattern(MIB, n)
            await trio.sleep(1)
        here = [n for n in range(30) if world.contents.exists((await world.stat(f"f{n}")).ino)]
        assert len([n for n in here if n >= 12]) > 4
        assert world.contents.used_bytes() <= HIGH
        assert await world.read_file("dirty") == pattern(MIB, 99)
        assert await world.read_file("f0") == pattern(MIB, 0)


async def test_what_a_mapping_still_shows_stays(tmp_path: Path, store: Watched, autojump_clock: MockClock) -> None:
    """The kernel has no handle any more, and its pages need the file: to delete it would free nothing."""
    await store.foreign({f"f{n}": pattern(MIB, n) for n in range(20)})
    async with a_bounded_world(tmp_path, store) as world:
        await world.read_file("f0")
        world.contents.sharing.is_on = True
        mapped = os.open(world.contents.places.path((await world.stat("f0")).ino), os.O_RDONLY)
        for n in range(1, 20):
            await world.read_file(f"f{n}")
            await trio.sleep(1)
        assert world.contents.exists((await world.stat("f0")).ino)
        os.close(mapped)
        for n in range(1, 20):
            await world.read_file(f"f{n}")
            await trio.sleep(1)
        assert not world.contents.exists((await world.stat("f0")).ino)


async def test_what_the_store_lacks_is_never_given_up_and_writers_wait(
    tmp_path: Path, store: Watched, autojump_clock: MockClock
) -> None:
    gate = store.hold("put")
    async with a_bounded_world(tmp_path, store) as world:
        number = await world.open("f", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(NoSpace, match=f"bytes of {SIZE} that the cache may take"):
            await write_mib(world, number, 18)
        written = (await world.stat("f")).size // MIB
        assert written in (15, 16)
        assert world.space.report()["by"] == "cache_size"
        await world.close(number)
        gate.set()
        await world.settle()
        assert store.content("f") == b"".join(pattern(MIB, n) for n in range(written))


async def write_mib(world: Drained, number: HandleNo, count: int) -> None:
    for n in range(count):
        await world.fs.write(number, n * MIB, pattern(MIB, n))


async def test_nobody_said_how_much_so_it_may_go_beyond(
    tmp_path: Path, store: Watched, autojump_clock: MockClock
) -> None:
    store.hold("put")
    async with a_bounded_world(tmp_path, store, is_said=False) as world:
        await world.write_file("f", pattern(2 * SIZE))
        assert await world.read_file("f") == pattern(2 * SIZE)
        assert world.space.report()["state"] == "free"
