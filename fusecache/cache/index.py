"""What is known of the clean contents, kept over a restart: may be lost at any time.

Losing it costs fetches, never bytes: what it does not vouch for is fetched again. Hence no fsync,
and a database of its own, apart from the namespace that must not be lost.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusecache.cache.presence import Presence
from fusecache.types import ETag, InodeNo, LowerId, ObjectKey, StoreNo

log = logging.getLogger(__name__)

_VERSION = 1
"""Of the tables below. Another version is begun anew: nothing here is worth a migration."""

# content: one row a clean content of which something is here.
#   store, object_key, etag  the version whose bytes these are; another version makes the row void
#   size, block_size         of the file; another block size makes the row void
#   bitmap                   the blocks that are here, lowest bit first; NULL = all
#   hashes                   8 bytes a block in machine order, xxh3_64, 0 = unknown; may be short
#   boot_id                  the boot in which these blocks were written or verified
# counter: `used_bytes`, the disk space of all contents, dirty ones included.
_SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS content (
        ino INTEGER PRIMARY KEY, store INTEGER NOT NULL, object_key TEXT NOT NULL, etag TEXT NOT NULL,
        size INTEGER NOT NULL, block_size INTEGER NOT NULL, bitmap BLOB, hashes BLOB NOT NULL, boot_id TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    PRAGMA user_version = {_VERSION};"""
_GET = "SELECT store, object_key, etag, size, block_size, bitmap, hashes, boot_id FROM content WHERE ino = ?"
_PUT = "INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM content WHERE ino = ?"
_AFTER = "SELECT ino FROM content WHERE ino > ? ORDER BY ino LIMIT ?"
_GET_USED = "SELECT value FROM counter WHERE name = 'used_bytes'"
_PUT_USED = "INSERT OR REPLACE INTO counter VALUES ('used_bytes', ?)"


@dataclass(frozen=True, slots=True)
class IndexRow:
    """The blocks of one clean content."""

    label: LowerId
    size: int
    block_size: int
    bitmap: bytes | None
    """None: all of them."""
    hashes: bytes
    boot_id: str


def row_of(label: LowerId, size: int, block_size: int, presence: Presence, boot_id: str) -> IndexRow | None:
    """Return the row of a clean content; None if nothing of it is here."""
    if not presence.size and not presence.doubts:
        return None
    boot_id = "" if presence.doubts else boot_id  # what was not verified yet is not vouched for
    return IndexRow(label, size, block_size, presence.bits_on_disk(), presence.hashes(), boot_id)


class ContentIndex:
    """Rows by inode number. A put is kept in memory until `flush`; a forgotten row is gone at once.

    Belongs to the thread that made it. A damaged database is moved aside and begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[InodeNo, IndexRow | None] = {}
        try:
            self._db = _opened(path)
        except sqlite3.DatabaseError as exc:
            self._db = self._anew(exc)

    def __repr__(self) -> str:
        return f"<ContentIndex {self._path}: {len(self._pending)} unwritten>"

    def get(self, ino: InodeNo) -> IndexRow | None:
        """Return the row of `ino`, written yet or not."""
        if ino in self._pending:
            return self._pending[ino]
        found = self._asked(_GET, ino)
        if found is None:
            return None
        store, key, etag, size, block_size, bitmap, hashes, boot_id = found
        label = LowerId(StoreNo(store), ObjectKey(key), ETag(etag))
        return IndexRow(label, size, block_size, bitmap, hashes, boot_id)

    def after(self, ino: InodeNo, *, count: int) -> list[InodeNo]:
        """Return the numbers of the first `count` rows above `ino`, written yet or not; some may be forgotten."""
        try:
            written = [row[0] for row in self._db.execute(_AFTER, (ino, count))]
        except sqlite3.DatabaseError as exc:
            self._begin_anew(exc)
            written = []
        unwritten = [each for each, row in self._pending.items() if row is not None and each > ino]
        return sorted({*written, *unwritten})[:count] if unwritten else written

    def put(self, ino: InodeNo, row: IndexRow) -> None:
        """Replace the row at the next `flush`."""
        self._pending[ino] = row

    def discard(self, ino: InodeNo) -> None:
        """Delete the row at the next `flush`: of a removed content, whose number is not used again."""
        self._pending[ino] = None

    def forget(self, ino: InodeNo) -> None:
        """Delete the row now, so that a crash cannot bring it back: the bytes are about to differ from its label."""
        self._pending.pop(ino, None)
        self._asked(_DELETE, ino)

    def used_bytes(self) -> int | None:
        """Return the count that the last `flush` left; None in a new database."""
        found = self._asked(_GET_USED)
        return None if found is None else int(found[0])

    def flush(self, *, used_bytes: int) -> None:
        """Write what changed, in one transaction; it then survives the process, not the power.

        On a full disk it stays in memory until a later flush finds room.
        """
        try:
            self._write(used_bytes)
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_FULL:
                log.warning("%s: no room, kept in memory for now", self._path)
                return
            self._begin_anew(exc)
        self._pending.clear()

    def close(self) -> None:
        """Close the database; what was not flushed is forgotten."""
        self._db.close()

    def _write(self, used_bytes: int) -> None:
        puts = [_values(ino, row) for ino, row in self._pending.items() if row is not None]
        deletes = [(ino,) for ino, row in self._pending.items() if row is None]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(_PUT, puts)
            self._db.executemany(_DELETE, deletes)
            self._db.execute(_PUT_USED, (used_bytes,))

    def _asked(self, statement: str, *values: int) -> tuple[Any, ...] | None:
        """Run one statement; in a database that turns out to be damaged there is nothing to find."""
        try:
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
        except sqlite3.DatabaseError as exc:
            self._begin_anew(exc)
            return None
        return row

    def _begin_anew(self, reason: Exception) -> None:
        """Go on with an empty index: all clean contents will be fetched again, none is shown wrong."""
        self._db.close()
        self._db = self._anew(reason)

    def _anew(self, reason: Exception) -> sqlite3.Connection:
        _moved_aside(self._path, reason)
        try:
            return _opened(self._path)
        except sqlite3.DatabaseError as exc:
            log.warning("%s: cannot be made (%s); the cache is not remembered over a restart", self._path, exc)
            return _opened(Path(":memory:"))


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")  # after a power loss boot_id differs and every block is verified
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            db.executescript("DROP TABLE IF EXISTS content; DROP TABLE IF EXISTS counter")
        db.executescript(_SCHEMA)
        db.execute(_GET_USED).fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _moved_aside(path: Path, reason: Exception) -> None:
    """Keep the last damaged database as `….bad` for whoever wonders; its -wal must not meet the new one."""
    log.warning("%s: begun anew, all clean contents will be fetched again: %s", path, reason)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if path.exists():
        path.replace(path.with_name(path.name + ".bad"))


def _values(ino: InodeNo, row: IndexRow) -> tuple[Any, ...]:
    return (ino, *row.label, row.size, row.block_size, row.bitmap, row.hashes, row.boot_id)
