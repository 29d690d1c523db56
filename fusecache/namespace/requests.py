"""Which of the kernel's requests have been carried out: for a daemon that is asked again what the last one did."""

from __future__ import annotations

import json
from contextvars import ContextVar

from fusecache.namespace.database import Database

_DONE = "INSERT OR IGNORE INTO request VALUES (?)"
_IS_DONE = "SELECT 1 FROM request WHERE request = ?"
_FORGET = "DELETE FROM request WHERE request NOT IN (SELECT value FROM json_each(?))"
_FORGET_ALL = "DELETE FROM request"

KEPT = 2048
"""So many that were answered are forgotten at a time: 0.4 ms on the loop. More than may be asked again at once: so none
is forgotten that is about to be."""


class Requests:
    """Requests by number. Each task carries out one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._current: ContextVar[int] = ContextVar("request", default=0)
        """What this task carries out. Between a request and its transaction are calls that serve others, too: they
        need not know of it."""
        self._unanswered: set[int] = set()
        self._added = 0

    def __repr__(self) -> str:
        return f"<Requests: {len(self._unanswered)} done and unanswered>"

    def begins(self, request: int) -> None:
        """This task carries out a request from now on; 0: none that could be asked again."""
        self._current.set(request)

    def done(self) -> None:
        """What this task's request is about happens in the caller's transaction: it must not happen again."""
        request = self._current.get()
        if not request:
            return
        rows = self._database.connection
        rows.execute(_DONE, (request,))
        self._unanswered.add(request)
        self._added += 1
        if self._added >= KEPT:
            rows.execute(_FORGET, (json.dumps(list(self._unanswered)),))
            self._added = 0

    def is_done(self, request: int) -> bool:
        """Whether it was carried out, by whomever. It is remembered from now on until it is answered."""
        is_done = self._database.connection.execute(_IS_DONE, (request,)).fetchone() is not None
        if is_done:
            self._unanswered.add(request)
        return is_done

    def answered(self, request: int) -> None:
        """Nobody will ask again."""
        self._unanswered.discard(request)

    def forget_all(self) -> None:
        """Another connection to the kernel begins, with numbers of its own."""
        with self._database.transaction() as rows:
            rows.execute(_FORGET_ALL)
        self._unanswered.clear()
