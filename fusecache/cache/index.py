"""What is known of the clean contents, kept over a restart: may be lost at any time.

Losing it costs fetches, never bytes: what it does not vouch for is fetched again. Hence no fsync,
and a database of its own, apart from the namespace that must not be lost.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusecache.cache.pieces import pieces_of
from fusecache.cache.presence import Presence
from fusecache.types import ETag, InodeNo, LowerId, ObjectKey, StoreNo

log = logging.getLogger(__name__)

_VERSION = 3
"""Of the tables below. A newer version is begun anew."""

# content: one row a clean content of which something is here.
#   store, object_key, etag  the version whose bytes these are; another version makes the row void
#   size, block_size         of the file; another block size makes the row void
#   bitmap                   the blocks that are here, lowest bit first; NULL = all
#   hashes                   8 bytes a block in machine order, xxh3_64, 0 = unknown; may be short
#   pieces                   the pages that are here of other blocks, as `Pieces.packed` has them
#   boot_id                  the boot in which these blocks were written or verified
#   kept, place, bytes       the line it is in (0 new, 1 kept: see `eviction`), where in it, and what it takes
# counter: `used_bytes`, the disk space of all contents, dirty ones included; `line0` and `line1`, of those in a line,
#   by triggers; and what `note` was told.
_SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS content (
        ino INTEGER PRIMARY KEY, store INTEGER NOT NULL, object_key TEXT NOT NULL, etag TEXT NOT NULL,
        size INTEGER NOT NULL, block_size INTEGER NOT NULL, bitmap BLOB, hashes BLOB NOT NULL, boot_id TEXT NOT NULL,
        kept INTEGER NOT NULL DEFAULT 0, place INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
        pieces BLOB NOT NULL DEFAULT x'');
    CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS content_line ON content (kept, place);
    INSERT OR IGNORE INTO counter SELECT 'line' || column1, (SELECT total(bytes) FROM content WHERE kept = column1)
        FROM (VALUES (0), (1)) WHERE NOT EXISTS (SELECT 1 FROM counter WHERE name = 'line' || column1);
    CREATE TRIGGER IF NOT EXISTS content_in AFTER INSERT ON content BEGIN
        UPDATE counter SET value = value + NEW.bytes WHERE name = 'line' || NEW.kept; END;
    CREATE TRIGGER IF NOT EXISTS content_out AFTER DELETE ON content BEGIN
        UPDATE counter SET value = value - OLD.bytes WHERE name = 'line' || OLD.kept; END;
    CREATE TRIGGER IF NOT EXISTS content_moved AFTER UPDATE OF kept, bytes ON content BEGIN
        UPDATE counter SET value = value - OLD.bytes WHERE name = 'line' || OLD.kept;
        UPDATE counter SET value = value + NEW.bytes WHERE name = 'line' || NEW.kept; END;
    PRAGMA user_version = {_VERSION};"""
# Version 1 had no lines, version 2 no pieces; nothing of them is fetched again.
_FROM_1 = """
    ALTER TABLE content ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE content ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE content ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE content SET bytes = size WHERE bitmap IS NULL;"""
_FROM_2 = "ALTER TABLE content ADD COLUMN pieces BLOB NOT NULL DEFAULT x'';"
_GET = "SELECT store, object_key, etag, size, block_size, bitmap, hashes, boot_id, pieces FROM content WHERE ino = ?"
_PUT = """
    INSERT INTO content VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (ino) DO UPDATE SET store = excluded.store, object_key = excluded.object_key, etag = excluded.etag,
        size = excluded.size, block_size = excluded.block_size, bitmap = excluded.bitmap, hashes = excluded.hashes,
        boot_id = excluded.boot_id, bytes = excluded.bytes, pieces = excluded.pieces"""
_DELETE = "DELETE FROM content WHERE ino = ?"
_EMPTY = "UPDATE content SET bitmap = x'', hashes = x'', pieces = x'', bytes = 0 WHERE ino = ?"
_OLDEST = "SELECT ino, bytes FROM content WHERE kept = ? AND place < ? ORDER BY place, ino LIMIT ?"
_LAST = "SELECT max(place) FROM content WHERE kept = ?"
_MOVE = "UPDATE content SET kept = ?, place = ? WHERE ino = ?"
_LINE_BYTES = "SELECT value FROM counter WHERE name = 'line' || ?"
_AFTER = "SELECT ino FROM content WHERE ino > ? ORDER BY ino LIMIT ?"
_GET_USED = "SELECT value FROM counter WHERE name = 'used_bytes'"
_GET_COUNTER = "SELECT value FROM counter WHERE name = ?"
_PUT_COUNTER = "INSERT OR REPLACE INTO counter VALUES (?, ?)"


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
    pieces: bytes = b""

    @property
    def bytes(self) -> int:
        """What its blocks take, about."""
        if self.bitmap is None:
            return self.size
        blocks = int.from_bytes(self.bitmap, "little").bit_count() * self.block_size
        return min(self.size, blocks + pieces_of(self.block_size, self.pieces).size_bytes)


def row_of(label: LowerId, size: int, block_size: int, presence: Presence, boot_id: str) -> IndexRow | None:
    """Return the row of a clean content; None if nothing of it is here."""
    if not presence.size and not presence.doubts and not presence.pieces:
        return None
    boot_id = "" if presence.doubts else boot_id  # what was not verified yet is not vouched for
    pieces = presence.pieces.packed()
    return IndexRow(label, size, block_size, presence.bits_on_disk(), presence.hashes(), boot_id, pieces)


class ContentIndex:
    """Rows by inode number. A put is kept in memory until `flush`; a forgotten row is gone at once.

    Belongs to the thread that made it. A damaged database is moved aside and begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[InodeNo, IndexRow | None] = {}
        self._to_keep: set[InodeNo] = set()
        """Those of them that come to the kept line if they are new here."""
        self._passed: set[InodeNo] = set()
        """Those of them that had their turn."""
        self._noted: dict[str, int] = {}
        try:
            self._db = _opened(path)
        except sqlite3.DatabaseError as exc:
            self._db = self._anew(exc)
        self._place = 1 + max(int((self._asked(_LAST, kept) or (0,))[0] or 0) for kept in (0, 1))

    def __repr__(self) -> str:
        return f"<ContentIndex {self._path}: {len(self._pending)} unwritten>"

    def get(self, ino: InodeNo) -> IndexRow | None:
        """Return the row of `ino`, written yet or not."""
        if ino in self._pending:
            return self._pending[ino]
        found = self._asked(_GET, ino)
        if found is None:
            return None
        store, key, etag, *facts = found
        label = LowerId(StoreNo(store), ObjectKey(key), ETag(etag))
        return IndexRow(label, *facts)

    def after(self, ino: InodeNo, *, count: int) -> list[InodeNo]:
        """Return the numbers of the first `count` rows above `ino`, written yet or not; some may be forgotten."""
        try:
            written = [row[0] for row in self._db.execute(_AFTER, (ino, count))]
        except sqlite3.DatabaseError as exc:
            self._begin_anew(exc)
            written = []
        unwritten = [each for each, row in self._pending.items() if row is not None and each > ino]
        return sorted({*written, *unwritten})[:count] if unwritten else written

    def put(self, ino: InodeNo, row: IndexRow, *, kept: bool = False) -> None:
        """Replace the row at the next `flush`; a new one comes to the end of the new line, or of the `kept` one."""
        self._pending[ino] = row
        if kept:
            self._to_keep.add(ino)

    def discard(self, ino: InodeNo) -> None:
        """Delete the row at the next `flush`: of a removed content, whose number is not used again."""
        self._pending[ino] = None

    def forget(self, ino: InodeNo) -> None:
        """Delete the row now, so that a crash cannot bring it back: the bytes are about to differ from its label."""
        self._pending.pop(ino, None)
        self._asked(_DELETE, ino)

    def drop(self, ino: InodeNo) -> None:
        """Delete the row of a content whose file is about to go; on a full disk, at the next `flush`."""
        self._pending[ino] = None
        try:
            self._db.execute(_DELETE, (ino,))
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_FULL:
                self._begin_anew(exc)
        else:
            del self._pending[ino]

    def empty(self, ino: InodeNo) -> None:
        """Have the row vouch for no block, now: some are about to go. It keeps its place."""
        self._pending.pop(ino, None)
        self._asked(_EMPTY, ino)

    def oldest(self, *, kept: bool, count: int, before: int) -> list[tuple[InodeNo, int]]:
        """As `eviction.Line`; those that a full disk kept from being written are new, and the last ones."""
        try:
            rows = self._db.execute(_OLDEST, (kept, before, count)).fetchall()
        except sqlite3.DatabaseError as exc:
            self._begin_anew(exc)
            rows = []
        found = [(ino, size) for ino, size in rows if self._pending.get(ino, self) is not None]
        if found or kept:
            return found
        unwritten = ((ino, row) for ino, row in self._pending.items() if row is not None and ino not in self._passed)
        return [(ino, row.bytes) for ino, row in itertools.islice(unwritten, count)]

    def next_place(self) -> int:
        return self._place

    def line_bytes(self, *, kept: bool) -> int:
        found = self._asked(_LINE_BYTES, kept)
        return 0 if found is None else int(found[0])

    def move(self, numbers: Iterable[InodeNo], *, kept: bool) -> None:
        """As `eviction.Line`. On a full disk they stay where they are."""
        numbers = list(numbers)
        self._passed.update(self._pending.keys() & numbers)
        moves = [(kept, self._place + nth, ino) for nth, ino in enumerate(numbers)]
        self._place += len(moves)
        try:
            with self._db:
                self._db.execute("BEGIN")
                self._db.executemany(_MOVE, moves)
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_FULL:
                self._begin_anew(exc)

    def used_bytes(self) -> int | None:
        """Return the count that the last `flush` left; None in a new database."""
        found = self._asked(_GET_USED)
        return None if found is None else int(found[0])

    def noted(self, name: str) -> int:
        """Return what was noted under this name; 0: nothing, ever."""
        if name not in self._noted:
            found = self._asked(_GET_COUNTER, name)
            self._noted[name] = 0 if found is None else int(found[0])
        return self._noted[name]

    def note(self, name: str, value: int) -> None:
        """Remember a number, over a restart from the next `flush` on."""
        self._noted[name] = value

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
        self._to_keep.clear()
        self._passed.clear()

    def close(self) -> None:
        """Close the database; what was not flushed is forgotten."""
        self._db.close()

    def _write(self, used_bytes: int) -> None:
        rows = [(ino, row) for ino, row in self._pending.items() if row is not None]
        puts = [
            (*_values(ino, row), ino in self._to_keep, self._place + nth, row.bytes, row.pieces)
            for nth, (ino, row) in enumerate(rows)
        ]
        self._place += len(puts)
        deletes = [(ino,) for ino, row in self._pending.items() if row is None]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(_PUT, puts)
            self._db.executemany(_DELETE, deletes)
            self._db.executemany(_PUT_COUNTER, [("used_bytes", used_bytes), *self._noted.items()])

    def _asked(self, statement: str, *values: int | str) -> tuple[Any, ...] | None:
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
        if version == 1:
            db.executescript(f"BEGIN; {_FROM_1} {_FROM_2} COMMIT")
        elif version == 2:
            db.executescript(_FROM_2)
        elif version not in (0, _VERSION):
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
