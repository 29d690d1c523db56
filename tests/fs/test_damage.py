"""The state is damaged while it is used: each damage has one behaviour, told in docs/durability.md."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.contents import ContentLost
from fusecache.errors import NamespaceError, NoSpace, ReadOnly
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import pattern


def spoil(root: Path, world: Drained, table: str) -> None:
    """Overwrite the root page of a table, on the disk and for every reader."""
    connection = world.ns.database.connection
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with (root / "namespace.db").open("r+b") as file:
        file.seek((page - 1) * 1024)
        file.write(b"\xaa" * 1024)
    connection.execute("PRAGMA cache_size = 0")
    connection.execute("PRAGMA shrink_memory")


async def test_a_read_that_meets_a_damaged_database_makes_it_read_only(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent any more, and the daemon lives to say so."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"old")
        await world.settle()
        await world.write_file("b", b"new")
        spoil(tmp_path, world, "dentry")
        with pytest.raises(NamespaceError):
            await world.stat("asked for the first time")
        assert world.ns.database.degraded == "database disk image is malformed"
        with pytest.raises(ReadOnly, match="malformed"):
            world.ns.tree.recover(now_ns=1)
        world.persister.ring()
        await trio.sleep(100)
    assert store.objects() == {"a": b"old"}
    assert "nothing is sent any more" in caplog.text


@pytest.mark.parametrize("how", ["missing", "short"])
async def test_a_dirty_file_whose_bytes_are_gone_is_stuck(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", pattern(200_000))
        path = tmp_path / "contents" / f"{(await world.stat('a')).ino & 0xFF:02x}" / f"{(await world.stat('a')).ino:x}"
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes(b"short")
        with caplog.at_level(logging.ERROR):
            await world.settle()
        with pytest.raises(ContentLost):
            await world.read_file("a")
        assert store.objects() == {}
        assert [each["path"] for each in world.persister.report().stuck] == ["a"]
        assert "stuck" in caplog.text


async def test_a_clean_file_whose_bytes_are_gone_is_fetched_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    data = pattern(200_000)
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", data)
        await world.settle()
        ino = (await world.stat("a")).ino
    (tmp_path / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}").unlink()
    async with a_drained_world(tmp_path, store) as world:
        assert await world.read_file("a") == data
        assert store.since()["get"] > 0


async def test_what_a_power_loss_took_is_said_and_kept(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The path shows its last good version; what is left of the new one is beside."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        await world.write_file("a", b"good")
        await world.settle()
        await world.write_file("a", b"lost")
        await world.write_file("b", b"lost, too")
        ino = (await world.stat("a")).ino
    (tmp_path / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}").write_bytes(b"lo\0\0")
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file("a") == b"good"
        assert await world.read_file("b") == b"lost, too"  # closed, and all of it is there
        await world.settle()
    assert store.objects() == {"a": b"good", "b": b"lost, too"}
    assert (tmp_path / "aside" / f"{ino:x}").read_bytes() == b"lo\0\0"
    assert "/a: its bytes did not outlive a power loss" in caplog.text


@pytest.mark.parametrize("new", ["b", "d/b"])
async def test_what_a_power_loss_leaves_of_a_renamed_file_follows_its_name(
    tmp_path: Path, autojump_clock: MockClock, new: str
) -> None:
    """The last good version is below the old name in the store, and something else below the new one."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        await world.mkdir("d")
        await world.write_file("a", b"good")
        await world.write_file(new, b"replaced")
        await world.settle()
        await world.write_file("a", b"lost")
        await world.rename("a", new)
        ino = (await world.stat(new)).ino
    (tmp_path / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}").write_bytes(b"lo\0\0")
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        assert await world.read_file(new) == b"good"
        await world.settle()
        assert await world.read_file(new) == b"good"
        assert world.tasks_left() == 0
    assert {key: data for key, data in store.objects().items() if key != "d/"} == {new: b"good"}


async def test_an_upload_under_way_when_the_power_went_is_nobody_elses_object(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It has arrived below the new name, and gives way to the version that is shown there."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, boot_id="before") as world:
        await world.write_file("a", b"good")
        await world.settle()
        await world.write_file("a", b"lost")
        await world.rename("a", "b")
        ino = (await world.stat("b")).ino
        store.pause_s = 10.0
        await trio.sleep(15.0)  # it is in the store, and the answer on its way
    assert store.objects() == {"a": b"good", "b": b"lost"}
    store.pause_s = 0.0
    (tmp_path / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}").write_bytes(b"lo\0\0")
    async with a_drained_world(tmp_path, store, boot_id="after") as world:
        await world.settle()
        assert await world.read_file("b") == b"good"
    assert store.objects() == {"b": b"good"}


async def test_a_full_disk_takes_nothing_that_was_acknowledged(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"kept")
        database = world.ns.database.connection
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")

        async def fill() -> None:
            for number in range(1000):
                await world.write_file(f"{number:0200}", b"x")

        with pytest.raises(NoSpace):
            await fill()
        database.execute("PRAGMA max_page_count = 1000000")
        assert world.ns.database.degraded is None
        assert await world.read_file("a") == b"kept"
        await world.settle()
        assert store.objects()["a"] == b"kept"
