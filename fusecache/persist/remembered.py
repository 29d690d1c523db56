"""The pace that stores are known to take, kept across restarts: else each one would begin with refusals again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from fusecache.backends.pace import Pacer
from fusecache.namespace.database import Database
from fusecache.types import StoreNo

_READ = "SELECT value FROM meta WHERE name = 'paces'"
_WRITE = "INSERT INTO meta VALUES ('paces', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_FRESH_NS = 600_000_000_000
"""What is older says little: S3 takes minutes to give a prefix more. Then it begins as gently as of a store that
nobody knows."""


class Remembered:
    """A hint, and nothing depends on it: a crash forgets what was learned since the last `save`."""

    def __init__(self, database: Database, pacers: Mapping[StoreNo, Pacer], *, wall_ns: Callable[[], int]) -> None:
        """Tell the pacers, before they are asked, what was learned lately."""
        self._database = database
        self._pacers = pacers
        self._wall_ns = wall_ns
        row = database.connection.execute(_READ).fetchone()
        at_ns, known = json.loads(row[0]) if row is not None else (0, {})
        if abs(wall_ns() - at_ns) <= _FRESH_NS:  # a clock may be put right by a little
            for store, pacer in pacers.items():
                pacer.recall(known.get(str(store), {}))
        self._saved = self._known()

    def save(self) -> None:
        """Remember what is known now, if that has changed. Raises NoSpace, ReadOnly."""
        known = self._known()
        if known != self._saved:
            with self._database.transaction() as db:
                db.execute(_WRITE, (json.dumps([self._wall_ns(), known]),))
            self._saved = known

    def _known(self) -> dict[str, object]:
        return {str(store): known for store, pacer in self._pacers.items() if (known := pacer.known())}
