"""Rows of names, asked for many at a time."""

from __future__ import annotations

import stat

import pytest

from fusecache.types import ROOT_INO
from tests.unit.builders import Upper

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
