"""What an export saves of what no store has, and what it says of the rest."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fusecache.persist.export import Exported, Exporter
from fusecache.types import ROOT_INO
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern


@pytest.fixture
def store() -> RecordedStore:
    return RecordedStore()


@pytest.fixture
async def world(tmp_path: Path, store: RecordedStore) -> AsyncIterator[Drained]:
    async with a_drained_world(tmp_path, store, delay_s=3600.0) as opened:
        yield opened


async def exported(world: Drained, to: Path, path: str = "") -> Exported:
    exporter = Exporter(world.ns.tables, world.contents)
    ino = (await world.stat(path)).ino if path else ROOT_INO
    return await exporter.export(ino, to, progress=lambda _: None)


def found(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


async def test_a_tree_is_saved_with_modes_times_and_links(world: Drained, tmp_path: Path) -> None:
    await world.mkdir("d")
    await world.mkdir("d/e")
    await world.mkdir("empty")
    big = pattern(3 * BLOCK + 5)
    await world.write_file("d/e/big", big)
    await world.write_file("d/_temporary", b"local")
    await world.write_file("none", b"")
    await world.symlink("e/big", "d/link")
    await world.setattr("d/e/big", mode=stat.S_IFREG | 0o640, mtime_ns=10**18)
    await world.setattr("d/e", mode=stat.S_IFDIR | 0o500)
    await world.setxattr("none", b"user.colour", b"red")
    done = await exported(world, tmp_path / "out")
    out = tmp_path / "out"
    assert (done.files, done.symlinks, done.directories, done.failed) == (3, 1, 1, [])
    assert done.bytes == len(big) + 5
    assert found(out) == {"d/e/big": big, "d/_temporary": b"local", "none": b""}
    assert os.readlink(out / "d/link") == "e/big"
    assert stat.S_IMODE((out / "d/e/big").stat().st_mode) == 0o640
    assert (out / "d/e/big").stat().st_mtime_ns == 10**18
    assert stat.S_IMODE((out / "d/e").stat().st_mode) == 0o500
    assert (out / "empty").is_dir()


async def test_only_what_is_asked_for_and_not_what_the_store_has(
    world: Drained, store: RecordedStore, tmp_path: Path
) -> None:
    await store.foreign({"d/theirs": b"1"})
    await world.read_file("d/theirs")
    await world.mkdir("other")
    await world.write_file("other/f", b"2")
    await world.write_file("d/f", b"3")
    assert (await exported(world, tmp_path / "out", "d")).files == 1
    assert found(tmp_path / "out") == {"d/f": b"3"}
    assert (await exported(world, tmp_path / "one", "other/f")).files == 1
    assert found(tmp_path / "one") == {"other/f": b"2"}


async def test_nothing_is_overwritten_nor_written_through_a_link(world: Drained, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "f").write_bytes(b"kept")
    (out / "d").symlink_to(elsewhere)
    await world.mkdir("d")
    for path in ("f", "g", "d/h"):
        await world.write_file(path, b"new")
    done = await exported(world, out)
    assert done.files == 1
    assert sorted((each["path"], each["error"]) for each in done.failed) == [
        ("d/h", os.strerror(20)),
        ("f", os.strerror(17)),
    ]
    assert done.failures == 2
    assert found(out) == {"f": b"kept", "g": b"new"}
    assert list(elsewhere.iterdir()) == []


async def test_a_file_that_is_only_partly_here_says_so(world: Drained, store: RecordedStore, tmp_path: Path) -> None:
    theirs = pattern(4 * BLOCK)
    await store.foreign({"f": theirs})
    await world.write_at("f", BLOCK, b"x" * BLOCK)
    done = await exported(world, tmp_path / "out")
    assert done.failed == [
        {
            "path": "f",
            "error": f"{3 * BLOCK} of its {4 * BLOCK} bytes are only in the store: zeros in f.incomplete",
        }
    ]
    saved = found(tmp_path / "out")["f.incomplete"]
    assert saved == bytes(BLOCK) + b"x" * BLOCK + bytes(2 * BLOCK)


async def test_a_file_whose_bytes_are_lost_is_told(world: Drained, tmp_path: Path) -> None:
    await world.write_file("f", pattern(BLOCK))
    await world.write_file("g", b"here")
    world.contents.remains.cut((await world.stat("f")).ino, 10)
    done = await exported(world, tmp_path / "out")
    assert [each["path"] for each in done.failed] == ["f"]
    assert found(tmp_path / "out") == {"g": b"here"}
