"""New deletes, each told of once."""

from __future__ import annotations

from collections.abc import Callable

from fusecache.namespace.records import Removal
from fusecache.namespace.tables import Tables

_LOOKED_AT = 1000
"""Deletes in one step, at some 10 µs each: after a restart there may be a million."""


class Removals:
    """Tells others of the deletes that were wanted since it last looked: numbers of tasks only grow."""

    def __init__(self, tables: Tables, *told: Callable[[Removal], None]) -> None:
        self._t = tables
        self._told = told
        self._seen = 0

    def look(self, now_ns: int) -> bool:
        """Tell of the new ones; none of them was wanted later than `now_ns`, whatever the clock was set to.

        True: there are more, to be known before anything is planned.
        """
        new = self._t.tasks.deletes_after(self._seen, count=_LOOKED_AT)
        for delete in new:
            for tell in self._told:
                tell(delete._replace(since_ns=min(delete.since_ns, now_ns)))
        is_cut = len(new) == _LOOKED_AT
        self._seen = new[-1].task if is_cut else self._t.database.seq
        return is_cut
