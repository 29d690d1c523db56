"""On a full disk the namespace can still commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.errors import NoSpace
from fusecache.namespace import database
from fusecache.namespace.database import Database

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can mount a small disk")
MIB = 1 << 20
INDEX_BYTES = 32 << 10
"""Of 4,062 frames."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # a test that failed has files open on it


def fill(disk: Path) -> None:
    with (disk / "contents").open("wb", buffering=0) as file:
        while file.write(bytes(64 << 10)) == 64 << 10:
            pass  # the last one is cut short, and no further byte fits
        with pytest.raises(OSError, match="No space left"):
            file.write(bytes(4096))


def commits(namespace: Database, count: int) -> None:
    for number in range(count):
        with namespace.transaction() as db:
            db.execute("INSERT INTO doomed VALUES (?, ?)", (number, namespace.next_seq()))
            db.execute("INSERT INTO aside VALUES (?, ?, 0)", (namespace.next_seq(), os.urandom(900)))


def changes(namespace: Database, count: int) -> None:
    """Commits that make the journal longer, and the database hardly."""
    for _ in range(count):
        with namespace.transaction() as db:
            db.execute("INSERT OR REPLACE INTO aside VALUES (0, ?, 0)", (os.urandom(900),))


@pytest.mark.slow
def test_commits_go_on_when_contents_have_filled_the_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", MIB)
    namespace = Database(disk / "namespace.db", boot_id="boot", ballast_bytes=8 * MIB)
    fill(disk)
    for _ in range(3):  # the journal is moved into the database, too
        commits(namespace, 500)
        namespace.sync()
        namespace.checkpoint()
    assert namespace.degraded is None
    namespace.close()


@pytest.mark.slow
def test_a_journal_that_has_used_up_its_reserve_begins_anew(disk: Path) -> None:
    """However short it is: else nothing could be removed, and nothing recorded as sent."""
    namespace = Database(disk / "namespace.db", boot_id="boot", ballast_bytes=4 * MIB)
    fill(disk)
    with pytest.raises(NoSpace):
        changes(namespace, 20_000)
    namespace.checkpoint()
    namespace.end_checkpoint()
    changes(namespace, 500)
    assert namespace.degraded is None
    namespace.close()


@pytest.mark.slow
def test_they_go_on_in_a_journal_that_was_short_and_after_a_kill(disk: Path) -> None:
    """The index of the journal, in a file of its own, grows with it; and is made anew by who opens it after a kill."""
    child = os.fork()
    if not child:
        namespace = Database(disk / "namespace.db", boot_id="boot", ballast_bytes=8 * MIB)
        fill(disk)
        try:
            commits(namespace, 1500)
        finally:
            os._exit(0 if (disk / "namespace.db-shm").stat().st_size > INDEX_BYTES else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    namespace = Database(disk / "namespace.db", boot_id="boot", ballast_bytes=8 * MIB)
    assert namespace.connection.execute("SELECT count(*) FROM aside").fetchone() == (1500,)
    with namespace.transaction() as db:
        db.execute("DELETE FROM aside")
    namespace.close()


def test_without_a_reserve_they_do_not(disk: Path) -> None:
    namespace = Database(disk / "namespace.db", boot_id="boot")
    fill(disk)
    with pytest.raises(NoSpace):
        commits(namespace, 500)
    assert namespace.degraded is None
    namespace.close()
