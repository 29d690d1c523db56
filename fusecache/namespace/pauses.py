"""What people have paused: paths below which nothing is changed in the store, until they are resumed."""

from __future__ import annotations

import json

from fusecache.namespace.database import Database
from fusecache.namespace.keys import component_of, name_of
from fusecache.namespace.tasks import PAUSED_NS

_READ = "SELECT value FROM meta WHERE name = 'paused'"
_WRITE = "INSERT INTO meta VALUES ('paused', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

# Of each queue: with `kind` in the condition its index is used.
_PAUSED = [f"FROM task WHERE due_ns = {PAUSED_NS} AND kind {which}" for which in ("<> 5", "= 5")]


def key_of(path: bytes) -> str:
    """Return the key that belongs to a path, whatever is there; `b""`, the root: ''."""
    return "/".join(component_of(name) for name in path.split(b"/")) if path else ""


def path_of(key: str) -> str:
    """Return the path of a paused key as people write it, from the mount's root on."""
    names = [name_of(component) for component in key.split("/")] if key else []
    return "/" + b"/".join(names).decode("utf-8", "surrogateescape")


class Pauses:
    """The paused keys: a row, and a copy of it in memory, as every plan asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys = frozenset[str]()
        database.on_rollback(self._read)
        self._read()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def keys(self) -> list[str]:
        """Return the paused keys, '' for the whole mount."""
        return sorted(self._keys)

    def covers(self, key: str) -> bool:
        """Whether `key` is, or is below, a paused one. It may end in a slash."""
        return any(not paused or key == paused or key.startswith(f"{paused}/") for paused in self._keys)

    def touches(self, prefix: str) -> bool:
        """Whether a paused key is below `prefix`, which ends in a slash, or covers it."""
        return self.covers(prefix) or any(paused.startswith(prefix) for paused in self._keys)

    def add(self, key: str) -> None:
        """Pause what is at or below `key`: committed at the return, not yet synced."""
        self._write(self._keys | {key})

    def remove(self, key: str) -> list[str]:
        """Resume what is at or below `key`; return the keys that were paused there."""
        gone = [each for each in self.keys() if not key or each == key or each.startswith(f"{key}/")]
        if gone:
            self._write(self._keys.difference(gone))
        return gone

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

    def _write(self, keys: frozenset[str]) -> None:
        with self._database.transaction() as db:
            db.execute(_WRITE, (json.dumps(sorted(keys)),))
            self._keys = keys

    def _read(self) -> None:
        row = self._database.connection.execute(_READ).fetchone()
        self._keys = frozenset(json.loads(row[0])) if row is not None else frozenset()
