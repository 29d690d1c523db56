"""Extended attributes: kept here, told to the store as far as it takes them, and read back from it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.backends.metadata import XATTRS
from fusecache.errors import (
    InvalidArgument,
    NoSpace,
    NoSuchAttribute,
    NotPermitted,
    ReadOnly,
    Stale,
    TooBig,
    Unsupported,
)
from fusecache.types import ObjectKey
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import CountedStore, World, a_world

ODD = {b"user.A.b_c": b"\x00\xff&=%", b"user.\xe4 &=": b"", b"user.plain": b"text"}


async def test_set_list_get_replace_remove(world: World) -> None:
    await world.write_file("a", b"x")
    for name, value in ODD.items():
        await world.setxattr("a", name, value)
    assert await world.xattrs("a") == ODD
    await world.setxattr("a", b"user.plain", b"other")
    ino = (await world.stat("a")).ino
    await world.fs.xattrs.remove(ino, b"user.A.b_c")
    assert await world.xattrs("a") == {b"user.\xe4 &=": b"", b"user.plain": b"other"}
    with pytest.raises(NoSuchAttribute):
        await world.fs.xattrs.remove(ino, b"user.A.b_c")
    with pytest.raises(NoSuchAttribute):
        await world.getxattr("a", b"user.absent")


async def test_other_name_spaces(world: World) -> None:
    """As a file system without them answers: no labels, no access control lists."""
    ino = await world.mkdir("d")
    for name in (b"security.selinux", b"security.capability"):
        with pytest.raises(NoSuchAttribute):
            await world.fs.xattrs.get(ino, name)
    for name in (b"system.posix_acl_access", b"trusted.x", b"security.x"):
        with pytest.raises(Unsupported):
            await world.fs.xattrs.set(ino, name, b"")
    with pytest.raises(Unsupported):
        await world.fs.xattrs.get(ino, b"system.posix_acl_default")
    with pytest.raises(InvalidArgument):
        await world.fs.xattrs.set(ino, b"user.", b"")


async def test_of_a_removed_directory_as_long_as_somebody_holds_it(world: World) -> None:
    ino = await world.mkdir("d")
    await world.fs.xattrs.set(ino, b"user.x", b"1")
    await world.rmdir("d")
    before = (await world.fs.getattr(ino)).inode
    await world.fs.xattrs.set(ino, b"user.y", b"2")
    await world.fs.xattrs.remove(ino, b"user.x")
    assert await world.fs.xattrs.list(ino) == [b"user.y"]
    assert await world.fs.xattrs.get(ino, b"user.y") == b"2"
    assert (await world.fs.getattr(ino)).inode.ctime_ns >= before.ctime_ns
    with pytest.raises(NoSuchAttribute):
        await world.fs.xattrs.get(ino, b"user.fusecache.state")
    world.fs.forget(ino)
    with pytest.raises(Stale):
        await world.fs.xattrs.list(ino)


async def test_no_more_than_linux_and_a_row_take(world: World) -> None:
    ino = await world.mkdir("d")
    await world.fs.xattrs.set(ino, b"user.big", bytes(64 << 10))
    with pytest.raises(TooBig):
        await world.fs.xattrs.set(ino, b"user.big", bytes((64 << 10) + 1))
    with pytest.raises(NoSpace):
        await world.fs.xattrs.set(ino, b"user.other", bytes(64 << 10))
    assert await world.fs.xattrs.list(ino) == [b"user.big"]


async def test_what_stat_tells(world: World, store: CountedStore) -> None:
    await store.foreign({"a": b"four"})
    ino = (await world.stat("a")).ino
    (etag,) = [page.etag for page in (await store.list("", delimiter=None)).objects]
    await world.read_file("a")
    told = {name: await world.getxattr("a", b"user.fusecache." + name) for name in (b"state", b"key", b"etag")}
    assert told == {b"state": b"clean", b"key": b"a", b"etag": etag.encode()}
    assert await world.getxattr("a", b"user.fusecache.cached_bytes") == b"4"
    assert await world.fs.xattrs.list(ino) == [], "cp -a would copy them"
    for call in (
        world.fs.xattrs.set(ino, b"user.fusecache.state", b""),
        world.fs.xattrs.remove(ino, b"user.fusecache.x"),
    ):
        with pytest.raises(NotPermitted):
            await call
    with pytest.raises(NoSuchAttribute):
        await world.getxattr("a", b"user.fusecache.other")
    await world.mkdir("d")
    await world.write_file("d/new", b"x")
    assert await world.getxattr("d", b"user.fusecache.state") == b"dirty"
    with pytest.raises(NoSuchAttribute):
        await world.getxattr("d/new", b"user.fusecache.etag")


async def test_they_survive_a_restart(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.mkdir("d")
        await world.setxattr("d", b"user.x", b"1")
    async with a_world(tmp_path) as world:
        assert await world.xattrs("d") == {b"user.x": b"1"}


async def test_another_mount_reads_them(tmp_path: Path, autojump_clock: MockClock) -> None:
    """With the upload, with the copy that a later change asks for, and no more after they were removed."""
    store = RecordedStore()
    (tmp_path / "1").mkdir()
    async with a_drained_world(tmp_path / "1", store) as world:
        await world.write_file("a", b"bytes")
        for name, value in ODD.items():
            await world.setxattr("a", name, value)
        await world.settle()
        assert [each.split()[0] for each in store.writes] == ["put"]
        assert await _elsewhere(tmp_path / "2", store) == ODD
        await world.setxattr("a", b"user.late", b"1")
        await world.settle()
        assert await _elsewhere(tmp_path / "3", store) == {**ODD, b"user.late": b"1"}
        await world.rename("a", "b")
        await world.rename("b", "a")
        for name in (*ODD, b"user.late"):
            await world.fs.xattrs.remove((await world.stat("a")).ino, name)
        await world.settle()
        assert await _elsewhere(tmp_path / "4", store) == {}


async def test_what_an_object_cannot_carry_stays_here(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = RecordedStore()
    (tmp_path / "1").mkdir()
    async with a_drained_world(tmp_path / "1", store) as world:
        await world.write_file("a", b"bytes")
        with caplog.at_level(logging.WARNING):
            for name in (b"user.1", b"user.2", b"user.3"):
                await world.setxattr("a", name, b"x" * 700)
            await world.setxattr("a", b"user.4", b"small")
        assert [record.levelname for record in caplog.records] == ["WARNING"], "said once"
        await world.settle()
        assert len(await world.xattrs("a")) == 4
        metadata = (await store.head(ObjectKey("a"))).metadata or {}
        assert sum(len("x-amz-meta-" + name + value) for name, value in metadata.items()) <= 2048
        assert list(await _elsewhere(tmp_path / "2", store)) == [b"user.1", b"user.2", b"user.4"]


@pytest.mark.parametrize("text", ["&", "&&=x&", "a", "=", "%zz=%"])
async def test_what_somebody_else_wrote_there_harms_nobody(world: World, store: CountedStore, text: str) -> None:
    await store.foreign({"a": b"x"}, **{XATTRS: text})
    assert set(await world.xattrs("a")) <= {b"user.a", b"user.%zz"}


async def test_not_on_a_read_only_mount(tmp_path: Path) -> None:
    store = CountedStore()
    await store.foreign({"a": b"x"}, **{XATTRS: "k=v"})
    async with a_world(tmp_path, store, read_only=True) as world:
        assert await world.xattrs("a") == {b"user.k": b"v"}
        with pytest.raises(ReadOnly):
            await world.setxattr("a", b"user.k", b"w")


async def _elsewhere(root: Path, store: RecordedStore) -> dict[bytes, bytes]:
    root.mkdir()
    async with a_drained_world(root, store) as other:
        return await other.xattrs("a")
