"""A namespace of an older version is brought up to date in named steps; a newer one is refused."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from fusecache.errors import NamespaceError
from fusecache.namespace.database import SCHEMA_VERSION, Database
from fusecache.namespace.migrations import STEPS
from tests.unit.builders import Upper, check

VERSION_2 = """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE store (store INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE inode (
        ino INTEGER PRIMARY KEY, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
        nlink INTEGER NOT NULL, size INTEGER NOT NULL, atime_ns INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL, generation INTEGER NOT NULL, headed INTEGER NOT NULL, symlink BLOB,
        base_store INTEGER, base_key TEXT, base_etag TEXT, base_size INTEGER, blocks BLOB) STRICT;
    CREATE TABLE dentry (
        parent INTEGER NOT NULL, name BLOB NOT NULL, ino INTEGER, store INTEGER, key TEXT, etag TEXT,
        generation INTEGER, epoch INTEGER NOT NULL, settled INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (parent, name)) STRICT, WITHOUT ROWID;
    CREATE INDEX dentry_ino ON dentry (ino) WHERE ino IS NOT NULL;
    CREATE INDEX dentry_key ON dentry (store, key) WHERE key IS NOT NULL;
    CREATE TABLE directory (
        ino INTEGER PRIMARY KEY, store INTEGER NOT NULL, prefix TEXT, used INTEGER NOT NULL,
        marker INTEGER NOT NULL, vouched_ns INTEGER NOT NULL, epoch INTEGER NOT NULL) STRICT;
    CREATE INDEX directory_prefix ON directory (store, prefix) WHERE prefix IS NOT NULL;
    CREATE TABLE task (
        task INTEGER PRIMARY KEY, kind INTEGER NOT NULL, ino INTEGER, store INTEGER NOT NULL, key TEXT, source TEXT,
        etag TEXT, unsure INTEGER NOT NULL DEFAULT 0, position TEXT, generation INTEGER NOT NULL,
        seq INTEGER NOT NULL, since_seq INTEGER NOT NULL, due_ns INTEGER, since_ns INTEGER NOT NULL,
        staged INTEGER NOT NULL DEFAULT 0, stuck INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT, shield_parent INTEGER, shield_name BLOB, target_parent INTEGER, target_name BLOB) STRICT;
    CREATE UNIQUE INDEX task_ino ON task (ino, kind) WHERE ino IS NOT NULL;
    CREATE INDEX task_due ON task (due_ns) WHERE due_ns IS NOT NULL AND kind <> 5;
    CREATE INDEX task_delete_due ON task (due_ns) WHERE due_ns IS NOT NULL AND kind = 5;
    CREATE INDEX task_since ON task (since_seq);
    CREATE INDEX task_key ON task (store, key) WHERE key IS NOT NULL;
    CREATE INDEX task_source ON task (store, source) WHERE source IS NOT NULL;
    CREATE INDEX task_shield ON task (shield_parent, shield_name) WHERE shield_parent IS NOT NULL;
    CREATE INDEX task_target ON task (target_parent, target_name) WHERE kind = 3;
    INSERT INTO meta VALUES
        ('schema_version', 2), ('seq_reserved', 100), ('boot_id', 'boot'), ('id', '0123456789abcdef');
    INSERT INTO store VALUES (1, 's3://bucket/prefix');
    INSERT INTO inode VALUES
        (1, 16872, 1, 2, 1, 0, 5, 5, 5, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL),
        (7, 33188, 1, 2, 1, 42, 5, 5, 5, 1, 1, NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO directory VALUES (1, 1, '', 0, 0, 0, 0);
    INSERT INTO dentry VALUES (1, x'61', 7, NULL, NULL, NULL, NULL, 7, 0);
    INSERT INTO task (task, kind, ino, store, generation, seq, since_seq, due_ns, since_ns)
        VALUES (8, 1, 7, 1, 1, 9, 7, 6, 5);"""
"""A namespace as the first release made it, with one file that is not in the store yet."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "namespace.db"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_2)
    connection.close()
    return path


def schema_of(path: Path) -> dict[str, set[tuple[str, str, object]]]:
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {
        table: {(row[1], row[2], row[4]) for row in connection.execute(f"PRAGMA table_info({table})")}
        for table in tables
    }
    others = connection.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE type <> 'table'").fetchall()
    connection.close()
    return columns | {"": set(others)}


def test_an_old_namespace_is_the_same_as_a_new_one_then(old: Path, tmp_path: Path) -> None:
    Database(old, boot_id="boot").close()
    new = tmp_path / "new.db"
    Database(new, boot_id="boot").close()
    assert schema_of(old) == schema_of(new)


def test_what_was_in_it_is_worked_with(old: Path) -> None:
    upper = Upper(old)
    assert upper.inode("a").size == 42
    assert upper.todo() == ["upload 7"]
    upper.upload("a")
    upper.write("b")
    assert upper.todo() != []
    check(upper.ns)
    upper.close()


def test_subdirectories_are_counted(old: Path) -> None:
    connection = sqlite3.connect(old)
    for ino, parent, name, prefix in (
        (20, 1, b"d", None),
        (21, 20, b"1", None),
        (22, 20, b"2", None),
        (23, 1, b"e", "e/"),
    ):
        row = (ino, stat.S_IFDIR | 0o755, 1, 2, 1, 0, 5, 5, 5, 0, 1, *[None] * 6)
        connection.execute(f"INSERT INTO inode VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("INSERT INTO directory VALUES (?, 1, ?, 0, 0, 0, 0)", (ino, prefix))
        connection.execute("INSERT INTO dentry VALUES (?, ?, ?, NULL, NULL, NULL, NULL, 7, 0)", (parent, name, ino))
    connection.commit()
    connection.close()
    upper = Upper(old)
    assert [upper.inode(path).nlink for path in ("d", "d/1", "e")] == [4, 2, 1]
    upper.close()


def test_a_step_that_fails_leaves_the_old_version(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = schema_of(old)
    last = SCHEMA_VERSION - 1
    broken = type(STEPS[last])("one that fails", "CREATE TABLE made (x); CREATE TABLE meta (x);")
    with monkeypatch.context() as patched:
        patched.setitem(STEPS, last, broken)
        with pytest.raises(NamespaceError, match="cannot be opened"):
            Database(old, boot_id="boot")
    assert schema_of(old) == before
    Database(old, boot_id="boot").close()


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 1, None])
def test_what_no_step_leads_from_is_refused(old: Path, version: int | None) -> None:
    connection = sqlite3.connect(old)
    connection.execute("DELETE FROM meta WHERE name = 'schema_version'")
    if version is not None:
        connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (version,))
    connection.commit()
    connection.close()
    with pytest.raises(NamespaceError, match=f"schema {version}"):
        Database(old, boot_id="boot")
