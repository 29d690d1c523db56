"""A SQLite connection whose errors are ours, wherever a statement fails: also between two rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

Translate = Callable[[sqlite3.Error], Exception]


class GuardedCursor(sqlite3.Cursor):
    """Rows are read lazily: damage may show at any of them."""

    translate: Translate

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.Error as exc:
            raise self.translate(exc) from exc

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.Error as exc:
            raise self.translate(exc) from exc

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.Error as exc:
            raise self.translate(exc) from exc


class GuardedConnection(sqlite3.Connection):
    """Raises what `translate` makes of an error of SQLite, once it was given one."""

    translate: Translate | None = None
    _cursor_class: type[sqlite3.Cursor] = sqlite3.Cursor

    def guard(self, translate: Translate) -> None:
        """From now on the caller meets only errors of ours."""
        self.translate = translate
        self._cursor_class = type("Cursor", (GuardedCursor,), {"translate": staticmethod(translate)})

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return self.cursor(self._cursor_class).execute(sql, parameters)
        except sqlite3.Error as exc:
            if self.translate is None:
                raise
            raise self.translate(exc) from exc

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error as exc:
            if self.translate is None:
                raise
            raise self.translate(exc) from exc
