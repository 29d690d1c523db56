"""After a kill, or with a lost index, what nobody vouches for is found, counted and deleted, and nothing else is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.fs.strays import Strays
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world

DATA = {f"f{n}": bytes([n]) * MIB for n in range(10)}


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture(autouse=True)
def prompt_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An autojump clock does not wait for a thread."""

    async def run_sync(function: Callable[..., object], *arguments: object, **_: object) -> object:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


def on_disk(root: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (root / "contents").rglob("*") if path.is_file())


def strays_of(world: Drained) -> Strays:
    return Strays(world.ns.tables, world.contents, give_up=world.releaser.give_up)


async def a_killed_world(root: Path, store: RecordedStore) -> None:
    """Some is cached that the index knows, some that it doesn't, and some that is only here."""
    await store.foreign(DATA)
    async with a_drained_world(root, store, ttl_s=1e6) as world:
        for name in list(DATA)[:4]:
            await world.read_file(name)
        world.contents.flush_index()
        for each in root.glob("index.db*"):
            shutil.copy(each, root / f"old-{each.name}")
        for name in list(DATA)[4:]:
            await world.read_file(name)
        await world.persister.pause("")
        await world.write_file("mine", b"only here" * 1000)
        await world.write_at("f9", 3, b"changed")
    for each in root.glob("index.db*"):
        each.unlink()
    for each in root.glob("old-index.db*"):
        each.rename(root / each.name.removeprefix("old-"))


async def test_what_was_cached_just_before_a_kill(
    tmp_path: Path, autojump_clock: MockClock, store: RecordedStore
) -> None:
    await a_killed_world(tmp_path, store)
    async with a_drained_world(tmp_path, store, ttl_s=1e6) as world:
        assert not world.contents.knows_all
        opened = await world.open("f4", os.O_RDONLY)
        await world.read(opened)
        await world.setattr("f5", mode=0o100600)
        (tmp_path / "contents/00/somebody's").write_bytes(b"")
        await strays_of(world).run()
        here = {name: world.contents.exists((await world.stat(name)).ino) for name in [*DATA, "mine"]}
        assert [name for name, is_here in here.items() if not is_here] == ["f6", "f7", "f8"]
        world.contents.flush_index()
        assert world.contents.used_bytes() == on_disk(tmp_path)
        store.since()
        for name in list(DATA)[:4]:
            assert await world.read_file(name) == DATA[name]
        assert store.since()["get"] == 0
        for name in list(DATA)[4:9]:
            assert await world.read_file(name) == DATA[name]
        await world.persister.resume("")
        await world.settle()
        assert store.content("mine") == b"only here" * 1000
        assert store.content("f9") == DATA["f9"][:3] + b"changed" + DATA["f9"][10:]
        await world.close(opened)


async def test_after_a_lost_index_and_not_after_an_orderly_end(
    tmp_path: Path, autojump_clock: MockClock, store: RecordedStore
) -> None:
    await a_killed_world(tmp_path, store)
    for each in tmp_path.glob("index.db*"):
        each.unlink()
    async with a_drained_world(tmp_path, store, ttl_s=1e6):
        pass  # for less than it takes to begin
    async with a_drained_world(tmp_path, store, ttl_s=1e6) as world:
        await strays_of(world).run()
        world.contents.flush_index()
        assert world.contents.used_bytes() == on_disk(tmp_path) < 2 * MIB
        assert await world.read_file("mine") == b"only here" * 1000
        for name in DATA:
            await world.read_file(name)
    async with a_drained_world(tmp_path, store, ttl_s=1e6) as world:
        assert world.contents.knows_all
        await strays_of(world).sweep()
        assert all([world.contents.exists((await world.stat(name)).ino) for name in DATA])


async def test_a_cache_directory_that_is_gone_ends_nothing(
    tmp_path: Path, autojump_clock: MockClock, store: RecordedStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_drained_world(tmp_path, store) as world:
        shutil.rmtree(tmp_path / "contents")
        await strays_of(world).run()
    assert "looked for at the next start" in caplog.text
