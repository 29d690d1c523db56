"""Transactions are whole or nothing, and what the file says of itself is believed."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fusecache.errors import NamespaceError, NoSpace, NotFound, ReadOnly
from fusecache.namespace import database
from fusecache.namespace.database import SCHEMA_VERSION, Database
from tests.unit.builders import FILE, URL, Upper, check, rows_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "namespace.db"


@pytest.fixture
def upper(path: Path) -> Iterator[Upper]:
    upper = Upper(path)
    yield upper
    if upper.ns.database.degraded is None:
        check(upper.ns)
    upper.close()


def test_a_commit_is_there_after_the_process_died(upper: Upper) -> None:
    ino = upper.write("a")
    upper.crash()
    assert upper.ino("a") == ino


def test_an_exception_leaves_nothing_of_the_transaction(upper: Upper) -> None:
    upper.write("a")
    before = rows_of(upper)
    inode = upper.inode("a")
    tables = upper.ns.tables
    with suppress(ZeroDivisionError), upper.ns.database.transaction():
        tables.inodes.update(inode, size=4711)
        tables.dentries.delete(upper.place("a"))
        raise ZeroDivisionError
    assert rows_of(upper) == before
    assert upper.inode("a") == inode  # the cache of rows has forgotten, too


def test_a_directory_in_memory_is_forgotten_with_its_transaction(upper: Upper) -> None:
    ino = upper.mkdir("d")
    directories = upper.ns.tables.directories
    with suppress(ZeroDivisionError), upper.ns.database.transaction():
        directories.marked(ino, 1)
        assert directories.get(ino).marker == 1
        raise ZeroDivisionError
    assert directories.get(ino).marker == 0


def test_a_refused_operation_leaves_no_transaction_open(upper: Upper) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            upper.unlink("nothing")
    upper.write("a")


def test_numbers_grow_over_a_crash(upper: Upper) -> None:
    last = 0
    for _ in range(3):
        upper.write("a")
        upper.unlink("a")
        assert upper.ns.database.seq > last
        last = upper.ns.database.seq
        upper.crash()


def test_a_reservation_that_was_rolled_back_is_made_again(upper: Upper) -> None:
    """Else numbers above what the file knows of are given out, and given out again after a crash."""
    upper.crash()
    database = upper.ns.database
    with suppress(ZeroDivisionError), database.transaction():
        database.next_seq()
        raise ZeroDivisionError
    upper.write("a")
    last = database.seq
    upper.crash()
    with upper.ns.database.transaction():
        assert upper.ns.database.next_seq() > last


def test_inode_numbers_are_never_reused(upper: Upper) -> None:
    seen: set[int] = set()
    for round_no in range(20):
        for made in (upper.write("f"), upper.mkdir("d"), upper.foreign(f"g{round_no}")):
            assert made not in seen
            seen.add(made)
        upper.unlink("f")
        upper.rmdir("d")
        upper.unlink(f"g{round_no}")
        if round_no % 5 == 4:
            upper.crash()


def test_a_full_disk_changes_nothing_and_passes(upper: Upper) -> None:
    upper.mkdir("d")
    database = upper.ns.database.connection
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 3}")
    before: list[dict[str, list[tuple[object, ...]]]] = []

    def fill() -> None:
        for number in range(1000):
            before.append(rows_of(upper))
            upper.create(f"d/{number:0200}")

    with pytest.raises(NoSpace):
        fill()
    assert rows_of(upper) == before[-1]
    assert upper.ns.database.degraded is None
    check(upper.ns)
    database.execute("PRAGMA max_page_count = 1000000")
    upper.write("d/after")


def test_damage_makes_the_volume_read_only(path: Path) -> None:
    upper = Upper(path)
    found = upper.ns.database.connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'dentry'").fetchone()
    upper.close()
    with path.open("r+b") as file:
        file.seek((found[0] - 1) * 1024)
        file.write(b"\xaa" * 1024)
    upper = Upper(path)
    with pytest.raises(NamespaceError, match="malformed"):
        upper.create("a")
    assert upper.ns.database.degraded == "database disk image is malformed"
    with pytest.raises(ReadOnly, match="malformed"):
        upper.create("b")
    upper.close()


def test_a_bug_in_a_statement_is_no_damage(upper: Upper) -> None:
    with pytest.raises(NamespaceError), upper.ns.database.transaction() as db:
        db.execute("INSERT INTO store VALUES (1, 'again')")
    assert upper.ns.database.degraded is None


def test_another_store_is_refused(upper: Upper) -> None:
    with pytest.raises(NamespaceError, match=f"belongs to {URL}"):
        upper.ns.database.bind_store("s3://another")
    assert upper.ns.database.bind_store(URL) == upper.ns.store


def test_a_newer_schema_is_refused(upper: Upper, path: Path) -> None:
    connection = upper.ns.database.connection
    connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (SCHEMA_VERSION + 1,))
    with pytest.raises(NamespaceError, match=f"schema {SCHEMA_VERSION + 1}"):
        Database(path, boot_id="boot")


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(NamespaceError, match="cannot be opened"):
        Database(path, boot_id="boot")


def test_a_database_of_somebody_else_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE meta (name TEXT, value ANY)")
    other.commit()
    other.close()
    with pytest.raises(NamespaceError, match="schema None"):
        Database(path, boot_id="boot")


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NamespaceError, match="cannot be opened"):
        Database(tmp_path / "missing" / "namespace.db", boot_id="boot")


def test_a_journal_that_cannot_be_synced_makes_the_volume_read_only(
    upper: Upper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sync would succeed, without the pages that this one lost."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    upper.write("a")
    database = upper.ns.database
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        with pytest.raises(NamespaceError, match="could not be synced"):
            database.sync()
    with pytest.raises(NamespaceError, match="could not be synced"):
        database.sync()
    assert database.synced_seq < database.seq
    with pytest.raises(ReadOnly, match="could not be synced"):
        upper.write("b")


def test_a_change_without_a_number_of_its_own_is_synced_too(upper: Upper) -> None:
    ino = upper.write("a")
    database = upper.ns.database
    database.sync()
    with database.transaction():
        upper.ns.tables.inodes.update(upper.inode("a"), mode=0o100600)
    assert database.synced_seq < database.seq
    upper.crash()
    assert upper.ns.tables.inodes.get(ino).mode == 0o100600


def test_sync_reports_what_it_covers(upper: Upper) -> None:
    database = upper.ns.database
    upper.write("a")
    assert database.synced_seq < database.seq
    database.sync()
    assert database.synced_seq == database.seq


@pytest.mark.slow
def test_the_wal_is_moved_into_the_database_while_it_is_used(upper: Upper, path: Path) -> None:
    wal = path.with_name(path.name + "-wal")
    for number in range(35):
        upper.ns.tree.create(upper.place(str(number)), FILE, now_ns=1, symlink=bytes(1 << 20))
    upper.ns.database.checkpoint()
    size = wal.stat().st_size
    upper.write("after")  # the WAL begins anew, in the blocks that it has
    assert wal.stat().st_size == size
    upper.ns.database.checkpoint()  # nothing to do
    assert upper.state("0") == "live"


def test_the_wal_begins_anew_though_there_is_always_something_to_commit(
    upper: Upper, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 10_000)
    wal = path.with_name(path.name + "-wal")

    def header_after(name: str) -> bytes:
        upper.write(name)
        return wal.read_bytes()[:32]

    before = [header_after(str(number)) for number in range(10)][-1]
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM inode").fetchall()
        upper.write("meanwhile")
        upper.ns.database.checkpoint()  # moves no more than what was there when it began: here, what the reader sees
    assert header_after("later") == before
    upper.ns.database.end_checkpoint()
    assert header_after("at last") != before
