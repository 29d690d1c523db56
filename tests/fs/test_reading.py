"""Reads through the cache: how many requests, of which version, and what an old handle sees."""

from __future__ import annotations

import os
import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fusecache.errors import Stale
from tests.fs.harness import BLOCK, TTL_S, CountedStore, World, pattern

SMALL = pattern(5 * BLOCK + 3)
LARGE = pattern(12 << 20)
"""More than what is fetched whole by its first read."""


async def test_bytes_of_an_object_at_any_offset(world: World, store: CountedStore) -> None:
    await store.foreign({"a": SMALL})
    number = await world.open("a")
    for offset, length in [(0, 10), (BLOCK - 1, 2), (2 * BLOCK, BLOCK), (len(SMALL) - 2, 100), (len(SMALL), 1)]:
        assert await world.read(number, offset, length) == SMALL[offset : offset + length]
    await world.close(number)


async def test_a_second_read_asks_nobody(world: World, store: CountedStore) -> None:
    await store.foreign({"a": SMALL})
    assert await world.read_file("a") == SMALL
    assert store.since()["get"] == 1
    assert await world.read_file("a") == SMALL
    assert store.since()["get"] == 0


async def test_many_readers_of_a_block_share_one_get_of_the_version_they_opened(
    world: World, store: CountedStore
) -> None:
    await store.foreign({"a": SMALL})
    etag = (await store.head("a")).etag  # type: ignore[arg-type]  # a key
    numbers = [await world.open("a") for _ in range(20)]
    store.gate = trio.Event()
    got: list[bytes] = []

    async def reader(number: int) -> None:
        got.append(await world.read(numbers[number], number, 100))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(reader, number)
        await wait_all_tasks_blocked()
        store.gate.set()
    assert sorted(got) == sorted(SMALL[n : n + 100] for n in range(20))
    assert store.since()["get"] == 1
    assert store.conditions == [etag]


async def test_a_read_of_a_large_file_fetches_what_it_needs(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    number = await world.open("a")
    assert await world.read(number, 3 * BLOCK + 5, 10) == LARGE[3 * BLOCK + 5 :][:10]
    await wait_all_tasks_blocked()
    assert store.since()["get"] == 1
    await world.close(number)
    assert (await _cached(world, "a")) == 4096


async def test_sequential_reads_of_a_large_file_are_ahead_and_never_twice(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    number = await world.open("a")
    for offset in range(0, len(LARGE), 128 << 10):
        assert await world.read(number, offset, 128 << 10) == LARGE[offset : offset + (128 << 10)]
        await wait_all_tasks_blocked()
    assert store.since()["get"] <= 12
    await world.close(number)


async def test_every_get_names_its_version(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE, "b": SMALL})
    for path in ("a", "b"):
        await world.read_file(path)
    assert store.conditions
    assert None not in store.conditions


async def test_another_version_is_another_inode_and_an_old_handle_keeps_the_old_bytes(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"a": SMALL})
    old = await world.open("a")
    before = (await world.stat("a")).ino
    assert await world.read(old) == SMALL
    await store.foreign({"a": b"another"})
    mock_clock.jump(TTL_S + 1)
    assert (await world.stat("a")).ino != before
    assert await world.read_file("a") == b"another"
    assert await world.read(old) == SMALL
    await world.close(old)


@pytest.mark.slow
async def test_an_old_handle_that_is_not_whole_is_stale_and_never_a_mix(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"a": LARGE})
    old = await world.open("a")
    assert await world.read(old, 0, 10) == LARGE[:10]
    await store.foreign({"a": pattern(len(LARGE), 5)})
    with pytest.raises(Stale):
        await world.read(old, 6 << 20, 10)
    assert await world.read(old, 0, 10) == LARGE[:10]
    mock_clock.jump(TTL_S + 1)
    assert await world.read_file("a") == pattern(len(LARGE), 5)
    with pytest.raises(Stale):
        await world.read(old, 6 << 20, 10)
    await world.close(old)


async def test_a_version_replaced_before_its_time_is_over_is_stale(world: World, store: CountedStore) -> None:
    """Whoever opens by what we still believe gets an error at the first read, not other bytes."""
    await store.foreign({"a": SMALL})
    await world.stat("a")
    await store.foreign({"a": b"another"})
    number = await world.open("a")
    with pytest.raises(Stale):
        await world.read(number)
    await world.close(number)


async def test_nothing_is_left_of_a_version_that_was_replaced(
    world: World, store: CountedStore, mock_clock: MockClock
) -> None:
    await store.foreign({"a": SMALL})
    handle = await world.open("a")
    await world.read(handle)
    before = (await world.stat("a")).ino
    await store.foreign({"a": b"another"})
    mock_clock.jump(TTL_S + 1)
    await world.stat("a")
    assert world.contents.exists(before)
    await world.close(handle)
    await world.upkeep.sweep()
    assert not world.contents.exists(before)


async def test_an_unlinked_file_is_readable_to_its_last_close(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    handle = await world.open("a")
    await world.read(handle, 0, 10)
    ino = (await world.stat("a")).ino
    await world.unlink("a")
    await wait_all_tasks_blocked()
    store.forget("a")  # as the drain will
    assert await world.read(handle, 5 << 20, 100) == LARGE[5 << 20 :][:100]
    assert (await world.fs.getattr(ino)).inode.nlink == 0
    await world.close(handle)
    await world.upkeep.sweep()
    assert not world.contents.exists(ino)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
async def test_a_handle_follows_its_file_through_renames(world: World, store: CountedStore, flags: int) -> None:
    await store.foreign({"d/a": SMALL, "e/x": b"x"})
    handle = await world.open("d/a", flags)
    await world.rename("d/a", "e/b")
    await world.rename("e", "f")
    assert await world.read(handle) == SMALL
    await world.close(handle)
    assert await world.read_file("f/b") == SMALL


async def _cached(world: World, path: str) -> int:
    from fusecache.cache.content import Base

    inode = await world.stat(path)
    assert inode.base is not None
    assert inode.base_size is not None
    content = world.contents.open(inode.ino, size=inode.size, base=Base(*inode.base, size=inode.base_size))
    try:
        return content.cached_bytes
    finally:
        content.close()


async def test_what_was_fetched_after_a_flush_is_known_after_the_close(world: World, store: CountedStore) -> None:
    """Of a changed file, too: its next open finds all of it here, and so may be the kernel's."""
    await store.foreign({"f": pattern(8 * BLOCK)})
    number = await world.open("f", os.O_RDWR)
    await world.fs.write(number, 0, b"x")
    world.fs.flush(number)
    assert await world.read(number) == b"x" + pattern(8 * BLOCK)[1:]
    await world.close(number)
    number = await world.open("f")
    (content,) = world.contents.opened()
    assert content.whole
    await world.close(number)


async def test_random_reads_fetch_hardly_more_than_they_need_and_once(world: World, store: CountedStore) -> None:
    await store.foreign({"a": LARGE})
    rng = random.Random(3)
    pages = rng.sample(range(1, len(LARGE) // 4096), 200)
    for _ in range(2):
        number = await world.open("a")
        for page in pages:
            assert await world.read(number, page * 4096 + 7, 4000) == LARGE[page * 4096 + 7 :][:4000]
        await world.close(number)
    assert store.since()["get"] <= 1.1 * len(pages)
    assert (await _cached(world, "a")) <= 1.1 * 4096 * len(pages)
