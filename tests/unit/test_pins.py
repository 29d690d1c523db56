"""A pin is of a path: whatever has a name there, by whatever way it came, is pinned while it has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.builders import Upper


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Upper]:
    upper = Upper(tmp_path / "namespace.db")
    yield upper
    upper.close()


def test_what_is_at_or_below_a_pinned_path_is_pinned(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mkdir("d/e")
    below, beside = upper.write("d/e/f"), upper.write("dd")
    assert not upper.ns.pins.is_pinned(below)
    upper.ns.pins.add("d")
    assert (upper.ns.pins.is_pinned(below), upper.ns.pins.is_pinned(beside)) == (True, False)
    assert upper.ns.pins.is_pinned(upper.write("d/later"))
    upper.crash()
    assert upper.ns.pins.is_pinned(below)
    assert upper.ns.pins.remove("d/e") == []
    assert upper.ns.pins.remove("") == ["d"]
    assert not upper.ns.pins.is_pinned(below)


def test_a_name_that_moves_moves_into_a_pin_or_out_of_it(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mkdir("other")
    upper.ns.pins.add("d")
    there, here = upper.write("d/f"), upper.write("other/g")
    upper.rename("d/f", "other/f")
    upper.rename("other/g", "d/g")
    assert (upper.ns.pins.is_pinned(there), upper.ns.pins.is_pinned(here)) == (False, True)
    upper.ns.tree.link(there, upper.place("d/link"), now_ns=upper.tick())
    assert upper.ns.pins.is_pinned(there)


def test_what_has_no_name_is_not_pinned(upper: Upper) -> None:
    upper.ns.pins.add("")
    assert upper.ns.pins.is_pinned(upper.write("f"))
    assert not upper.ns.pins.is_pinned(upper.unlink("f", keep=True).ino)
