"""The SQLite connection of a namespace: transactions, the order of acknowledgements, durability.

WAL with synchronous=NORMAL: a commit reaches the WAL file's page cache (it survives the death of
the process, not of the machine) and costs about 16 µs, less than a thread hop; so commits
run on the loop. The WAL is synced, and checkpointed, in threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from fusecache.errors import NamespaceError, NoSpace, ReadOnly
from fusecache.types import Seq, StoreNo

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
_SEQ_CHUNK = 100_000
"""How many seqs one commit reserves: after a crash they are skipped, never given out again."""
_CHECKPOINT_BYTES = 32 << 20
"""The first commit after a checkpoint syncs the header of the WAL, on the loop: not too often."""
_PRAGMAS = (
    # A commit writes whole pages, and most are touched for one short row: with 4 KiB a create wrote
    # 70 KiB to the WAL and took twice as long.
    "page_size = 1024",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "wal_autocheckpoint = 0",
    f"journal_size_limit = {_CHECKPOINT_BYTES // 2}",  # the WAL shrinks when it begins anew
    "cache_size = -16384",
)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class Database:
    """One connection, used on the loop only; `sync` and `checkpoint` are for worker threads."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        """Open or create the database at `path`.

        Raises:
            NamespaceError: damaged, or made by a newer version.
        """
        self._path = path
        self.degraded: str | None = None
        """Why the volume is read-only, or None."""
        self.id = ""
        """Names this namespace for ever, among all others: objects in the store are signed with it."""
        self.seq = Seq(0)
        """The latest acknowledgement."""
        self._seq_reserved = 0
        self.synced_seq = Seq(0)
        """Every change up to here survives a power loss."""
        self._on_rollback: list[Callable[[], None]] = []
        self.connection = self._connect()
        try:
            self._prepare(boot_id)
            # Its own descriptor: closing one of the database file would drop SQLite's POSIX locks.
            self._wal_fd = os.open(f"{path}-wal", os.O_RDONLY)
        except sqlite3.DatabaseError as exc:
            self.connection.close()
            raise NamespaceError(f"the namespace {path} cannot be opened: {exc}") from exc
        except BaseException:
            self.connection.close()
            raise
        self.synced_seq = self.seq

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Register what drops a cache of rows: after a rollback it may be wrong."""
        self._on_rollback.append(forget)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block does, or nothing of it.

        Raises:
            ReadOnly: the volume is degraded. NoSpace: the disk is full; nothing changed.
        """
        if self.degraded is not None:
            raise ReadOnly(f"the namespace is read-only: {self.degraded}")
        execute = self.connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            yield self.connection
            execute("COMMIT")
        except BaseException as exc:
            self._roll_back()
            if isinstance(exc, sqlite3.DatabaseError):
                raise self._foreign(exc) from exc
            raise

    def next_seq(self) -> Seq:
        """Return a number above all that were ever given out; call within a transaction.

        Acknowledgements, inodes and tasks are numbered by it: a number names one of them for ever.
        """
        if self.seq >= self._seq_reserved:
            self._seq_reserved = self.seq + _SEQ_CHUNK
            self.connection.execute("UPDATE meta SET value = ? WHERE name = 'seq_reserved'", (self._seq_reserved,))
        self.seq = Seq(self.seq + 1)
        return self.seq

    def bind_store(self, url: str) -> StoreNo:
        """Return the number of the store at `url`.

        Raises:
            NamespaceError: this namespace belongs to another store; it would be drained into the wrong one.
        """
        row = self.connection.execute("SELECT store, url FROM store").fetchone()
        if row is None:
            with self.transaction() as db:
                db.execute("INSERT INTO store (store, url) VALUES (1, ?)", (url,))
            return StoreNo(1)
        if row[1] != url:
            raise NamespaceError(f"{self._path.parent} belongs to {row[1]}; give {url} a --cache-dir of its own")
        return StoreNo(row[0])

    def sync(self) -> None:
        """Make every commit so far survive a power loss. Blocks: call it in a thread."""
        seq = self.seq
        os.fdatasync(self._wal_fd)
        self.synced_seq = max(seq, self.synced_seq)

    def checkpoint(self) -> None:
        """Move the WAL into the database if it has grown. Blocks: call it in a thread."""
        if os.fstat(self._wal_fd).st_size < _CHECKPOINT_BYTES:
            return
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            other.execute("PRAGMA synchronous = NORMAL")
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        os.close(self._wal_fd)
        self.connection.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(self._path, isolation_level=None, cached_statements=512, check_same_thread=False)
        except sqlite3.Error as exc:
            raise NamespaceError(f"the namespace {self._path} cannot be opened: {exc}") from exc

    def _prepare(self, boot_id: str) -> None:
        db = self.connection
        for pragma in _PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            schema = Path(__file__).with_name("schema.sql").read_text()
            db.executescript(f"BEGIN;\n{schema}")
            rows = [("schema_version", SCHEMA_VERSION), ("seq_reserved", 0), ("boot_id", boot_id)]
            rows.append(("id", secrets.token_hex(8)))
            db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            db.execute("COMMIT")
        meta = dict(db.execute("SELECT name, value FROM meta"))
        if meta.get("schema_version") != SCHEMA_VERSION:
            found = f"schema {meta.get('schema_version')}, this fusecache knows {SCHEMA_VERSION}"
            raise NamespaceError(f"the namespace {self._path} has {found}")
        self.id = meta["id"]
        self.seq = Seq(meta["seq_reserved"])
        self._seq_reserved = meta["seq_reserved"]

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # a failed COMMIT has rolled back already
            self.connection.execute("ROLLBACK")
        self._seq_reserved = self.seq  # the reservation may have been rolled back as well
        for forget in self._on_rollback:
            forget()

    def _foreign(self, exc: sqlite3.DatabaseError) -> Exception:
        code = getattr(exc, "sqlite_errorcode", 0)
        if code in _FULL:
            return NoSpace("the disk of the namespace is full")
        is_damage = code & 0xFF != sqlite3.SQLITE_BUSY
        if is_damage and not isinstance(exc, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            self.degraded = str(exc)
            log.error("the namespace %s failed and is read-only from now on: %s", self._path, exc)
        return NamespaceError(f"the namespace failed: {exc}")
