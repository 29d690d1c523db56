"""Notices of a store: what they tell of is asked for again, and seen; whatever comes twice, late, or not at all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fusecache.backends.notices import Message
from fusecache.config.rules import Rule
from fusecache.errors import BackendUnavailable, ConfigError, NotFound
from fusecache.fs.notified import Notified
from tests.fs.harness import CountedStore, World, a_world, numbered

RULES = [Rule(path="/never", freshness="never")]


class FakeQueue:
    """Gives what a test puts into it, again and again until it is deleted."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failure: Exception | None = None
        self.arrived = trio.Event()
        self.receives = 0

    def put(self, *bodies: str) -> None:
        self.messages += [Message(body, f"{len(self.messages) + n}") for n, body in enumerate(bodies)]
        self.arrived.set()

    async def receive(self) -> Sequence[Message]:
        self.receives += 1
        if self.failure is not None:
            raise self.failure
        with trio.move_on_after(20):
            await self.arrived.wait()
        return self.messages[:10]

    async def delete(self, messages: Sequence[Message]) -> None:
        self.messages = [each for each in self.messages if each not in messages]
        if not self.messages:
            self.arrived = trio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeQueue]:
        yield self


def created(key: str, etag: str = "other", bucket: str = "b") -> str:
    return _body("ObjectCreated:Put", {"key": f"p/{key}", "eTag": etag}, bucket)


def removed(key: str) -> str:
    return _body("ObjectRemoved:Delete", {"key": f"p/{key}"}, "b")


def _body(name: str, told: dict[str, str], bucket: str) -> str:
    return json.dumps({"Records": [{"eventName": name, "s3": {"bucket": {"name": bucket}, "object": told}}]})


@pytest.fixture
def store() -> CountedStore:
    return CountedStore()


@pytest.fixture
async def world(tmp_path: Path, store: CountedStore) -> AsyncIterator[World]:
    async with a_world(tmp_path, store, rules=RULES) as opened:
        yield opened


@pytest.fixture
def notified(world: World) -> Notified:
    assert world.names is not None
    return Notified(world.ns, world.names, bucket="b", prefix="p/", wall_s=trio.current_time)


def heed(notified: Notified, *bodies: str) -> int:
    """Heed messages; return how many changes they told of."""
    before = notified.report()["changes"]
    notified.heed([Message(body, "") for body in bodies])
    after = notified.report()["changes"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    return after - before


async def is_there(world: World, path: str) -> bool:
    try:
        await world.stat(path)
    except NotFound:
        return False
    return True


@pytest.mark.parametrize("root", ["d", "never"])
async def test_what_is_new_changed_or_gone_is_seen(
    world: World, store: CountedStore, notified: Notified, root: str
) -> None:
    await store.foreign({f"{root}/{name}": b"1" for name in ("a", "b", "s/c")})
    for path in ("", root, f"{root}/s"):
        await world.ls(path)
    old = await world.stat(f"{root}/a")
    for name in ("b", "s/c"):
        await world.stat(f"{root}/{name}")
    assert not await is_there(world, f"{root}/new")
    await store.foreign({f"{root}/{name}": b"changed" for name in ("a", "new", "t/deep/er", "s/x")})
    store.forget(f"{root}/b")
    assert (await world.stat(f"{root}/a")).ino == old.ino
    assert not await is_there(world, f"{root}/new")
    world.stale.clear()
    bodies = [created(f"{root}/{name}") for name in ("a", "new", "t/deep/er", "s/x")]
    assert heed(notified, *bodies, removed(f"{root}/b")) == 5
    assert await world.place(f"{root}/a") in world.stale
    assert (await world.stat(f"{root}/a")).size == 7
    assert (await world.stat(f"{root}/new")).size == 7
    assert not await is_there(world, f"{root}/b")
    assert await world.ls(root) == ["a", "new", "s/", "t/"]
    assert await world.ls(f"{root}/s") == ["c", "x"]
    assert await world.ls(f"{root}/t/deep") == ["er"]


async def test_a_directory_goes_with_its_last_object(world: World, store: CountedStore, notified: Notified) -> None:
    await store.foreign({"d/s/t/a": b"1", "d/s/t/b": b"1", "d/x": b"1"})
    for path in ("", "d", "d/s", "d/s/t"):
        await world.ls(path)
    for name in ("a", "b"):
        store.forget(f"d/s/t/{name}")
    heed(notified, removed("d/s/t/a"), removed("d/s/t/b"))
    assert not await is_there(world, "d/s")
    assert await world.ls("d") == ["x"]


async def test_one_object_less_is_no_reason_to_ask_above(world: World, store: CountedStore, notified: Notified) -> None:
    await store.foreign({"d/a": b"1", "d/b": b"1", "x": b"1"})
    for path in ("", "d"):
        await world.ls(path)
    store.forget("d/a")
    heed(notified, removed("d/a"))
    store.since()
    assert await world.ls("d") == ["b"]
    assert store.since() == {"list": 1}


async def test_our_own_versions_and_deletes_are_no_news(world: World, store: CountedStore, notified: Notified) -> None:
    await store.foreign({"d/a": b"1", "d/b": b"1"})
    await world.ls("d")
    etag = (await store.head((await store.list("d/a", delimiter=None)).objects[0].key)).etag
    await world.unlink("d/b")
    world.stale.clear()
    assert heed(notified, created("d/a", etag), created("d/a", f'"{etag}"'), removed("d/b")) == 0
    assert world.stale == []
    store.since()
    assert await world.ls("d") == ["a"]
    assert "list" not in store.since()


async def test_other_places_are_nothing_to_us(world: World, store: CountedStore, notified: Notified) -> None:
    await store.foreign({"d/a": b"1"})
    await world.ls("d")
    outside = created("d/a").replace("p/d/a", "q/d/a")
    assert heed(notified, created("d/a", bucket="c"), outside, created("unknown/deep")) == 1  # a name in the root
    store.since()
    await world.ls("d")
    assert "list" not in store.since() or store.since()["list"] <= 1


async def test_twice_late_and_in_any_order(world: World, store: CountedStore, notified: Notified) -> None:
    await store.foreign({"d/a": b"1"})
    await world.ls("d")
    await store.foreign({"d/a": b"changed"})
    heed(notified, removed("d/a"), created("d/a"), created("d/a"), removed("d/a"))
    assert (await world.stat("d/a")).size == 7
    ino = (await world.stat("d/a")).ino
    heed(notified, removed("d/a"), created("d/a"))
    assert (await world.stat("d/a")).ino == ino


async def test_what_is_not_drained_yet_stays(world: World, store: CountedStore, notified: Notified) -> None:
    await store.foreign({"d/a": b"1"})
    await world.ls("d")
    await world.write_file("d/a", b"mine")
    await world.mkdir("d/mine")
    await world.write_file("d/mine/f", b"mine")
    heed(notified, removed("d/a"), created("d/mine/f"), removed("d/mine/f"), removed("d/mine/"))
    assert await world.read_file("d/a") == b"mine"
    assert await world.read_file("d/mine/f") == b"mine"


async def test_a_lookup_that_is_under_way_asks_again(world: World, store: CountedStore, notified: Notified) -> None:
    """What it was told may be from before the change, and would be believed for its time."""
    await store.foreign(numbered(1500, "d/"))
    directory = (await world.stat("d")).ino

    class Slow:
        """Has the answer of a HEAD come after the notice."""

        gate = trio.Event()
        asked = trio.Event()

    head = store.head

    async def slow(key: str) -> object:
        info = await head(key)  # type: ignore[arg-type]
        if not Slow.asked.is_set():
            Slow.asked.set()
            await Slow.gate.wait()
        return info

    async def look() -> None:
        sizes.append((await world.fs.lookup(directory, b"f01400")).inode.size)

    sizes: list[int] = []
    store.head = slow  # type: ignore[assignment, method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await Slow.asked.wait()
        await store.foreign({"d/f01400": b"changed"})
        heed(notified, created("d/f01400"))
        Slow.gate.set()
    await look()
    assert sizes == [7, 7]


async def test_messages_are_deleted_after_they_are_heeded(
    world: World, notified: Notified, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    queue = FakeQueue()
    queue.put("what is this", "and this", *[created(f"new{n}") for n in range(25)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notified.run, queue.opened)
        await trio.sleep(1)
        assert queue.messages == []
        assert notified.report() == {"messages": 27, "changes": 25, "unknown": 2, "failing_s": None, "error": None}
        nursery.cancel_scope.cancel()
    assert [record.message for record in caplog.records if "no notice" in record.message] == [
        "no notice of a store, and deleted, as all others of the kind: what is this"
    ]


async def test_a_queue_that_fails_is_asked_less_and_less_and_said_to(
    world: World, notified: Notified, autojump_clock: MockClock
) -> None:
    queue = FakeQueue()
    queue.failure = BackendUnavailable("no answer")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notified.run, queue.opened)
        await trio.sleep(600)
        assert 10 < queue.receives < 20
        report = notified.report()
        assert report["error"] == "no answer"
        assert report["failing_s"] == pytest.approx(600, abs=1)
        queue.failure = None
        queue.put(created("new"))
        await trio.sleep(61)
        assert notified.report()["failing_s"] is None
        assert notified.report()["changes"] == 1
        nursery.cancel_scope.cancel()


async def test_a_queue_that_cannot_be_opened_is_said_to(notified: Notified, autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeQueue]:
        raise ConfigError("no such profile")
        yield FakeQueue()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notified.run, opened)
        await wait_all_tasks_blocked()
        assert notified.report()["error"] == "no such profile"
        nursery.cancel_scope.cancel()
