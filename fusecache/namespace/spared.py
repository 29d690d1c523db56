"""How many bytes were written and never had to be sent: the reason to wait before an upload, as a number."""

from __future__ import annotations

from fusecache.namespace.database import Database

_READ = "SELECT value FROM meta WHERE name = 'bytes_spared'"
_WRITE = "INSERT INTO meta VALUES ('bytes_spared', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Spared:
    """Counts in memory, so that nothing waits for it; a crash forgets what was counted since the last `save`.

    Of a file that is removed before it was sent, or changed again between its close and its upload, the size that
    it had then: what an upload at that moment would have cost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        row = database.connection.execute(_READ).fetchone()
        self._saved: int = 0 if row is None else row[0]
        self.bytes = self._saved

    def add(self, size_bytes: int) -> None:
        self.bytes += size_bytes

    def save(self) -> None:
        """Remember the number, if it has changed. Raises NoSpace, ReadOnly."""
        if self.bytes != self._saved:
            with self._database.transaction() as db:
                db.execute(_WRITE, (self.bytes,))
            self._saved = self.bytes
