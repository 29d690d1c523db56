"""Modes, owners, link counts and times, as POSIX and Linux change them."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.fs.attrs import Changes, inherited, without_set_id
from fusecache.namespace.tree import Owner
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import DIRECTORY, FILE, LINK, CountedStore, World

TICK_S = 5.0

# --- set-id bits ---


@pytest.mark.parametrize(
    ("mode", "left"), [(0o6755, 0o755), (0o6745, 0o2745), (0o4644, 0o644), (0o1777, 0o1777), (0o6715, 0o715)]
)
def test_which_bits_go(mode: int, left: int) -> None:
    assert stat.S_IMODE(without_set_id(stat.S_IFREG | mode)) == left


@pytest.mark.parametrize("change", [{"uid": 7}, {"gid": 7}, {"drops_set_id": True}, {"size": 0, "drops_set_id": True}])
async def test_a_new_owner_and_a_write_without_privileges_drop_them(world: World, change: dict[str, int]) -> None:
    await world.write_file("a", b"x")
    await world.setattr("a", mode=0o6755)
    assert (await world.setattr("a", **change)).mode == stat.S_IFREG | 0o755


async def test_what_is_asked_for_with_a_new_owner_counts(world: World) -> None:
    await world.write_file("a", b"x")
    assert (await world.setattr("a", mode=0o6755, uid=7)).mode == stat.S_IFREG | 0o6755


async def test_those_of_a_directory_stay(world: World) -> None:
    await world.mkdir("d")
    await world.setattr("d", mode=0o6755)
    assert (await world.setattr("d", uid=7)).mode == stat.S_IFDIR | 0o6755


@pytest.mark.parametrize("drops_set_id", [False, True])
async def test_an_open_that_empties(world: World, drops_set_id: bool) -> None:
    await world.write_file("a", b"x")
    ino = (await world.setattr("a", mode=0o6755)).ino
    world.fs.release(await world.fs.open(ino, os.O_WRONLY | os.O_TRUNC, drops_set_id=drops_set_id))
    assert (await world.stat("a")).mode == stat.S_IFREG | (0o755 if drops_set_id else 0o6755)


# --- what a directory hands down ---


async def test_below_a_set_group_id_directory_all_belongs_to_its_group(world: World) -> None:
    await world.mkdir("d")
    await world.setattr("d", gid=77, mode=0o2775)
    await world.mkdir("d/s")
    await world.write_file("d/s/f", b"x")
    await world.symlink("f", "d/s/l")
    await world.mkfifo("d/s/p")
    found = [await world.stat(path) for path in ("d/s", "d/s/f", "d/s/l", "d/s/p")]
    assert [(inode.gid, bool(inode.mode & stat.S_ISGID)) for inode in found] == [(77, True), *[(77, False)] * 3]


async def test_elsewhere_to_who_makes_it(world: World) -> None:
    parent = await world.stat("")
    for owner in (FILE, LINK, DIRECTORY):
        assert inherited(owner, parent) == owner
    assert inherited(Owner(stat.S_IFREG | 0o2644, 1, 2), parent).mode & stat.S_ISGID


# --- links ---


async def test_links_of_a_directory_that_is_only_here(world: World) -> None:
    for path in ("d", "d/1", "d/2", "d/2/3", "e", "e/4"):
        await world.mkdir(path)
    await world.write_file("d/f", b"x")
    assert await _links(world, "d", "d/2", "d/2/3", "e") == [4, 3, 2, 3]
    await world.rename("d/2", "e/2")
    assert await _links(world, "d", "e", "e/2") == [3, 4, 3]
    await world.rename("d/1", "e/4")
    assert await _links(world, "d", "e") == [2, 4]
    await world.rmdir("e/4")
    assert await _links(world, "d", "e") == [2, 3]


async def test_links_of_one_that_the_store_has(world: World, store: CountedStore) -> None:
    """Nobody counts what is in the store: 1 says so to find(1)."""
    await store.foreign({"d/s/x": b"x"})
    assert await _links(world, "", "d") == [1, 1]
    await world.mkdir("d/t")
    await world.unlink("d/s/x")
    await world.rmdir("d/s")
    await world.rmdir("d/t")
    assert await _links(world, "d") == [1]
    assert world.ns.tables.inodes.orphans() == [], "a start would forget them"


async def test_a_persisted_directory_is_no_longer_counted(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with a_drained_world(tmp_path, RecordedStore()) as world:
        await world.mkdir("d")
        await world.mkdir("d/s")
        assert await _links(world, "d") == [3]
        await world.write_file("d/s/x", b"x")
        await world.settle()
        assert await _links(world, "d", "d/s") == [1, 1]


async def test_a_removed_directory_has_none(world: World) -> None:
    ino = await world.mkdir("d")
    await world.rmdir("d")
    assert (await world.fs.getattr(ino)).inode.nlink == 0
    number = await world.fs.opendir(ino)
    assert await world.fs.readdir(number, 0) == []
    world.fs.forget(ino)


# --- times ---

Act = Callable[[World], Awaitable[object]]
CHANGES_THE_FILE: dict[str, tuple[Act, set[str]]] = {
    "chmod": (lambda world: world.setattr("d/a", mode=0o600), {"ctime"}),
    "chmod to what it is": (lambda world: world.setattr("d/a", mode=0o644), {"ctime"}),
    "chown": (lambda world: world.setattr("d/a", uid=5), {"ctime"}),
    "setattr of nothing": (lambda world: world.setattr("d/a", drops_set_id=True), {"ctime"}),
    "rename": (lambda world: world.rename("d/a", "a"), {"ctime", "parent"}),
    "link": (lambda world: world.link("d/a", "d/b"), {"ctime", "parent"}),
    "unlink of another link": (lambda world: world.unlink("d/other"), {"ctime", "parent"}),
    "exchange": (lambda world: world.exchange("d/a", "x"), {"ctime", "parent"}),
    "setxattr": (lambda world: world.setxattr("d/a", b"user.x", b"1"), {"ctime"}),
    "write": (lambda world: world.write_at("d/a", 0, b"y"), {"mtime", "ctime"}),
    "truncate": (lambda world: world.truncate("d/a", 0), {"mtime", "ctime"}),
    "truncate to its size": (lambda world: world.truncate("d/a", 1), {"mtime", "ctime"}),
    "open that empties": (lambda world: world.write_file("d/a", b""), {"mtime", "ctime"}),
    "create beside it": (lambda world: world.write_file("d/new", b""), {"parent"}),
    "mkdir beside it": (lambda world: world.mkdir("d/new"), {"parent"}),
    "mknod beside it": (lambda world: world.mkfifo("d/new"), {"parent"}),
    "symlink beside it": (lambda world: world.symlink("a", "d/new"), {"parent"}),
    "read": (lambda world: world.read_file("d/a"), set()),
    "open and close": (lambda world: _open_and_close(world, "d/a"), set()),
}


@pytest.mark.parametrize("what", CHANGES_THE_FILE)
async def test_what_changes_which_times(world: World, mock_clock: MockClock, what: str) -> None:
    act, expected = CHANGES_THE_FILE[what]
    await world.mkdir("d")
    await world.write_file("x", b"x")
    await world.write_file("d/a", b"x")
    await world.link("d/a", "d/other")
    before, parent = await world.stat("d/a"), await world.stat("d")
    mock_clock.jump(TICK_S)
    await act(world)
    after, parent_after = (await world.fs.getattr(before.ino)).inode, await world.stat("d")
    changed = {name for name in ("mtime", "ctime") if getattr(after, f"{name}_ns") != getattr(before, f"{name}_ns")}
    if parent_after.mtime_ns != parent.mtime_ns:
        assert parent_after.ctime_ns == parent_after.mtime_ns
        changed.add("parent")
    assert changed == expected
    assert after.atime_ns == before.atime_ns


async def test_a_write_to_an_open_file_counts_at_once(world: World, mock_clock: MockClock) -> None:
    number = await world.create("a")
    made = await world.stat("a")
    mock_clock.jump(TICK_S)
    await world.fs.write(number, 0, b"x")
    written = await world.stat("a")
    assert written.mtime_ns == written.ctime_ns > made.ctime_ns
    mock_clock.jump(TICK_S)
    await world.close(number)
    assert (await world.stat("a")).ctime_ns == written.ctime_ns, "a close changes nothing"


async def test_a_time_in_the_past_leaves_ctime_in_the_present(world: World, mock_clock: MockClock) -> None:
    number = await world.create("a")
    await world.fs.write(number, 0, b"x")
    mock_clock.jump(TICK_S)
    before = await world.stat("a")
    inode = await world.setattr("a", mtime_ns=123_456_789, atime_ns=5)
    assert (inode.mtime_ns, inode.atime_ns) == (123_456_789, 5)
    assert inode.ctime_ns > before.ctime_ns
    await world.close(number)
    assert (await world.stat("a")) == inode._replace(size=1, generation=inode.generation)


async def test_times_that_do_not_travel_cost_no_request(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await world.write_file("a", b"x")
        await world.settle()
        inode = await world.setattr("a", atime_ns=5)
        await world.setattr("a", mode=stat.S_IMODE(inode.mode))
        await world.settle()
        assert [each.split()[0] for each in store.writes] == ["put"]
        await world.setattr("a", mtime_ns=1_234_567_891)
        await world.settle()
    (tmp_path / "other").mkdir()
    async with a_drained_world(tmp_path / "other", store) as world:
        assert (await world.stat("a")).mtime_ns == 1_234_567_891


# --- unlinked and open ---


async def test_all_of_an_unlinked_open_file(world: World, mock_clock: MockClock) -> None:
    number = await world.create("a", os.O_RDWR)
    ino = (await world.stat("a")).ino
    await world.unlink("a")
    await world.fs.write(number, 0, b"0123456789")
    world.fs.flush(number)
    assert (await world.fs.getattr(ino)).inode.size == 10, "after one of its descriptors was closed"
    await world.fs.setattr(ino, Changes(size=4))
    await world.fs.setattr(ino, Changes(mode=0o600))
    await world.fs.xattrs.set(ino, b"user.x", b"1")
    again = await world.fs.open(ino, os.O_RDONLY)
    assert await world.read(again) == b"0123"
    world.fs.release(again)
    world.fs.release(number)
    gone = (await world.fs.getattr(ino)).inode
    assert (gone.size, gone.nlink, stat.S_IMODE(gone.mode)) == (4, 0, 0o600)


async def _open_and_close(world: World, path: str) -> None:
    await world.close(await world.open(path, os.O_RDWR))


async def _links(world: World, *paths: str) -> list[int]:
    return [(await world.stat(path)).nlink for path in paths]
