"""How keys and files correspond in a `file://` store."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
import trio

from fusecache.backends.local import open_local, rename
from fusecache.backends.local.attributes import MARKER
from fusecache.backends.local.tree import STAGING
from fusecache.backends.sources import BytesSource
from fusecache.errors import NoSuchObject, NoSuchStore, PreconditionFailed, StoreRefused
from fusecache.types import ETag, ListPage
from tests.backends.helpers import key, list_all, names, put, read

NOTHING = ListPage((), (), None)


async def test_a_key_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_bytes(b"theirs")
    async with open_local(tmp_path) as store:
        await put(store, "ours/file", b"ours", mode="33188")
        assert await names(store) == ["ours/file", "theirs/file"]
        assert await read(store, "theirs/file") == b"theirs"
    assert (tmp_path / "ours/file").read_bytes() == b"ours"
    assert os.getxattr(tmp_path / "ours/file", "user.mode") == b"33188"
    assert list((tmp_path / STAGING).iterdir()) == []


async def test_a_listing_beside_removals_shows_what_stays(tmp_path: Path) -> None:
    """What vanishes while it is listed is left out, alone; and no listing fails for it."""
    stays = [f"d/{n:02}" for n in range(40)]
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for n in range(40):
                (tmp_path / f"d/{n:02}-x").mkdir()
                (tmp_path / f"d/{n:02}-y").write_bytes(b"")
            for n in range(40):
                (tmp_path / f"d/{n:02}-x").rmdir()
                (tmp_path / f"d/{n:02}-y").unlink()

    async with open_local(tmp_path) as store:
        for name in stays:
            await put(store, name)
        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(100):
                assert [name for name in await names(store) if "-" not in name] == stays
        finally:
            stop.set()
            thread.join()


async def test_an_absent_root(tmp_path: Path) -> None:
    async with open_local(tmp_path / "absent") as store:
        with pytest.raises(NoSuchStore, match="create it first"):
            await store.check()
        with pytest.raises(NoSuchStore):
            await put(store, "a")


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_what_a_root_that_is_gone_does_not_show_is_not_absent(tmp_path: Path, is_replaced: bool) -> None:
    """As where a file system is not mounted any more: then there is an empty directory instead, or none."""
    root, aside = tmp_path / "root", tmp_path / "aside"
    root.mkdir()
    async with open_local(root) as store:
        etag = await put(store, "a", b"1")
        root.rename(aside)
        if is_replaced:
            root.mkdir()
        with pytest.raises(NoSuchStore):
            await store.head(key("a"))
        with pytest.raises(NoSuchStore):
            await names(store)
        with pytest.raises(NoSuchStore):
            await store.delete([key("a")], if_match=[etag])
        with pytest.raises(NoSuchStore):
            await put(store, "b", b"2")
        if is_replaced:
            assert list(root.iterdir()) == []
            root.rmdir()
        aside.rename(root)
        assert await names(store) == ["a"]


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", "./a", "a\0b", f"{STAGING}/a", "x" * 300])
async def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    async with open_local(tmp_path) as store:
        with pytest.raises(StoreRefused):
            await put(store, name)


async def test_a_file_and_a_directory_exclude_each_other(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        await put(store, "a")
        with pytest.raises(StoreRefused, match="is a file"):
            await put(store, "a/b")
        with pytest.raises(StoreRefused):
            await put(store, "a/", b"")
        await put(store, "d/x")
        with pytest.raises(StoreRefused, match="objects below"):
            await put(store, "d")
        assert await names(store) == ["a", "d/x"]


async def test_an_empty_directory_is_a_marker(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    async with open_local(tmp_path) as store:
        assert await names(store) == ["theirs/"]
        await put(store, "theirs/a")
        assert await names(store) == ["theirs/a"]  # nobody put it, so it goes with what is in it
        await store.delete([key("theirs/a")])
        assert await names(store) == []
    assert not (tmp_path / "theirs").exists()


async def test_a_directory_on_the_way_exists_for_what_is_below_it(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        await put(store, "a/b/c")
        for below in ("c", "link"):  # neither is an object
            (tmp_path / "a/b" / below).unlink(missing_ok=True)
            (tmp_path / "a/b/link").symlink_to("/")
            assert (await list_all(store, "", delimiter="/")).prefixes == ()
            assert (await list_all(store, "a/", delimiter="/")) == await list_all(store, "a/b/") == NOTHING
            with pytest.raises(NoSuchObject):
                await store.head(key("a/b/"))
            with pytest.raises(PreconditionFailed):
                await store.put(key("a/b/"), BytesSource(b""), metadata={}, if_match=ETag("x"))
        (tmp_path / "a/b/theirs").mkdir()
        assert (await list_all(store, "", delimiter="/")).prefixes == ("a/",)
        assert await names(store) == ["a/b/theirs/"]


async def test_a_directory_that_is_no_marker_any_more_exists_for_what_is_below_it(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        await put(store, "d/", b"")
        await put(store, "d/child")
        await store.delete([key("d/")])
        assert await names(store) == ["d/child"]
        (tmp_path / "d/child").unlink()
        assert await names(store) == []


async def test_a_marker_has_the_metadata_of_its_last_put(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        for told in ({"mode": "16877", "uid": "7"}, {"Mode": "16832"}, {}):
            await put(store, "d/", b"", **told)
            assert (await store.head(key("d/"))).metadata == {name.lower(): value for name, value in told.items()}
            await put(store, "d/child")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.setxattr(theirs, "user.mode", b"16877")
    async with open_local(tmp_path) as store:
        assert (await store.head(key("theirs/"))).metadata == {"mode": "16877"}
        os.setxattr(theirs, MARKER, b"1")  # as earlier versions did
        assert (await store.head(key("theirs/"))).metadata == {"mode": "16877"}


async def test_a_directory_of_somebody_elses_gives_way_to_no_file(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        (tmp_path / "d").mkdir()
        with pytest.raises(StoreRefused, match="is an object"):
            await put(store, "d")
        await store.delete([key("d/")])
        await put(store, "d")
        assert await names(store) == ["d"]


async def test_a_file_system_without_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There every empty directory is an object; what only we made still goes with what was in it."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    for call in ("setxattr", "listxattr", "getxattr", "removexattr"):
        monkeypatch.setattr(os, call, refuse)
    async with open_local(tmp_path) as store:
        await put(store, "a/b/c", mode="33188")
        await put(store, "a/d/", b"", mode="16877")
        assert await names(store) == ["a/b/c", "a/d/"]
        assert (await store.head(key("a/b/c"))).metadata == {}
        await store.delete([key("a/b/c"), key("a/d/")])
        assert list(tmp_path.iterdir()) == [tmp_path / STAGING]
        (tmp_path / "left").mkdir()
        await put(store, "left")
        assert await names(store) == ["left"]


async def test_a_full_disk_is_not_in_the_way_of_a_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").touch()
    async with open_local(tmp_path) as store:
        await put(store, "d/", b"")
        await put(store, "d/child")
        monkeypatch.setattr(os, "setxattr", full)
        outcomes = await store.delete([key("theirs/file"), key("d/"), key("d/child")])
        assert [outcome.error for outcome in outcomes] == [None] * 3
        assert list(tmp_path.iterdir()) == [tmp_path / STAGING]


async def test_a_link_is_not_removed_for_a_key(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "link").symlink_to(elsewhere)
    async with open_local(root) as store:
        await store.delete([key("link"), key("link/")])
    assert (root / "link").is_symlink()
    assert not os.listxattr(elsewhere)


@pytest.mark.parametrize("name", ["link", "link/", "link/x", "link/x/", "link/d/x", "fifo", "fifo/"])
async def test_what_is_not_seen_is_neither_replaced_nor_followed(tmp_path: Path, name: str) -> None:
    """Below a link to elsewhere a put would be lost: nobody would list it. And a delete would hit a stranger's file."""
    root, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    for directory in (root, elsewhere, elsewhere / "x"):
        directory.mkdir()
    (root / "link").symlink_to(elsewhere)
    (elsewhere / "file").write_bytes(b"theirs")
    os.mkfifo(root / "fifo")
    async with open_local(root) as store:
        with pytest.raises(StoreRefused, match="neither"):
            await store.put(key(name), BytesSource(b"" if name.endswith("/") else b"ours"), metadata={})
        outcomes = await store.delete([key("link/file"), key("link/x/")])
        assert [outcome.error for outcome in outcomes] == [None, None]
        assert await names(store) == []
    assert (root / "link").is_symlink()
    assert (root / "fifo").is_fifo()
    assert sorted(path.name for path in elsewhere.rglob("*")) == ["file", "x"]
    assert not any(os.listxattr(path) for path in (elsewhere, elsewhere / "x"))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_rename_to_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool) -> None:
    """An empty directory, which rename(2) replaces, is something; also where the file system doesn't know the flag."""
    if not is_known:
        monkeypatch.setattr(rename, "_NOREPLACE", 1 << 30)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with pytest.raises(FileExistsError):
        rename.rename_new(source, target)
    target.rmdir()
    rename.rename_new(source, target)
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(FileNotFoundError):
        rename.rename_new(source, target / "x")


async def test_what_is_no_object_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    async with open_local(tmp_path) as store:
        assert await names(store) == ["file"]
        with pytest.raises(NoSuchObject):
            await store.head(key("link"))


async def test_every_put_is_another_version(tmp_path: Path) -> None:
    """Inode numbers come back within one tick of the kernel's clock: the etag must not."""
    async with open_local(tmp_path) as store:
        seen = {await put(store, "a", b"same") for _ in range(200)}
    assert len(seen) == 200


async def test_a_file_changed_by_somebody_is_another_version(tmp_path: Path) -> None:
    async with open_local(tmp_path) as store:
        etag = await put(store, "a", b"before")
        (tmp_path / "a").write_bytes(b"behind our back")
        with pytest.raises(PreconditionFailed):
            await store.put(key("a"), BytesSource(b"x"), metadata={}, if_match=etag)


async def test_puts_and_deletes_side_by_side(tmp_path: Path) -> None:
    """A delete that empties a directory does not take it away from a put on its way in."""
    async with open_local(tmp_path) as store:

        async def flicker(number: int) -> None:
            for _ in range(20):
                await put(store, f"d/e/{number}")
                await store.delete([key(f"d/e/{number}")])

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(flicker, number)
        assert await names(store) == []
    assert not (tmp_path / "d").exists()


async def test_what_a_killed_put_has_left_is_found_and_removed(tmp_path: Path) -> None:
    aside = tmp_path / STAGING
    body, directory = aside / f"put-{'0' * 32}", aside / f"put-{'1' * 32}"
    async with open_local(tmp_path) as store:
        assert await store.list_uploads() == []
        aside.mkdir()
        body.write_bytes(b"half")
        directory.mkdir()
        (aside / "somebody's").touch()
        uploads = await store.list_uploads()
        assert {(upload.key, upload.upload_id) for upload in uploads} == {(None, body.name), (None, directory.name)}
        for upload in uploads:
            await store.abort_multipart(key(""), upload.upload_id)
        assert [path.name for path in aside.iterdir()] == ["somebody's"]


async def test_the_first_put_removes_what_killed_ones_left_a_day_ago(tmp_path: Path) -> None:
    aside, day_s = tmp_path / STAGING, 24 * 3600
    left = {f"put-{'0' * 32}": 0, f"put-{'1' * 32}": 100, f"upload-{'0' * 32}": 0, "somebody's": 0}
    for name, mtime_s in left.items():
        (aside / name).mkdir(parents=True)
        os.utime(aside / name, (mtime_s, mtime_s))
    async with open_local(tmp_path, wall_ns=lambda: (day_s + 50) * 10**9) as store:
        assert await names(store) == []
        assert len(list(aside.iterdir())) == 4  # who only reads changes nothing
        await put(store, "a")
    assert {path.name for path in aside.iterdir()} == set(left) - {f"put-{'0' * 32}"}
