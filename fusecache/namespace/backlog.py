"""What the store lacks, added up while it changes: asking costs the same for one file and for a million."""

from __future__ import annotations

from typing import NamedTuple

from fusecache.namespace.database import Database
from fusecache.namespace.migrations import run
from fusecache.types import Seq

_SIZE = "CASE WHEN {row}.kind = 1 THEN coalesce((SELECT size FROM main.inode WHERE ino = {row}.ino), 0) ELSE 0 END"
_STAGED = "(SELECT staged FROM main.task WHERE ino = {row}.ino AND kind = 1)"
# In memory, and part of each transaction all the same: a change that is rolled back was never counted. The order in
# which an inode and its upload go does not matter: whichever is first takes the bytes off.
_COUNTS = f"""
    CREATE TEMP TABLE backlog (
        staged INTEGER PRIMARY KEY,  -- 1: what is only local, below staging names
        files INTEGER NOT NULL,      -- tasks
        bytes INTEGER NOT NULL,      -- sizes of what is to be uploaded
        stuck INTEGER NOT NULL);     -- tasks
    INSERT INTO backlog VALUES (0, 0, 0, 0), (1, 0, 0, 0);
    UPDATE backlog SET (files, bytes, stuck) = (
        SELECT count(*), coalesce(sum(CASE WHEN kind = 1 THEN size END), 0), coalesce(sum(stuck > 0), 0)
          FROM main.task LEFT JOIN main.inode ON inode.ino = task.ino WHERE task.staged = backlog.staged);
    CREATE TEMP TRIGGER backlog_wanted AFTER INSERT ON main.task BEGIN
        UPDATE backlog SET files = files + 1, bytes = bytes + {_SIZE.format(row="NEW")}, stuck = stuck + (NEW.stuck > 0)
         WHERE staged = NEW.staged;
    END;
    CREATE TEMP TRIGGER backlog_done AFTER DELETE ON main.task BEGIN
        UPDATE backlog SET files = files - 1, bytes = bytes - {_SIZE.format(row="OLD")}, stuck = stuck - (OLD.stuck > 0)
         WHERE staged = OLD.staged;
    END;
    CREATE TEMP TRIGGER backlog_changed AFTER UPDATE OF staged, stuck ON main.task
          WHEN OLD.staged <> NEW.staged OR (OLD.stuck > 0) <> (NEW.stuck > 0) BEGIN
        UPDATE backlog SET files = files - 1, bytes = bytes - {_SIZE.format(row="OLD")}, stuck = stuck - (OLD.stuck > 0)
         WHERE staged = OLD.staged;
        UPDATE backlog SET files = files + 1, bytes = bytes + {_SIZE.format(row="NEW")}, stuck = stuck + (NEW.stuck > 0)
         WHERE staged = NEW.staged;
    END;
    CREATE TEMP TRIGGER backlog_grown AFTER UPDATE OF size ON main.inode WHEN OLD.size <> NEW.size BEGIN
        UPDATE backlog SET bytes = bytes + NEW.size - OLD.size WHERE staged = {_STAGED.format(row="NEW")};
    END;
    CREATE TEMP TRIGGER backlog_gone AFTER DELETE ON main.inode WHEN OLD.size > 0 BEGIN
        UPDATE backlog SET bytes = bytes - OLD.size WHERE staged = {_STAGED.format(row="OLD")};
    END;"""
_TOTALS = "SELECT files, bytes, stuck FROM temp.backlog WHERE staged = ?"
_DELETES = "SELECT count(*) FROM (SELECT 1 FROM task WHERE due_ns <= ? AND kind = 5 AND seq <= ? LIMIT ?)"
_OLDEST = "SELECT since_ns FROM task WHERE staged = 0 ORDER BY since_seq LIMIT 1"


class Totals(NamedTuple):
    """Of all tasks that are only local, or of all others."""

    files: int
    bytes: int
    stuck: int


class Backlog:
    """Sums over the table `task`. Counted once at the start, from then on by triggers of this connection."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._db.execute("PRAGMA temp_store = MEMORY")
        run(self._db, _COUNTS)

    def dirty(self) -> Totals:
        """What the store is to have: files to send, to move, to delete."""
        return Totals._make(self._db.execute(_TOTALS, (0,)).fetchone())

    def local(self) -> Totals:
        """What stays here until it is renamed out of staging: no drain makes room for it."""
        return Totals._make(self._db.execute(_TOTALS, (1,)).fetchone())

    def deletes(self, *, now_ns: int, synced_seq: Seq, at_most: int) -> int:
        """How many of the deletes may be carried out now, as far as they are counted."""
        count: int = self._db.execute(_DELETES, (now_ns, synced_seq, at_most)).fetchone()[0]
        return count

    def oldest_ns(self) -> int | None:
        """Wall time of the earliest acknowledgement that the store lacks; None if there is none."""
        row = self._db.execute(_OLDEST).fetchone()
        return None if row is None else row[0]
