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
import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from fusecache.errors import FusecacheError, NamespaceError, NoSpace, ReadOnly
from fusecache.namespace import migrations
from fusecache.namespace.ballast import Ballast
from fusecache.namespace.guarded import GuardedConnection
from fusecache.namespace.migrations import SCHEMA_VERSION as SCHEMA_VERSION
from fusecache.namespace.runway import Runway
from fusecache.types import Seq, StoreNo

log = logging.getLogger(__name__)

_SEQ_CHUNK = 100_000
"""How many seqs one commit reserves: after a crash they are skipped, never given out again."""
_CHECKPOINT_BYTES = 32 << 20
"""The first commit after a checkpoint syncs the header of the WAL, on the loop: not too often."""
_RUNWAY_BYTES = 2 << 20
"""Zeros laid out at a time: half a millisecond on the loop, once in 200 commits until the WAL is full grown."""
_WAL_INDEX = struct.Struct("=16xI76xI")
"""mxFrame and nBackfill: the frames in the WAL, and how many the database has (sqlite.org/walformat.html, 2.3.1)."""
_FRAME_BYTES = 1024 + 24
_INDEX_SHARE = 64
"""The index has 8 bytes a frame, in pieces of 32 KiB: with twice that, also a reserve half used up is enough."""
_PRAGMAS = (
    # A commit writes whole pages, and most are touched for one short row: with 4 KiB a create wrote
    # 70 KiB to the WAL and took twice as long.
    "page_size = 1024",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "wal_autocheckpoint = 0",
    f"journal_size_limit = {_CHECKPOINT_BYTES * 2}",  # what it has is written over: a sync of new blocks takes longer
    "cache_size = -16384",
)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class Transaction:
    """A block that is committed whole, or not at all: a class, as every acknowledgement passes it."""

    __slots__ = ("_before", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._before = Seq(0)

    def __enter__(self) -> sqlite3.Connection:
        self._before = self._database.begin()
        return self._database.connection

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        if exc is None:
            self._database.commit(self._before)
        else:
            self._database.roll_back()


class Database:
    """One connection, used on the loop only; `sync` and `checkpoint` are for worker threads."""

    def __init__(self, path: Path, *, boot_id: str, ballast_bytes: int = 0) -> None:
        """Open or create the database at `path`; it and its journal each keep `ballast_bytes` of the disk in reserve.

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
        self._refused: OSError | None = None
        """Why a sync failed. The next one would succeed, without the pages that this one lost: there is none."""
        self._has_grown = False
        """The journal, since the reserve behind its end was taken."""
        self._is_full = False
        """The disk, when a commit was refused last: the journal is to begin anew, however short."""
        self._on_rollback: list[Callable[[], None]] = []
        self._transaction = Transaction(self)
        self.boot_id = ""
        """Of the boot in which the namespace was last made whole (`made_whole`)."""
        self.connection = self._connect()
        try:
            self._prepare(boot_id)
            # Its own descriptor: closing one of the database file would drop SQLite's POSIX locks.
            self._wal_fd = os.open(f"{path}-wal", os.O_RDWR)
            self._shm_fd = os.open(f"{path}-shm", os.O_RDONLY)
            self._runway = Runway(self._wal_fd, step_bytes=min(_RUNWAY_BYTES, ballast_bytes))
            self._runway.extend()
            self._sync_all()
            sizes = {"": ballast_bytes, "-wal": ballast_bytes, "-shm": ballast_bytes // _INDEX_SHARE}
            self._ballast = Ballast({path.with_name(path.name + end): size for end, size in sizes.items()})
            self._ballast.reserve()
        except (sqlite3.DatabaseError, NamespaceError, OSError) as exc:
            self.connection.close()
            raise NamespaceError(f"the namespace {path} cannot be opened: {exc}") from exc
        except BaseException:
            self.connection.close()
            raise
        self.synced_seq = self.seq
        self.connection.guard(self._foreign)

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Register what drops a cache of rows: after a rollback it may be wrong."""
        self._on_rollback.append(forget)

    def transaction(self) -> Transaction:
        """Commit what the block does, or nothing of it. There is one at a time.

        Raises:
            ReadOnly: the volume is degraded. NoSpace: the disk is full; nothing changed.
        """
        return self._transaction

    def begin(self) -> Seq:
        """Begin a transaction and return the latest acknowledgement before it."""
        if self.degraded is not None:
            raise ReadOnly(f"the namespace is read-only: {self.degraded}")
        self.connection.execute("BEGIN IMMEDIATE")
        return self.seq

    def commit(self, before: Seq) -> None:
        """Commit what was begun when `before` was the latest acknowledgement; if that fails, nothing changed."""
        try:
            if self.seq == before > 0:  # (the first number of all is the root's)
                self.next_seq()  # else a sync that began before this commit would seem to cover it
            self.connection.execute("COMMIT")
        except BaseException:
            self.roll_back()
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

    def passed_seq(self) -> Seq:
        """Return a new number outside of any transaction: of a moment, not of a change."""
        with self.transaction():
            return self.next_seq()

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

    def before_sync(self) -> None:
        """Make room for what is committed next, so that its sync is cheap. On the loop, where no commit can run."""
        self._has_grown |= self._runway.extend()

    def sync(self) -> None:
        """Make every commit so far survive a power loss. Blocks: call it in a thread.

        Raises:
            NamespaceError: the disk refused, and what it holds now is not known: read-only from now on.
        """
        seq = self.seq
        try:
            if self._refused is not None:
                raise self._refused
            os.fdatasync(self._wal_fd)
        except OSError as exc:
            self._refused = exc
            self._degrade(f"its journal could not be synced: {exc.strerror}")
            raise NamespaceError(f"the namespace could not be synced: {exc.strerror}") from exc
        self.synced_seq = max(seq, self.synced_seq)
        if self._has_grown:
            self._has_grown = False
            self._ballast.reserve()

    def checkpoint(self) -> None:
        """Move the WAL into the database if it has grown, or can grow no more. Blocks: call it in a thread.

        On a full disk it stays where it is, and is moved when there is room.
        """
        if not self._is_wal_long():
            return
        try:
            with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as other:
                other.execute("PRAGMA synchronous = NORMAL")
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as exc:
            log.warning("the journal of %s stays as it is: %s", self._path, self._foreign(exc))
        self._ballast.reserve(again=True)

    def end_checkpoint(self) -> None:
        """Move what was committed while the WAL was moved: a few pages, on the loop, where no commit can run.

        Else the WAL would never begin anew while there is something to commit all the time.
        """
        if self._is_wal_long():
            with contextlib.suppress(FusecacheError):  # said by the next commit
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._is_full = False

    def made_whole(self, boot_id: str) -> None:
        """What a power loss may have left behind has been dealt with: from now on it is this boot's."""
        with self.transaction() as db:
            db.execute("UPDATE meta SET value = ? WHERE name = 'boot_id'", (boot_id,))
        self.boot_id = boot_id

    def close(self) -> None:
        os.close(self._wal_fd)
        self.connection.close()
        os.close(self._shm_fd)
        self._ballast.close()

    def _is_wal_long(self) -> bool:
        frames, moved = _WAL_INDEX.unpack(os.pread(self._shm_fd, _WAL_INDEX.size, 0))
        return bool(moved < frames and (self._is_full or frames * _FRAME_BYTES >= _CHECKPOINT_BYTES))

    def _connect(self) -> GuardedConnection:
        try:
            return sqlite3.connect(
                self._path,
                isolation_level=None,
                cached_statements=512,
                check_same_thread=False,
                factory=GuardedConnection,
            )
        except sqlite3.Error as exc:
            raise NamespaceError(f"the namespace {self._path} cannot be opened: {exc}") from exc

    def _prepare(self, boot_id: str) -> None:
        db = self.connection
        for pragma in _PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            self._create(boot_id)
        meta = dict(db.execute("SELECT name, value FROM meta"))
        if meta.get("schema_version") != SCHEMA_VERSION:
            self._migrate(meta.get("schema_version"))
        self.boot_id = meta.get("boot_id", "")
        self.id = meta["id"]
        self.seq = Seq(meta["seq_reserved"])
        self._seq_reserved = meta["seq_reserved"]

    def _create(self, boot_id: str) -> None:
        db = self.connection
        db.execute("BEGIN")
        migrations.create(db)
        rows = [("schema_version", SCHEMA_VERSION), ("seq_reserved", 0), ("boot_id", boot_id)]
        rows.append(("id", secrets.token_hex(8)))
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        db.execute("COMMIT")

    def _migrate(self, version: object) -> None:
        db = self.connection
        db.execute("BEGIN IMMEDIATE")
        for name in migrations.migrate(db, version):
            log.info("the namespace %s was migrated: %s", self._path, name)
        db.execute("COMMIT")

    def _sync_all(self) -> None:
        """What was committed before a crash becomes safe from a power loss, and so do the names of our files."""
        os.fdatasync(self._wal_fd)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def roll_back(self) -> None:
        """Undo what was done since `begin`."""
        if self.connection.in_transaction:  # a failed COMMIT has rolled back already
            with contextlib.suppress(FusecacheError):
                self.connection.execute("ROLLBACK")
        self._seq_reserved = self.seq  # the reservation may have been rolled back as well
        for forget in self._on_rollback:
            forget()

    def _foreign(self, exc: sqlite3.Error) -> FusecacheError:
        """Return what a refusal of SQLite means; damage makes the volume read-only."""
        code = getattr(exc, "sqlite_errorcode", 0)
        if code in _FULL:
            self._is_full = True
            return NoSpace("the disk of the namespace is full")
        is_damage = isinstance(exc, sqlite3.DatabaseError) and code & 0xFF != sqlite3.SQLITE_BUSY
        if is_damage and not isinstance(exc, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            self._degrade(str(exc))
        return NamespaceError(f"the namespace failed: {exc}")

    def _degrade(self, reason: str) -> None:
        if self.degraded is None:
            self.degraded = reason
            log.error("the namespace %s failed and is read-only from now on: %s", self._path, reason)
