"""The upload of a file that is written: what its create and each of its closes do to the table `task`."""

from __future__ import annotations

from fusecache.namespace.database import Database
from fusecache.types import InodeNo, Seq, StoreNo

_BEGUN = """
    INSERT INTO task (task, kind, ino, store, generation, seq, since_seq, due_ns, since_ns, flow)
    VALUES (?, 1, ?, ?, 1, ?, ?, ?, ?, ?)"""
# `staged` by itself: a column that is set is taken out of its index, put back, and its triggers look at it.
_CLOSED = """
    UPDATE task SET generation = generation + 1, seq = ?, due_ns = min(?, since_ns + ?)
     WHERE ino = ? AND kind = 1 AND staged = 0"""
_UNSTAGED = "UPDATE task SET staged = 0 WHERE ino = ? AND kind = 1 AND staged = 1"


class Written:
    """The fewest statements for what each file takes: `Tasks` knows all the others. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._database = database

    def begun(self, ino: InodeNo, store: StoreNo, *, flow: InodeNo, seq: Seq, due_ns: int | None, now_ns: int) -> None:
        """Note the upload of a new inode in the directory `flow`; `due_ns` None: it is open."""
        self._db.execute(_BEGUN, (self._database.next_seq(), ino, store, seq, seq, due_ns, now_ns, flow))

    def closed(self, ino: InodeNo, *, seq: Seq, due_ns: int, cap_ns: int) -> bool:
        """The parked upload of `ino` falls due, at most `cap_ns` after its first change; False if there is none."""
        row = (seq, due_ns, cap_ns, ino)
        if self._db.execute(_CLOSED, row).rowcount == 1:
            return True
        return self._db.execute(_UNSTAGED, (ino,)).rowcount == 1 and self._db.execute(_CLOSED, row).rowcount == 1
