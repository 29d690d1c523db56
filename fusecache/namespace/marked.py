"""Paths that people have marked, whatever is there: what is at them and below them is meant."""

from __future__ import annotations

import json

from fusecache.namespace.database import Database
from fusecache.namespace.keys import component_of, name_of

_READ = "SELECT value FROM meta WHERE name = ?"
_WRITE = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


def key_of(path: bytes) -> str:
    """Return the key that belongs to a path, whatever is there; `b""`, the root: ''."""
    return "/".join(component_of(name) for name in path.split(b"/")) if path else ""


def path_of(key: str) -> str:
    """Return the path of a marked key as people write it, from the mount's root on."""
    names = [name_of(component) for component in key.split("/")] if key else []
    return "/" + b"/".join(names).decode("utf-8", "surrogateescape")


class Marked:
    """The marked keys: a row, and a copy of it in memory, as they are asked for all the time."""

    def __init__(self, database: Database, name: str) -> None:
        """`name` is that of the row in `meta`."""
        self._database = database
        self._name = name
        self._keys = frozenset[str]()
        database.on_rollback(self._read)
        self._read()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def keys(self) -> list[str]:
        """Return the marked keys, '' for the whole mount."""
        return sorted(self._keys)

    def covers(self, key: str) -> bool:
        """Whether `key` is, or is below, a marked one. It may end in a slash."""
        return any(not marked or key == marked or key.startswith(f"{marked}/") for marked in self._keys)

    def touches(self, prefix: str) -> bool:
        """Whether a marked key is below `prefix`, which ends in a slash, or covers it."""
        return self.covers(prefix) or any(marked.startswith(prefix) for marked in self._keys)

    def add(self, key: str) -> None:
        """Mark what is at or below `key`: committed at the return, not yet synced."""
        self._write(self._keys | {key})

    def remove(self, key: str) -> list[str]:
        """Forget the marks at or below `key`; return the keys that were marked there."""
        gone = [each for each in self.keys() if not key or each == key or each.startswith(f"{key}/")]
        if gone:
            self._write(self._keys.difference(gone))
        return gone

    def _write(self, keys: frozenset[str]) -> None:
        with self._database.transaction() as db:
            db.execute(_WRITE, (self._name, json.dumps(sorted(keys))))
            self._keys = keys

    def _read(self) -> None:
        row = self._database.connection.execute(_READ, (self._name,)).fetchone()
        self._keys = frozenset(json.loads(row[0])) if row is not None else frozenset()
