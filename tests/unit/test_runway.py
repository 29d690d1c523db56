"""The journal's blocks are written before they are needed, and what is laid out takes nothing away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusecache.namespace import database
from fusecache.namespace.database import Database
from fusecache.namespace.runway import Runway

KIB = 1 << 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "namespace.db"


def commit(namespace: Database, count: int) -> None:
    for number in range(count):
        with namespace.transaction() as db:
            db.execute("INSERT INTO aside VALUES (?, ?, 0)", (namespace.next_seq(), number.to_bytes(900)))


def rows(namespace: Database) -> list[int]:
    found = namespace.connection.execute("SELECT path FROM aside ORDER BY ino")
    return [int.from_bytes(row[0]) for row in found]


def test_only_what_was_used_up_is_laid_out_again(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "wal", os.O_RDWR | os.O_CREAT)
    runway = Runway(fd, step_bytes=100)
    assert [runway.extend(), runway.extend()] == [False, False]
    os.pwrite(fd, b"x" * 10, 0)
    assert [runway.extend(), runway.extend()] == [True, False]
    os.pwrite(fd, b"y" * 100, 10)
    assert runway.extend() is False
    os.pwrite(fd, b"y", 110)
    assert runway.extend() is True
    assert os.pread(fd, 1000, 0) == b"x" * 10 + b"y" * 101 + bytes(100)
    os.ftruncate(fd, 50)  # as SQLite does it when it begins anew
    assert runway.extend() is True
    assert os.fstat(fd).st_size == 150
    os.close(fd)


def test_a_sync_does_not_wait_for_a_file_that_grows(path: Path) -> None:
    """After the first time around, the size is what it was."""
    namespace = Database(path, boot_id="boot", ballast_bytes=64 * KIB)
    wal = path.with_name("namespace.db-wal")
    sizes = set()
    for _ in range(20):
        commit(namespace, 1)
        sizes.add(wal.stat().st_size)
        namespace.before_sync()
        namespace.sync()
    assert len(sizes) <= 2
    namespace.close()


def test_the_journal_keeps_its_blocks_when_it_begins_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 256 * KIB)
    namespace = Database(path, boot_id="boot", ballast_bytes=64 * KIB)
    wal = path.with_name("namespace.db-wal")

    def round_trip() -> int:
        begun = wal.read_bytes()[:32]
        while wal.read_bytes()[:32] == begun:
            commit(namespace, 20)
            namespace.before_sync()
            namespace.sync()
            namespace.checkpoint()
        return wal.stat().st_size

    assert round_trip() == round_trip() > 256 * KIB
    namespace.close()


@pytest.mark.parametrize("count", [0, 1, 60, 200])
def test_after_a_crash_every_commit_is_there(path: Path, tmp_path: Path, count: int) -> None:
    """Zeros behind the last frame are read as its end."""
    namespace = Database(path, boot_id="boot", ballast_bytes=64 * KIB)
    for _ in range(2):
        commit(namespace, count // 2)
        namespace.before_sync()
    after = tmp_path / "after"
    after.mkdir()
    for file in tmp_path.glob("namespace.db*"):
        if not file.name.endswith("-shm"):
            (after / file.name).write_bytes(file.read_bytes())
    found = Database(after / "namespace.db", boot_id="boot", ballast_bytes=64 * KIB)
    assert rows(found) == [*range(count // 2)] * 2
    commit(found, 1)
    assert len(rows(found)) == count // 2 * 2 + 1
    found.close()
    namespace.close()
