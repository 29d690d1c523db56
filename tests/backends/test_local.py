"""How keys and files correspond in a `file://` store."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

from fusecache.backends.local import open_local
from fusecache.backends.local.tree import STAGING
from fusecache.backends.sources import BytesSource
from fusecache.errors import NoSuchObject, NoSuchStore, PreconditionFailed, StoreRefused
from tests.backends.helpers import key, names, put, read


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
        with pytest.raises(NoSuchObject):
            await put(store, "a")


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


async def test_the_body_of_a_put_that_was_killed_is_found_and_removed(tmp_path: Path) -> None:
    body = tmp_path / STAGING / f"put-{'0' * 32}"
    async with open_local(tmp_path) as store:
        assert await store.list_uploads() == []
        body.parent.mkdir()
        body.write_bytes(b"half")
        (body.parent / "somebody's").touch()
        (upload,) = await store.list_uploads()
        assert (upload.key, upload.upload_id) == (None, body.name)
        await store.abort_multipart(key(""), upload.upload_id)
        assert [path.name for path in body.parent.iterdir()] == ["somebody's"]
