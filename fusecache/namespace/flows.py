"""Tasks by the directory that they were wanted in: of a burst in one of them no other has to wait for the end."""

from __future__ import annotations

from fusecache.namespace.database import Database
from fusecache.namespace.records import Task
from fusecache.types import InodeNo, Seq

_AFTER = "SELECT flow FROM task WHERE flow > ? AND due_ns IS NOT NULL AND kind <> 5 ORDER BY flow LIMIT 1"
_DUE = f"""
    SELECT (SELECT size FROM inode WHERE inode.ino = task.ino), {", ".join(Task._fields)} FROM task
     WHERE flow = ? AND due_ns <= ? AND kind <> 5 AND seq <= ? ORDER BY due_ns LIMIT ?"""


class Flows:
    """The column `flow` of the table `task`. A directory's rename does not change it: it is about turns only."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection

    def after(self, flow: InodeNo) -> InodeNo | None:
        """The next directory, by number, with tasks that are not parked; None after the last."""
        row = self._db.execute(_AFTER, (flow,)).fetchone()
        return None if row is None else row[0]

    def due(self, flow: InodeNo, *, now_ns: int, synced_seq: Seq, count: int) -> list[Task]:
        """Of a directory's tasks, the first `count` of those that `Tasks.due` would give, small files first."""
        rows = self._db.execute(_DUE, (flow, now_ns, synced_seq, count)).fetchall()
        rows.sort(key=lambda row: row[0] or 0)
        return [Task._make(row[1:]) for row in rows]
