"""Every rule among the rows, broken on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.doctor.findings import Finding, Kind
from fusecache.doctor.rows import NEVER, check_rows, check_stuck, is_sound
from fusecache.doctor.snapshot import Snapshot
from fusecache.errors import NamespaceError
from tests.unit.builders import URL, Upper

BREAKS = {
    "a live name without an inode": "DELETE FROM inode WHERE base_etag IS NOT NULL",
    "a name in what is no directory": "UPDATE dentry SET parent = 99999 WHERE name = CAST('clean' AS BLOB)",
    "a directory inode without its row": "DELETE FROM directory WHERE ino <> 1",
    "a directory row without its inode": "DELETE FROM inode WHERE mode & 61440 = 16384 AND ino <> 1",
    "a directory without exactly one name": "DELETE FROM dentry WHERE name = CAST('dir' AS BLOB)",
    "a file whose links are miscounted": "UPDATE inode SET nlink = 2 WHERE mode & 61440 = 32768",
    "a half identity of an object": "UPDATE dentry SET etag = NULL WHERE name = CAST('clean' AS BLOB)",
    "a whiteout with an object": "UPDATE dentry SET ino = NULL WHERE name = CAST('clean' AS BLOB)",
    "a settled live name": "UPDATE dentry SET settled = 1 WHERE name = CAST('clean' AS BLOB)",
    "a settled whiteout that shields": "UPDATE dentry SET settled = 1 WHERE ino IS NULL",
    "a half base": "UPDATE inode SET base_etag = NULL WHERE base_etag IS NOT NULL",
    "a task about nobody": "UPDATE task SET ino = 99999 WHERE kind = 1",
    "a task about nothing": "UPDATE task SET key = NULL WHERE kind = 5",
    "an upload or copy of what has no name": "UPDATE inode SET nlink = 0 WHERE mode & 61440 = 32768",
    "a marker of what is no directory": "UPDATE task SET ino = 99999 WHERE kind = 4",
    "a seq from the future": "UPDATE task SET seq = 1 << 60",
    "an epoch from the future": "UPDATE dentry SET epoch = 1 << 60",
    "bytes that are in no store and in no task": "DELETE FROM task WHERE kind = 1",
    "a whiteout for ever": "DELETE FROM task WHERE kind = 5",
}


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Upper]:
    """A clean file, a dirty one, one that was removed, and a directory."""
    upper = Upper(tmp_path / "namespace.db")
    upper.persist("clean")
    upper.write("dirty")
    upper.persist("gone")
    upper.unlink("gone")
    upper.mkdir("dir")
    yield upper
    upper.close()


def look(upper: Upper) -> list[Finding]:
    snapshot = Snapshot(upper.path)
    try:
        return [*check_rows(snapshot), *check_stuck(snapshot)]
    finally:
        snapshot.close()


def test_a_sound_namespace_has_nothing(busy: Upper) -> None:
    assert look(busy) == []
    assert BREAKS.keys() == NEVER.keys()


@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_found(busy: Upper, rule: str) -> None:
    busy.ns.database.connection.execute(BREAKS[rule])
    found = look(busy)
    assert rule in {finding.detail.partition(":")[0] or finding.where for finding in found}, found
    assert {finding.kind for finding in found} == {Kind.ROWS}


def test_what_is_stuck_is_told_by_its_path(busy: Upper) -> None:
    busy.ns.database.connection.execute("UPDATE task SET stuck = 1, error = 'no', attempts = 3 WHERE kind = 1")
    assert look(busy) == [Finding(Kind.STUCK, "/dirty", "no (3 attempts)")]


def test_another_version_is_said_and_not_opened(busy: Upper) -> None:
    busy.ns.database.connection.execute("UPDATE meta SET value = 99 WHERE name = 'schema_version'")
    assert [finding.kind for finding in look(busy)] == [Kind.VERSION]
    assert not is_sound(Snapshot(busy.path), URL)


def test_another_store_is_refused(busy: Upper) -> None:
    assert is_sound(Snapshot(busy.path), URL)
    with pytest.raises(NamespaceError, match="s3://other"):
        is_sound(Snapshot(busy.path), "s3://other")


def test_a_torn_database_is_told_not_raised(tmp_path: Path) -> None:
    (tmp_path / "torn.db").write_bytes(b"SQLite format 3\0" + bytes(3000))
    found = list(check_rows(Snapshot(tmp_path / "torn.db")))
    assert {finding.kind for finding in found} == {Kind.DATABASE}


def test_a_circle_of_directories_has_an_end(busy: Upper) -> None:
    ino = busy.ino("dir")
    busy.ns.database.connection.execute("UPDATE dentry SET parent = ? WHERE name = CAST('dir' AS BLOB)", (ino,))
    assert Snapshot(busy.path).path_of(ino).startswith("/dir/dir")
