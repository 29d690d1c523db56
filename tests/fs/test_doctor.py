"""The whole examination over a store in memory: each thing broken on purpose, told, and repaired where that is safe."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from fusecache.backends.sources import BytesSource
from fusecache.doctor.doctor import Doctor
from fusecache.doctor.repair import Repairer
from fusecache.errors import BackendUnavailable
from fusecache.namespace.durability import Durability
from fusecache.types import ETag, Extent, InodeNo, ObjectKey
from tests.fs.draining import Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern

HOUR_S = 3600.0
DAY_NS = 86_400 * 10**9

pytestmark = pytest.mark.slow  # real threads look at real files: 0.3 s each


class WatchedStore(RecordedStore):
    """Tells when it is asked for bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = trio.Event()

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        self.asked.set()
        return await super().get(key, extent, if_match=if_match)


@dataclass
class Clinic:
    """A world that uploads only when told to, and its doctor."""

    world: Drained
    root: Path
    store: WatchedStore
    now_ns: int = 1_700_000_000_000_000_000
    """The time of the store."""
    replaced: list[tuple[InodeNo, Extent]] = field(default_factory=list)
    """What a kernel would be told to read again."""

    async def examine(self, *, repair: bool = False, mounted: bool = True, path: str = "") -> dict[str, Any]:
        self.world.contents.flush_index()
        tables = self.world.ns.tables
        repairer = Repairer(
            self.root, tables, self.world.contents, Durability(tables.database), self.store, replaced=self._replaced
        )
        doctor = Doctor(
            namespace_db=self.root / "namespace.db",
            cache=self.root,
            backend=self.store,
            wall_ns=lambda: self.now_ns,
            is_mounted=mounted,
            repairer=repairer if repair else None,
        )
        with trio.fail_after(20):
            return await doctor.examine(path, progress=lambda told: None)

    def _replaced(self, ino: InodeNo, extent: Extent) -> None:
        self.replaced.append((ino, extent))

    async def found(self, **how: Any) -> dict[str, list[str]]:
        """What is found, by its kind."""
        report = await self.examine(**how)
        return {each["kind"]: [one["where"] for one in each["examples"]] for each in report["findings"]}

    async def file(self, path: str) -> Path:
        """The content file of a path."""
        ino = (await self.world.stat(path)).ino
        return self.root / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}"

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Nothing that may be the only copy of something changes: neither rows nor files nor objects."""
        before = self._everything()
        yield
        assert self._everything() == before

    def _everything(self) -> dict[str, object]:
        with closing(sqlite3.connect(self.root / "namespace.db")) as db:
            rows = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in ("inode", "dentry", "task")}
        files = {str(path): path.read_bytes() for path in (self.root / "contents").glob("*/*")}
        return {**rows, **files, **self.store.objects()}


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Clinic]:
    """A clean file of three blocks, a dirty one of two, and a directory with one of another's."""
    store = WatchedStore()
    await store.foreign({"dir/theirs": b"theirs"})
    async with a_drained_world(tmp_path, store, delay_s=HOUR_S) as world:
        await world.write_file("clean", pattern(3 * BLOCK - 5))
        await world.settle()
        await world.read_file("dir/theirs")
        await world.write_file("dirty", pattern(2 * BLOCK, 1))
        await trio.lowlevel.checkpoint()
        clinic = Clinic(world, tmp_path, store)
        yield clinic


async def test_a_sound_state_is_healthy(clinic: Clinic) -> None:
    with clinic.unchanged():
        report = await clinic.examine(repair=True)
    assert (report["healthy"], report["findings"]) == (True, [])
    assert report["looked_at"]["objects"] == 2
    assert report["looked_at"]["bytes"] >= len(b"theirs")


async def test_synced_bytes_that_are_with_the_rows_need_no_file(clinic: Clinic) -> None:
    """After a power loss there may be none, or an empty one, until the next start."""
    number = await clinic.world.create("few")
    await clinic.world.fs.write(number, 0, b"bytes")
    await clinic.world.fs.fsync(number)
    await clinic.world.close(number)
    (await clinic.file("few")).unlink()
    assert await clinic.found() == {}


async def test_a_damaged_clean_block_is_fetched_again(clinic: Clinic) -> None:
    path = await clinic.file("dir/theirs")
    path.write_bytes(b"THEIRS")
    with clinic.unchanged():
        report = await clinic.examine()
    assert [each["kind"] for each in report["findings"]] == ["block-damaged"]
    assert report["healthy"] is False
    assert (await clinic.examine(repair=True))["healthy"] is True
    assert path.read_bytes() == b"theirs"
    assert clinic.replaced == [((await clinic.world.stat("dir/theirs")).ino, Extent(0, len(b"theirs")))]
    assert await clinic.found() == {}


async def test_a_damaged_block_whose_object_is_gone_stays_as_it_is(clinic: Clinic) -> None:
    path = await clinic.file("dir/theirs")
    path.write_bytes(b"THEIRS")
    clinic.store.forget("dir/theirs")
    with clinic.unchanged():
        report = await clinic.examine(repair=True)
    assert report["healthy"] is False
    assert {each["kind"] for each in report["findings"]} == {"block-damaged", "object-changed"}
    assert report["findings"][0]["examples"][0]["failure"]


async def test_other_bytes_than_were_fetched_once_are_not_put_in_place(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lie(*_: object, **__: object) -> bytes:
        return b"thEIrs"

    path = await clinic.file("dir/theirs")
    path.write_bytes(b"THEIRS")
    monkeypatch.setattr(clinic.store, "get", lie)
    with clinic.unchanged():
        assert (await clinic.examine(repair=True))["healthy"] is False


async def test_a_block_that_was_written_to_meanwhile_is_left_alone(clinic: Clinic) -> None:
    """The bytes of a write win over a repair that is under way."""
    path = await clinic.file("dir/theirs")
    path.write_bytes(b"THEIRS")
    clinic.store.gate, clinic.store.asked = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: clinic.examine(repair=True))
        with trio.fail_after(10):
            await clinic.store.asked.wait()
        await clinic.world.write_at("dir/theirs", 0, b"acknowledged")
        clinic.store.gate.set()
    assert await clinic.world.read_file("dir/theirs") == b"acknowledged"


async def test_a_dirty_file_that_is_missing_or_short_is_damage(clinic: Clinic) -> None:
    path = await clinic.file("dirty")
    os.truncate(path, BLOCK)
    assert await clinic.found(repair=True) == {"bytes-missing": ["/dirty"]}
    assert path.stat().st_size == BLOCK
    path.unlink()
    assert await clinic.found(repair=True, mounted=False) == {"bytes-missing": ["/dirty"]}


async def test_a_dirty_file_that_rotted_is_damage(clinic: Clinic) -> None:
    path = await clinic.file("dirty")
    with path.open("r+b") as file:
        file.seek(BLOCK + 7)
        file.write(b"!")
    with clinic.unchanged():
        assert await clinic.found(repair=True) == {"bytes-changed": ["/dirty"]}


async def test_a_file_that_is_being_written_is_no_damage(clinic: Clinic) -> None:
    number = await clinic.world.open("dirty", os.O_WRONLY | os.O_TRUNC)
    await clinic.world.truncate("dirty", 0)
    await clinic.world.fs.write(number, 0, b"x")
    assert await clinic.found() == {}
    await clinic.world.close(number)


async def test_a_file_that_no_row_knows_is_put_aside_whole(clinic: Clinic) -> None:
    stray = clinic.root / "contents/0a/fffff0a"
    stray.write_bytes(b"who knows")
    with clinic.unchanged():
        assert await clinic.found() == {"file-unknown": ["contents/0a/fffff0a"]}
    report = await clinic.examine(repair=True)
    assert (report["healthy"], stray.exists()) == (True, False)
    assert (clinic.root / "aside/fffff0a").read_bytes() == b"who knows"
    assert await clinic.found() == {"set-aside": ["aside/fffff0a"]}
    stray.write_bytes(b"another of that name")
    assert (await clinic.examine(repair=True))["healthy"] is False
    assert stray.read_bytes() == b"another of that name"


async def test_the_file_of_what_was_removed_is_deleted_late_and_no_finding(clinic: Clinic) -> None:
    path = await clinic.file("dirty")
    await clinic.world.unlink("dirty")
    assert path.exists()
    assert await clinic.found() == {}


async def test_a_file_that_is_open_and_has_no_name_is_no_finding(clinic: Clinic) -> None:
    number = await clinic.world.open("dirty", os.O_RDWR)
    await clinic.world.unlink("dirty")
    assert await clinic.found(repair=True) == {}
    assert await clinic.world.read(number) == pattern(2 * BLOCK, 1)
    await clinic.world.close(number)


async def test_a_cancelled_examination_ends_and_another_begins(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = trio.Event()

    async def hang(*_: object, **__: object) -> None:
        asked.set()
        await trio.sleep_forever()

    with monkeypatch.context() as patched, trio.fail_after(10):
        patched.setattr(clinic.store, "list", hang)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clinic.examine)
            await asked.wait()
            nursery.cancel_scope.cancel()
    assert await clinic.found() == {}


async def test_nothing_is_repaired_where_rows_are_broken(clinic: Clinic) -> None:
    """A file that no row knows may be one whose row was lost."""
    ino = (await clinic.world.stat("dirty")).ino
    clinic.world.ns.database.connection.execute("DELETE FROM inode WHERE ino = ?", (ino,))
    clinic.world.ns.database.connection.execute("DELETE FROM doomed")
    with clinic.unchanged():
        found = await clinic.found(repair=True)
    assert {"rows-broken", "file-unknown"} <= found.keys()


async def test_what_others_changed_is_a_note(clinic: Clinic) -> None:
    await clinic.store.foreign({"dir/theirs": b"newer"})
    report = await clinic.examine()
    assert report["healthy"] is True
    assert [(each["kind"], each["count"]) for each in report["findings"]] == [("object-changed", 1)]
    assert await clinic.found(path="clean") == {}
    assert await clinic.found(path="dir") == {"object-changed": ["/dir/theirs"]}
    clinic.store.forget("dir/theirs")
    assert await clinic.found(path="dir/theirs") == {"object-changed": ["/dir/theirs"]}


async def test_a_renamed_file_whose_object_is_gone_is_damage(clinic: Clinic) -> None:
    await clinic.world.rename("dir/theirs", "mine")
    clinic.store.forget("dir/theirs")
    assert await clinic.found() == {"base-gone": ["/mine"]}


async def test_a_partly_local_file_whose_version_is_gone_is_damage(clinic: Clinic) -> None:
    await clinic.store.foreign({"large": pattern(3 * BLOCK)})
    await clinic.world.write_at("large", 0, pattern(BLOCK, 7))
    assert await clinic.found() == {}
    await clinic.store.foreign({"large": b"other"})
    assert await clinic.found() == {"base-gone": ["/large"]}


async def test_an_upload_of_ours_that_nobody_continues_is_aborted_after_a_day(clinic: Clinic) -> None:
    for key in ("clean", "strangers"):
        await clinic.store.start_multipart(ObjectKey(key), metadata={})
    assert await clinic.found() == {}
    clinic.now_ns += DAY_NS + 10**9
    assert await clinic.found() == {"upload-left": ["clean"], "upload-of-others": ["strangers"]}
    assert clinic.store.parts_left == 2
    assert (await clinic.examine(repair=True))["healthy"] is True
    assert [upload.key for upload in await clinic.store.list_uploads()] == ["strangers"]


async def test_an_upload_that_goes_on_is_left_alone(clinic: Clinic) -> None:
    clinic.now_ns += DAY_NS + 10**9
    upload_id = await clinic.store.start_multipart(ObjectKey("clean"), metadata={})
    connection = clinic.world.ns.database.connection
    row = (77, 7, 1, 1, "clean", upload_id, "[]", "signature", 5, "[]", None, None)
    connection.execute(f"INSERT INTO upload VALUES ({', '.join('?' * len(row))})", row)
    assert await clinic.found() == {}
    assert await clinic.found(mounted=False) == {}


async def test_a_temporary_key_that_no_row_knows_is_told_and_kept(clinic: Clinic) -> None:
    await clinic.store.put(ObjectKey(".fusecache-tmp/77/object"), BytesSource(b"x"), metadata={})
    with clinic.unchanged():
        assert await clinic.found(repair=True) == {"temporary-left": [".fusecache-tmp/77/object"]}


async def test_a_store_that_does_not_answer_is_told_with_the_rest(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(clinic.store, "list", refuse)
    (clinic.root / "contents/0a/fffff0a").touch()
    assert (await clinic.found()).keys() == {"file-unknown", "store-unasked"}


async def test_many_pages_of_objects_and_rows(clinic: Clinic) -> None:
    await clinic.store.foreign({f"many/{n:05d}": b"x" for n in range(2500)})
    assert len(await clinic.world.ls("many")) == 2500
    assert await clinic.found() == {}
    await clinic.store.foreign({"many/00999": b"y", "many/01000": b"y", "many/02499": b"y"})
    assert await clinic.found() == {"object-changed": ["/many/00999", "/many/01000", "/many/02499"]}


async def test_an_index_that_cannot_be_read_is_a_note(clinic: Clinic) -> None:
    clinic.world.contents.flush_index()
    shadow = clinic.root / "index.db"
    with closing(sqlite3.connect(shadow)) as db:
        db.execute("DROP TABLE content")
    report = await clinic.examine()
    assert [each["kind"] for each in report["findings"]] == ["cache-stale"]
    assert report["healthy"] is True
