"""Rows of names, asked for many at a time."""

from __future__ import annotations

import stat

import pytest

from fusecache.namespace.records import Place
from fusecache.types import ROOT_INO, Seq
from tests.unit.builders import Upper, check, count_statements

NAMES = [b"a", b"m", b"z"]


@pytest.mark.parametrize("count", [0, 50])  # the second: so many others are between that each is asked for alone
def test_live_names_are_found_among_others(upper: Upper, count: int) -> None:
    upper.mkdir("a")
    upper.write("m")
    upper.write("z")
    upper.unlink("z")
    for number in range(count):
        upper.write(f"b{number}")
    dentries = upper.ns.tables.dentries
    found = dentries.among(ROOT_INO, [*NAMES, b"never"])
    assert {name: row.ino for name, row in found.items() if name in NAMES} == {
        b"a": upper.inode("a").ino,
        b"m": upper.inode("m").ino,
    }
    modes = [(name, ino, stat.S_IFMT(mode or 0)) for name, ino, mode in dentries.modes(ROOT_INO, NAMES)]
    assert modes == [
        (b"a", upper.inode("a").ino, stat.S_IFDIR),
        (b"m", upper.inode("m").ino, stat.S_IFREG),
        (b"z", None, 0),
    ]


def test_names_are_given_in_order_and_whiteouts_are_none(upper: Upper) -> None:
    for name in ("c", "a", "b", "d"):
        upper.write(name)
    upper.unlink("b")
    dentries = upper.ns.tables.dentries
    assert dentries.names(ROOT_INO, after=b"", count=2) == [b"a", b"c"]
    assert dentries.names(ROOT_INO, after=b"c", count=2) == [b"d"]


def test_a_name_is_asked_of_the_rows_once_whatever_else_changes(upper: Upper) -> None:
    dentries = upper.ns.tables.dentries
    assert dentries.get(ROOT_INO, b"absent") is None
    upper.write("made")
    asked = count_statements(upper, lambda: [dentries.get(ROOT_INO, name) for name in (b"absent", b"made")])
    assert asked["statements"] == 0


def test_what_is_known_of_names_is_as_the_rows_say_after_any_change(upper: Upper) -> None:
    """The checker compares them (`builders.check`), here as in each state machine."""
    dentries = upper.ns.tables.dentries
    upper.mkdir("d")
    for name in ("a", "d/b", "c"):
        upper.write(name)
    upper.rename("a", "d/a")
    upper.unlink("c")
    for parent, name in ((ROOT_INO, b"a"), (ROOT_INO, b"c"), (upper.ino("d"), b"a"), (upper.ino("d"), b"b")):
        dentries.get(parent, name)
    check(upper.ns)
    with upper.ns.database.transaction():
        dentries.whiteout(Place(ROOT_INO, b"w"), Seq(1), settled=False)
    with upper.ns.database.transaction():
        dentries.stamp(Place(ROOT_INO, b"w"), Seq(2))
        assert dentries.get(ROOT_INO, b"w") is not None
        dentries.settle(Place(ROOT_INO, b"w"), Seq(3))
    found = dentries.get(ROOT_INO, b"w")
    assert found is not None
    assert (found.epoch, found.settled) == (3, 1)


def test_what_is_rolled_back_is_not_known(upper: Upper) -> None:
    upper.write("a")
    before = upper.live("a")
    database = upper.ns.database
    database.begin()
    upper.ns.tables.dentries.delete(before.place)
    assert upper.dentry("a") is None
    database.roll_back()
    assert upper.live("a") == before


def test_only_so_many_names_are_kept(upper: Upper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusecache.namespace.dentries._KNOWN", 4)
    for number in range(9):
        upper.write(f"f{number}")
    dentries = upper.ns.tables.dentries
    assert len(dentries._known) == 4
    assert [dentries.get(ROOT_INO, f"f{number}".encode()) is not None for number in range(9)] == [True] * 9
