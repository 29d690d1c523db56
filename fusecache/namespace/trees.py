"""What of a directory's tree the store still lacks, found from the tree's side: whatever else is waiting."""

from __future__ import annotations

from collections.abc import Iterable

from fusecache.namespace.database import Database
from fusecache.namespace.keys import after
from fusecache.namespace.records import Task
from fusecache.types import InodeNo, Seq, StoreNo

_COLUMNS = ", ".join(f"task.{column}" for column in Task._fields)
# CROSS JOIN has SQLite begin with what is on the left, and INDEXED BY has it find tasks by their inodes.
_UNFINISHED = f"""
    WITH RECURSIVE tree (ino) AS (
        SELECT :ino
        UNION ALL
        SELECT dentry.ino FROM tree CROSS JOIN dentry ON dentry.parent = tree.ino
        CROSS JOIN directory ON directory.ino = dentry.ino)
    SELECT {_COLUMNS} FROM tree CROSS JOIN dentry ON dentry.parent = tree.ino
      CROSS JOIN task INDEXED BY task_ino ON task.ino = dentry.ino
     WHERE task.staged = 0 AND task.since_seq < :before
    UNION ALL
    SELECT {_COLUMNS} FROM task INDEXED BY task_ino WHERE ino = :ino AND staged = 0 AND since_seq < :before
    UNION ALL
    SELECT {_COLUMNS} FROM tree CROSS JOIN task INDEXED BY task_shield ON task.shield_parent = tree.ino
     WHERE task.kind = 5 AND task.since_seq < :before
    UNION ALL
    SELECT {_COLUMNS} FROM task INDEXED BY task_key
     WHERE store = :store AND key >= :first AND key < :last AND kind = 5 AND since_seq < :before"""


class Trees:
    """The table `task`, by the names of a tree."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection

    def unfinished(self, ino: InodeNo, store: StoreNo, home: str, *, before: Seq) -> Iterable[Task]:
        """What is not only local, was acknowledged before `before` and is at or below the directory `ino`, or is the
        delete of a key below its path `home`; lazily, in any order, some of it twice.

        To be finished with before anything is changed.
        """
        row = {"ino": ino, "store": store, "first": home, "last": after(home), "before": before}
        return map(Task._make, self._db.execute(_UNFINISHED, row))
