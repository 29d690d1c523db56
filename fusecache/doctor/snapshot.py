"""A read-only look at a database, beside whoever writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusecache.errors import NamespaceError

Row = tuple[Any, ...]
_ROOT_INO = 1
_MAX_DEPTH = 10_000
"""Deeper than any path: damaged rows may go in a circle."""


class Snapshot:
    """Each query sees what was committed last; nothing waits for it, nothing is changed.

    For worker threads, one at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open the database.

        Raises:
            NamespaceError: there is none.
        """
        self._path = path
        try:
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as exc:
            raise NamespaceError(f"{path} cannot be opened: {exc}") from exc

    def rows(self, query: str, values: Mapping[str, object] | Sequence[object] = ()) -> list[Row]:
        """Return all rows.

        Raises:
            NamespaceError: the database is damaged.
        """
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as exc:
            raise NamespaceError(f"{self._path} cannot be read: {exc}") from exc

    def pages(self, query: str, count: int = 1000) -> Iterator[list[Row]]:
        """Yield the rows of a query that begins after `:after`, its first column, and ends at `:count`."""
        after = -1
        while rows := self.rows(query, {"after": after, "count": count}):
            yield rows
            after = rows[-1][0]

    def first(self, query: str, values: Mapping[str, object] | Sequence[object] = ()) -> Row | None:
        """Return the first row, None if there is none."""
        rows = self.rows(query, values)
        return rows[0] if rows else None

    def path_of(self, ino: int) -> str:
        """Return a path of an inode for people, with a leading slash; of what has no name, its number."""
        names: list[bytes] = []
        while ino != _ROOT_INO and len(names) < _MAX_DEPTH:
            row = self.first("SELECT parent, name FROM dentry WHERE ino = ?", (ino,))
            if row is None:
                return f"inode {ino}" if not names else f"inode {ino}: {_shown(names)}"
            ino = row[0]
            names.append(row[1])
        return _shown(names)

    def close(self) -> None:
        self._db.close()


def _shown(names: list[bytes]) -> str:
    return "/" + b"/".join(reversed(names)).decode("utf-8", "backslashreplace")
