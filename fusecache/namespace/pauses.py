"""What people have paused: paths below which nothing is changed in the store, until they are resumed."""

from __future__ import annotations

from fusecache.namespace.database import Database
from fusecache.namespace.marked import Marked
from fusecache.namespace.tasks import PAUSED_NS

# Of each queue: with `kind` in the condition its index is used.
_PAUSED = [f"FROM task WHERE due_ns = {PAUSED_NS} AND kind {which}" for which in ("<> 5", "= 5")]


class Pauses(Marked):
    """The paused keys, and what is parked for them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "paused")

    def tasks(self) -> int:
        """Return how many tasks are parked for it."""
        db = self._database.connection
        return sum(int(db.execute(f"SELECT count(*) {which}").fetchone()[0]) for which in _PAUSED)

    def release(self, due_ns: int, *, count: int) -> bool:
        """Up to `count` parked tasks of each queue fall due; whoever is still paused is parked again by the plan.

        Returns whether there may be more.
        """
        more = False
        with self._database.transaction() as db:
            for which in _PAUSED:
                update = f"UPDATE task SET due_ns = ? WHERE task IN (SELECT task {which} LIMIT ?)"
                more |= db.execute(update, (due_ns, count)).rowcount == count
        return more
