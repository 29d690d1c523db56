"""load, free, pin and ls: what is brought into the cache, given up, and held there, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fusecache.errors import NotFound
from fusecache.fs.load import Wish, included
from fusecache.fs.pinning import Pinned, Pinning
from fusecache.fs.pressure import Limits
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern
from tests.fs.room import Disk, Room

TREE = {f"t/d{n % 3}/f{n}.{'parquet' if n % 2 else 'crc'}": pattern(BLOCK + n, n) for n in range(12)}


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store, ttl_s=1e6) as opened:
        yield opened


async def load(world: Drained, path: str = "", *, pin: bool = False, **wish: Any) -> dict[str, Any]:
    told: dict[str, Any] = await world.caching.load(path.encode(), Wish(**wish), pin=pin, progress=lambda told: None)
    return told


async def free(world: Drained, path: str = "") -> dict[str, Any]:
    told: dict[str, Any] = await world.caching.free(path.encode(), progress=lambda told: None)
    return told


async def pin(world: Drained, path: str = "") -> dict[str, Any]:
    told: dict[str, Any] = await world.caching.pin(path.encode(), progress=lambda told: None)
    return told


async def cached(world: Drained, path: str) -> int:
    count: int = (await world.describer.describe(path.encode()))["cached_bytes"]
    return count


async def test_what_was_loaded_is_read_without_a_request(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    told = await load(world, "t")
    assert (told["files_found"], told["files_done"], told["files_left"], told["failures"]) == (12, 12, 0, 0)
    assert told["bytes_found"] == told["bytes_done"] == told["bytes_fetched"] == sum(map(len, TREE.values()))
    store.since()
    for path, data in TREE.items():
        assert await world.read_file(path) == data
    assert sum(store.since().values()) == 0
    told = await load(world, "t")
    assert (told["files_done"], told["bytes_fetched"], told["bytes_done"]) == (12, 0, told["bytes_found"])
    assert sum(store.since().values()) == 0


async def test_a_file_by_itself_and_only_what_is_included(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    assert (await load(world, "t/d1/f1.parquet"))["files_done"] == 1
    told = await load(world, "t", include=("*.parquet",))
    assert (told["files_found"], told["bytes_fetched"]) == (6, sum(BLOCK + n for n in (3, 5, 7, 9, 11)))
    assert {path for path in TREE if await cached(world, path)} == {path for path in TREE if "parquet" in path}
    with pytest.raises(NotFound):
        await load(world, "absent")


def test_a_glob_is_of_names_or_with_a_slash_of_paths() -> None:
    assert included(())(b"a/b")
    assert included(("*.x", "y*"))(b"a/b.x")
    assert not included(("*.x",))(b"a.x/b")
    assert included(("a/*.x",))(b"a/b/c.x")
    assert not included(("a/*.x",))(b"b/a/c.x")
    assert included(("\udcff*",))(b"\xffa")


async def test_metadata_only_costs_listings_and_heads(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE, mode="33152")
    told = await load(world, "t", metadata=True)
    assert (told["files_done"], told["bytes_fetched"]) == (12, 0)
    asked = store.since()
    assert (asked["get"], asked["head"], asked["list"]) == (0, 12, 5)
    assert (await world.stat("t/d0/f0.crc")).mode & 0o777 == 0o600
    assert sum(store.since().values()) == 0


async def test_it_takes_the_time_that_the_rate_says(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    began, size = trio.current_time(), sum(map(len, TREE.values()))
    told = await load(world, "t", bytes_per_s=size / 60)
    assert 50 <= trio.current_time() - began <= 61
    assert told["bytes_done"] == size


async def test_what_fails_is_named_and_the_others_are_loaded(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    await world.ls("t/d0")
    for name in ("t/d1", "t/d2"):
        await world.ls(name)
    store.forget("t/d0/f0.crc")
    told = await load(world, "t")
    assert [(each["path"], "removed meanwhile" in each["error"]) for each in told["failed"]] == [("/t/d0/f0.crc", True)]
    assert (told["failures"], told["files_done"], told["files_left"]) == (1, 11, 0)


async def test_an_interrupted_load_leaves_what_has_arrived(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    with trio.move_on_after(30):
        await load(world, "t", bytes_per_s=sum(map(len, TREE.values())) / 60)
    arrived = await cached(world, "t")
    assert 0 < arrived < sum(map(len, TREE.values()))
    assert not world.contents.opened()
    assert "0 bytes on their way" in repr(world.caching)
    assert (await load(world, "t"))["bytes_fetched"] == sum(map(len, TREE.values())) - arrived


@pytest.mark.parametrize(
    "room", [Room(Disk(20 * MIB)), Room(Disk(99 * MIB), Limits(cache_size=20 * MIB))], ids=["disk", "size"]
)
async def test_nothing_that_is_here_goes_for_what_is_loaded(
    tmp_path: Path, autojump_clock: MockClock, store: RecordedStore, room: Room
) -> None:
    await store.foreign({f"new/f{n:02d}": bytes([n]) * MIB for n in range(20)} | {"hot": pattern(5 * MIB)})
    async with a_drained_world(tmp_path, store, ttl_s=1e6, room=room) as world:
        await world.read_file("hot")
        told = await load(world, "new")
        assert "no room for " in told["stopped"]
        assert 5 <= told["files_done"] < 15
        assert told["files_left"] > 0
        assert world.space.to_release() == 0
        assert await cached(world, "hot") == 5 * MIB


async def test_what_was_read_once_long_ago_goes_for_what_is_loaded(
    tmp_path: Path, autojump_clock: MockClock, store: RecordedStore
) -> None:
    """A cache that has been in use is full."""
    await store.foreign({f"{name}/f{n:02d}": bytes([n]) * MIB for name in ("scan", "new") for n in range(17)})
    await store.foreign({"hot": bytes(5 * MIB)})
    room = Room(Disk(99 * MIB), Limits(cache_size=20 * MIB))
    async with a_drained_world(tmp_path, store, ttl_s=1e6, room=room) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.releaser.run)
        for n in range(17):
            await world.read_file("hot")
            await world.read_file(f"scan/f{n:02d}")
            await trio.sleep(1)
        for _ in range(2):  # the second one finds nothing to go for it but what came with the first
            told = await load(world, "new")
            await trio.sleep(1)
            assert "no room for " in told["stopped"]
            assert await cached(world, "hot") == 5 * MIB
        assert 6 * MIB <= await cached(world, "new") <= 13 * MIB
        assert await cached(world, "scan") < 7 * MIB
        nursery.cancel_scope.cancel()


async def test_free_gives_up_what_the_store_has(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    await load(world, "t")
    await world.write_file("t/new", pattern(MIB))
    await world.persister.pause("t")
    await world.write_at("t/d0/f0.crc", 3, b"changed")
    used = world.contents.used_bytes()
    told = await free(world, "t")
    assert (told["files"], told["refused"], told["pinned"], told["in_use"]) == (11, 2, 0, 0)
    assert {each["path"] for each in told["not_stored"]} == {"/t/new", "/t/d0/f0.crc"}
    assert told["bytes"] == used - world.contents.used_bytes() >= 11 * BLOCK
    assert [path for path in TREE if await cached(world, path)] == ["t/d0/f0.crc"]
    await world.persister.resume("")
    await world.settle()
    assert (await free(world, "t"))["files"] == 2
    assert (await free(world, "t/new"))["files"] == 0
    assert await world.read_file("t/new") == pattern(MIB)


async def test_free_keeps_what_is_pinned_and_what_somebody_uses(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    await load(world, "t")
    await pin(world, "t/d1")
    number = await world.open("t/d2/f2.crc")
    with world.contents.opened()[0].held():  # somebody sends it, say
        told = await free(world, "t")
    assert (told["files"], told["pinned"], told["in_use"]) == (7, 4, 1)
    assert told["pinned_bytes"] == sum(len(data) for path, data in TREE.items() if "/d1/" in path)
    await world.close(number)
    assert (await free(world, "t/d2/f2.crc"))["files"] == 1
    assert (await world.caching.unpin(b"t"))["unpinned"] == ["/t/d1"]
    assert (await free(world, "t"))["files"] == 4


async def test_an_open_file_is_freed_and_read_on(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign(TREE)
    await load(world, "t")
    number = await world.open("t/d2/f2.crc")
    assert (await free(world, "t/d2/f2.crc"))["files"] == 1
    assert await world.read(number) == TREE["t/d2/f2.crc"]
    await world.close(number)


async def test_pins_that_the_cache_cannot_hold_are_refused(
    tmp_path: Path, autojump_clock: MockClock, store: RecordedStore
) -> None:
    await store.foreign({f"{name}/f{n}": bytes([n]) * MIB for name in "ab" for n in range(10)})
    async with a_drained_world(tmp_path, store, ttl_s=1e6, room=Room(Disk(20 * MIB))) as world:
        told = await pin(world, "a")
        assert (told["pinned"], told["files"], told["bytes"], told["others_bytes"]) == (True, 10, 10 * MIB, 0)
        told = await load(world, "b", pin=True)
        assert told == {"pin": {**told["pin"], "pinned": False, "bytes": 10 * MIB, "others_bytes": 10 * MIB}}
        assert await cached(world, "b") == 0
        assert not (await pin(world, ""))["pinned"]
        assert (await pin(world, "a/f1"))["others_bytes"] == 10 * MIB
        assert (await world.caching.pinned()) == {
            "paths": ["/a", "/a/f1"], "files": 10, "bytes": 10 * MIB, "cached_bytes": 0,
        }  # fmt: skip
        assert (await world.caching.unpin(b"a/f2")) == {"unpinned": [], "still_by": ["/a"]}
        assert (await world.caching.unpin(b""))["unpinned"] == ["/a", "/a/f1"]
        await load(world, "b", pin=True)
        assert (await world.caching.pinned())["cached_bytes"] == 10 * MIB


async def test_a_count_that_takes_long_is_good_for_longer(
    autojump_clock: MockClock, world: Drained, store: RecordedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.foreign(TREE)
    await load(world, "t", pin=True)
    counts = Pinning.count

    async def slow(pinning: Pinning) -> Pinned:
        await trio.sleep(1)
        return await counts(pinning)

    monkeypatch.setattr(Pinning, "count", slow)
    told = await world.caching.pinned()
    assert told["files"] == 12
    await free(world, "t/d0")
    began = trio.current_time()
    assert await world.caching.pinned() == told
    assert trio.current_time() == began
    await world.caching.unpin(b"t")
    assert (await world.caching.pinned())["files"] == 0
    await trio.sleep(30)
    began = trio.current_time()
    await world.caching.pinned()
    assert trio.current_time() == began + 1


async def test_ls_tells_how_much_is_here_and_is_no_use_of_it(
    autojump_clock: MockClock, world: Drained, store: RecordedStore
) -> None:
    await store.foreign({"d/a": pattern(4 * BLOCK), "d/b": b"1", "d/s/x": b"22"})
    number = await world.open("d/a")
    await world.read(number, 0, 10)
    await world.close(number)
    await pin(world, "d/s")
    await world.write_file("d/c", b"new")
    opens = world.contents.eviction.opens.count
    told = await world.caching.ls(b"d", after=b"")
    entries: list[dict[str, Any]] = told["entries"]  # type: ignore[assignment]
    assert [(each["name"], each["type"], each["state"], each["pinned"]) for each in entries] == [
        ("a", "file", "clean", False), ("b", "file", "clean", False), ("c", "file", "dirty", False),
        ("s", "dir", "clean", True),
    ]  # fmt: skip
    assert [(each["size"], each["cached_bytes"]) for each in entries[1:]] == [(1, 0), (3, 3), (2, 0)]
    assert 0 < entries[0]["cached_bytes"] <= 4 * BLOCK
    assert (told["more"], told["last"]) == (False, "s")
    told = await world.caching.ls(b"d", after=b"b")
    assert [each["name"] for each in told["entries"]] == ["c", "s"]  # type: ignore[attr-defined]
    told = await world.caching.ls(b"d/b", after=b"")
    assert [each["name"] for each in told["entries"]] == ["b"]  # type: ignore[attr-defined]
    assert world.contents.eviction.opens.count == opens
