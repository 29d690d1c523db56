"""What the namespace says to SQLite: the same words each time, so that nothing is prepared twice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

import pytest

from tests.unit.builders import Upper

WARM_UPS = 2


def a_life(upper: Upper, name: str) -> None:
    """Make, write, describe, rename and remove a file."""
    upper.write(f"d/{name}")
    upper.write(f"d/{name}")
    upper.rename(f"d/{name}", f"d/{name}2")
    upper.unlink(f"d/{name}2")


def prepared(upper: Upper, work: Callable[[], None]) -> int:
    """Return how often SQLite asked whether it may: once for each part of a statement that it prepares."""
    asked = 0

    def allow(*_: object) -> int:
        nonlocal asked
        asked += 1
        return sqlite3.SQLITE_OK

    db = upper.ns.database.connection
    db.set_authorizer(allow)  # from here on each statement is prepared once more
    for number in range(WARM_UPS):
        a_life(upper, f"warm{number}")
    asked = 0
    work()
    db.set_authorizer(None)
    return asked


def test_a_change_prepares_no_statement(upper: Upper) -> None:
    upper.mkdir("d")
    assert prepared(upper, lambda: a_life(upper, "f")) == 0


@pytest.mark.parametrize("change", ["create", "unlink", "rename", "roll back"])
def test_the_latest_answers_about_names_are_forgotten_with_any_change(upper: Upper, change: str) -> None:
    upper.write("a")
    dentries = upper.ns.tables.dentries

    def live() -> list[bool]:
        rows = [dentries.get(*upper.place(name)) for name in ("a", "b")]
        return [row is not None and row.ino is not None for row in rows]

    assert live() == [True, False]
    if change == "create":
        upper.write("b")
    elif change == "unlink":
        upper.unlink("a")
    elif change == "rename":
        upper.rename("a", "b")
    else:
        with contextlib.suppress(RuntimeError), upper.ns.database.transaction():
            dentries.delete(upper.place("a"))
            assert live() == [False, False]
            raise RuntimeError
    expected = {"create": [True, True], "unlink": [False, False], "rename": [False, True], "roll back": [True, False]}
    assert live() == expected[change]
