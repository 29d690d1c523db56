"""What fsync made safe is there after a power loss, whether its bytes went to their file or with its rows."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.content import Content
from fusecache.cache.descriptors import Descriptors
from fusecache.cache.sparse import ContentLost
from fusecache.cache.synced import Synced
from fusecache.fs import upkeep
from fusecache.types import InodeNo
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern

SMALL = b"few bytes"
LARGE = pattern(100_000)


async def fsynced(world: Drained, path: str, data: bytes, flags: int = os.O_CREAT) -> InodeNo:
    """Write, fsync and close a file; what a power loss keeps of its content is the test's."""
    number = await world.open(path, os.O_WRONLY | flags)
    await world.fs.write(number, 0, data)
    await world.fs.fsync(number)
    await world.close(number)
    return (await world.stat(path)).ino


def content(root: Path, ino: InodeNo) -> Path:
    return root / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}"


async def test_few_bytes_outlive_their_content(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Also a second power loss, before they are in the store."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        absent, spoilt = await fsynced(world, "a", SMALL), await fsynced(world, "b", SMALL)
    for boot_id in ("after", "later"):
        content(tmp_path, absent).unlink()
        content(tmp_path, spoilt).write_bytes(bytes(100))
        async with a_drained_world(tmp_path, store, boot_id=boot_id) as world:
            assert [await world.read_file(path) for path in ("a", "b")] == [SMALL, SMALL]
    assert not (tmp_path / "aside").exists()


@pytest.mark.parametrize(("left", "found"), [(b"fe\0", SMALL), (SMALL + b" more", SMALL + b" more")])
async def test_what_was_written_since_counts_if_all_of_it_is_there(
    tmp_path: Path, autojump_clock: MockClock, left: bytes, found: bytes
) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        number = await world.create("a")
        await world.fs.write(number, 0, SMALL)
        await world.fs.fsync(number)
        await world.fs.write(number, len(SMALL), b" more")
        await world.close(number)
        ino = (await world.stat("a")).ino
    content(tmp_path, ino).write_bytes(left)
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == found


async def test_a_file_of_which_nothing_is_here_is_as_long_as_it_was(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It was cut, so there is a content file, of no bytes: how long that is, nobody has synced."""
    store = RecordedStore()
    await store.foreign({"a": LARGE})
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        await world.truncate("a", 50_000)
        await world.upkeep.seal()
        await world.fs.fsyncdir()
        ino = (await world.stat("a")).ino
    content(tmp_path, ino).write_bytes(b"")
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == LARGE[:50_000]
        await world.settle()
        assert store.content("a") == LARGE[:50_000]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("old", [SMALL, LARGE], ids=["few", "many"])
async def test_a_file_that_was_emptied_is_what_it_was(
    tmp_path: Path, autojump_clock: MockClock, old: bytes, times: int
) -> None:
    """However often it was since."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        ino = await fsynced(world, "a", old)
        for _ in range(times):
            await world.write_file("a", b"new")
    content(tmp_path, ino).write_bytes(b"\0\0\0")
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == old


async def test_who_is_killed_while_a_file_is_emptied_leaves_what_it_was(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the old file was put beside, and before there is a new one."""

    def killed(self: Descriptors, path: str, flags: int) -> int:
        raise OSError(errno.EINTR, path)

    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        ino = await fsynced(world, "a", LARGE)
        number = await world.open("a", os.O_WRONLY)
        await world.fs.write(number, 0, LARGE[:1])
        monkeypatch.setattr(Descriptors, "open", killed)
        with pytest.raises(ContentLost):
            await world.truncate("a", 0)
        assert not content(tmp_path, ino).exists()
    monkeypatch.undo()
    async with a_drained_world(tmp_path, store) as world:
        assert await world.read_file("a") == LARGE


@pytest.mark.parametrize("old", [SMALL, LARGE], ids=["few", "many"])
async def test_what_was_fsynced_is_there_until_the_name_of_what_takes_its_place_is_synced(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, old: bytes
) -> None:
    """The power goes during the second fsync, and takes the name that the first one needed not, or had."""

    async def never(content: Content) -> None:
        await trio.sleep_forever()

    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        ino = await fsynced(world, "a", old)
        monkeypatch.setattr(world.contents, "sync_name", never)
        with trio.move_on_after(1.0) as second:
            await fsynced(world, "a", pattern(50_000), os.O_TRUNC)
        assert second.cancelled_caught
    content(tmp_path, ino).unlink()
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == old


async def test_what_is_emptied_while_another_fsyncs_it_is_old_or_new(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the fsync began with is no longer the file that its rows speak of."""
    store = RecordedStore()
    on_disk: dict[int, bytes] = {}
    new = bytes(50_000) + SMALL
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        held = content(tmp_path, await fsynced(world, "a", LARGE))
        sync_bytes = world.contents.sync_bytes

        async def emptied_meanwhile(synced: Content) -> Synced:
            answer = await sync_bytes(synced)
            on_disk[held.stat().st_ino] = held.read_bytes()
            if len(on_disk) == 1:
                await world.truncate("a", 0)
                await world.write_at("a", len(new) - len(SMALL), SMALL)
            return answer

        monkeypatch.setattr(world.contents, "sync_bytes", emptied_meanwhile)
        await fsynced(world, "a", LARGE[:70_000], 0)
        await world.upkeep.sweep()
    held.write_bytes(on_disk.get(held.stat().st_ino, b""))
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") in (LARGE, new)


async def test_few_bytes_that_have_become_many_are_held_by_their_content(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        ino = await fsynced(world, "a", SMALL)
        await fsynced(world, "a", LARGE, 0)
        seals = world.ns.tables.seals
        assert seals.carried(ino) is None
        await fsynced(world, "a", SMALL, os.O_TRUNC)
        assert (seals.carried(ino), seals.get(ino).synced_token) == (SMALL, None)
        await world.upkeep.sweep()
    assert [path.name for path in content(tmp_path, ino).parent.iterdir()] == [f"{ino:x}"]
    content(tmp_path, ino).unlink()
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == SMALL


async def test_rows_are_rid_of_bytes_that_the_store_has(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with a_drained_world(tmp_path, RecordedStore()) as world:
        await fsynced(world, "a", SMALL)
        await world.settle()
        assert world.ns.tables.seals.all_carried() == []


async def test_nothing_is_kept_of_a_file_without_a_name(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with a_drained_world(tmp_path, RecordedStore()) as world:
        number = await world.create("a")
        await world.unlink("a")
        await world.fs.write(number, 0, SMALL)
        await world.fs.fsync(number)
        assert world.ns.tables.seals.all_carried() == []
        await world.close(number)


async def test_many_files_are_synced_themselves_after_a_while(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first, and none that is open; a restart does not forget them."""
    monkeypatch.setattr(upkeep, "_MAX_CARRIED", 1)
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, delay_s=3600) as world:
        first = await fsynced(world, "first", SMALL)
        number = await world.create("second")
        await world.fs.write(number, 0, SMALL)
        await world.fs.fsync(number)
        third, fourth = await fsynced(world, "third", SMALL), await fsynced(world, "fourth", SMALL)
        second = (await world.stat("second")).ino
        await world.upkeep.unload()
        seals = world.ns.tables.seals
        assert seals.all_carried() == [second, fourth]
        assert [seals.get(ino).synced_token is not None for ino in (first, second, third, fourth)] == [1, 0, 1, 0]
        await world.close(number)
        fifth = await fsynced(world, "fifth", SMALL)
        await world.upkeep.unload()
        assert seals.all_carried() == [fifth]
        sixth = await fsynced(world, "sixth", SMALL)
    async with a_drained_world(tmp_path, store, delay_s=3600) as world:
        await world.upkeep.unload()
        assert world.ns.tables.seals.all_carried() == [sixth]


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("was_fsynced", [True, False], ids=["fsynced", "new"])
async def test_what_nobody_knows_a_hash_of_is_synced_by_the_daemon_after_the_killed_one(
    tmp_path: Path, autojump_clock: MockClock, is_closed: bool, was_fsynced: bool
) -> None:
    """Else a power loss days later, with the store away, would take what has long been on the disk."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        if was_fsynced:
            await fsynced(world, "a", b"old")
        number = await world.open("a", os.O_WRONLY | os.O_CREAT)
        await world.fs.write(number, 4, b"second")
        await world.fs.write(number, 0, b"first"[:4])
        if is_closed:
            await world.close(number)
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        await world.upkeep.seal()
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == b"firssecond"
    assert not (tmp_path / "aside").exists()
