"""A sync: what is known below a path is as the store has it, and what others changed is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fusecache.config.rules import Rule
from fusecache.errors import BackendUnavailable, NotFound, TransientBackendError
from fusecache.fs.looking import Looking
from fusecache.types import ListPage
from tests.fs.harness import CountedStore, World, a_world, numbered


class LookedStore(CountedStore):
    """Fails its listings while `failure` is set, and has them wait for `listing`."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: TransientBackendError | None = None
        self.listing = trio.Event()
        self.listing.set()

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        if self.failure is not None:
            raise self.failure
        page = await super().list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)
        await self.listing.wait()
        return page


@pytest.fixture
def store() -> LookedStore:
    return LookedStore()


@pytest.fixture(params=["ttl", "never"])
async def world(tmp_path: Path, store: LookedStore, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with a_world(tmp_path, store, rules=[Rule(path="/", freshness=request.param)]) as opened:
        yield opened


async def sync(world: World, path: str = "") -> tuple[int, int, int]:
    """Return how many directories and names were looked at, and how many names had changed."""
    assert world.names is not None
    told: list[dict[str, object]] = []
    looked = await Looking(world.ns, world.names).look(path.encode(), progress=told.append)
    assert not told or told[-1] == looked.as_dict()
    return looked.directories, looked.names, looked.changed


async def test_what_changed_is_seen_and_counted(world: World, store: LookedStore) -> None:
    await store.foreign({"d/same": b"1", "d/other": b"1", "d/gone": b"1", "d/s/a": b"1", "d/t/a": b"1", "e/a": b"1"})
    for path in ("", "d", "d/s", "d/t", "e"):
        await world.ls(path)
    for path in ("d/same", "d/other", "d/gone", "e/a"):
        await world.stat(path)
    other = (await world.stat("d/other")).ino
    place = await world.place("d/gone")
    await store.foreign({"d/other": b"changed", "d/new": b"1", "d/s/b": b"1", "e/a": b"not looked at"})
    for key in ("d/gone", "d/t/a"):
        store.forget(key)
    assert await world.ls("d") == ["gone", "other", "s/", "same", "t/"]
    world.stale.clear()
    assert await sync(world, "d") == (2, 9, 5)  # d/t itself is gone
    assert {other, place} <= set(world.stale)
    store.since()
    assert await world.ls("d") == ["new", "other", "s/", "same"]
    assert (await world.stat("d/other")).size == 7
    assert await world.ls("d/s") == ["a", "b"]
    with pytest.raises(NotFound):
        await world.stat("d/gone")
    assert "list" not in store.since()
    assert (await world.stat("e/a")).size == 1
    assert await sync(world, "d") == (2, 7, 0)


async def test_a_name_that_was_not_there_is_looked_for(world: World, store: LookedStore) -> None:
    await store.foreign({"d/a": b"1"})
    for path in ("d/b", "d/c"):
        with pytest.raises(NotFound):
            await world.stat(path)
    await store.foreign({"d/b": b"1", "d/c": b"1"})
    with pytest.raises(NotFound):
        await world.stat("d/b")
    assert await sync(world, "d/b") == (0, 2, 1)
    assert (await world.stat("d/b")).size == 1
    with pytest.raises(NotFound):
        await sync(world, "d/nothing")


async def test_what_nobody_has_looked_into_costs_nothing(world: World, store: LookedStore) -> None:
    await store.foreign({f"d{n}/a": b"1" for n in range(5)})
    await world.ls()
    await world.ls("d3")
    store.since()
    assert await sync(world) == (2, 6, 0)
    assert store.since() == {"list": 2}


async def test_names_that_nobody_has_asked_for_get_no_rows(world: World, store: LookedStore) -> None:
    await store.foreign(numbered(2500, "d/"))
    await world.stat("d/f00001")
    store.forget("d/f00001")
    directory = (await world.stat("d")).ino
    assert await sync(world, "d") == (1, 2501, 1)
    assert len(world.ns.tables.dentries.children(directory, after=b"", count=99)) == 1  # a settled whiteout


async def test_what_is_ours_stays(world: World, store: LookedStore) -> None:
    await store.foreign({"d/a": b"1", "d/b": b"1", "d/c": b"1"})
    await world.ls("d")
    await world.write_file("d/a", b"mine")
    await world.write_file("d/new", b"mine")
    await world.unlink("d/b")
    await world.mkdir("d/e")
    await store.foreign({"d/a": b"theirs", "d/b": b"theirs"})
    assert await sync(world, "d") == (1, 6, 0)
    assert await world.ls("d") == ["a", "c", "e/", "new"]
    assert await world.read_file("d/a") == b"mine"


async def test_a_store_that_is_away_leaves_what_is_believed(world: World, store: LookedStore) -> None:
    await store.foreign({"d/a": b"1"})
    await world.stat("d/a")
    store.failure = BackendUnavailable("away")
    with pytest.raises(BackendUnavailable):
        await sync(world)
    store.failure = None
    assert (await world.stat("d/a")).size == 1
    store.forget("d/a")
    await sync(world)
    with pytest.raises(NotFound):
        await world.stat("d/a")


async def test_a_listing_that_began_before_is_no_evidence_after_it(world: World, store: LookedStore) -> None:
    """Else it would be believed for its time."""
    await store.foreign({"d/a": b"1", "d/b": b"1"})
    directory = (await world.stat("d")).ino
    store.listing = trio.Event()
    shown: list[bytes] = []

    async def listed() -> None:
        shown.extend([each.name for each in await world.entries(directory)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listed)
        await wait_all_tasks_blocked()
        await store.foreign({"d/a": b"changed"})
        gate, store.listing = store.listing, trio.Event()
        store.listing.set()
        await sync(world, "d")
        gate.set()
    assert shown == [b"a", b"b"]
    assert (await world.stat("d/a")).size == 7


async def test_an_opaque_directory_has_nothing_to_look_at(world: World, store: LookedStore) -> None:
    await world.mkdir("d")
    await world.write_file("d/a", b"1")
    store.since()
    assert await sync(world, "d") == (1, 1, 0)
    assert store.since() == {}
