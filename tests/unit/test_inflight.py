"""What is in flight, and which keys exclude each other."""

from __future__ import annotations

import pytest

from fusecache.persist.inflight import InFlight
from fusecache.types import StoreNo

STORE = StoreNo(1)


@pytest.mark.parametrize("key", ["a/b", "a", "a/b/", "a/b/c", "a/b/c/d", "a/"])
def test_a_key_excludes_those_above_and_below(key: str) -> None:
    inflight = InFlight()
    inflight.claim(1, STORE, ["a/b"])
    assert inflight.conflicts(STORE, key)
    assert not inflight.conflicts(StoreNo(2), key)


@pytest.mark.parametrize("key", ["a/bb", "a/c", "b", "a.b", "a-/b"])
def test_neighbours_do_not_exclude_each_other(key: str) -> None:
    inflight = InFlight()
    inflight.claim(1, STORE, ["a/b"])
    assert not inflight.conflicts(STORE, key)


def test_a_marker_excludes_what_is_below_and_the_file_of_its_name() -> None:
    inflight = InFlight()
    inflight.claim(1, STORE, ["a/"])
    assert inflight.conflicts(STORE, "a/b")
    assert inflight.conflicts(STORE, "a")
    assert not inflight.conflicts(STORE, "b/")


def test_nothing_is_left_of_what_was_released() -> None:
    inflight = InFlight()
    inflight.claim(1, STORE, ["a/b/c", "a/d"])
    inflight.claim(2, STORE, ["a/b/e"])
    inflight.release(1)
    assert inflight.is_below(STORE, "a/b/")
    assert 1 not in inflight
    inflight.release_keys(2)
    assert 2 in inflight
    assert not inflight.is_below(STORE, "a/")
    inflight.release(2)
    assert repr(inflight) == "<InFlight 0 tasks, 0 keys>"


def test_what_goes_together_does_not_exclude_itself() -> None:
    inflight = InFlight()
    inflight.claim(1, STORE, ["a/"])
    assert not inflight.conflicts(STORE, "a/b", but=1)
    assert inflight.conflicts(STORE, "a/b", but=2)
    inflight.claim(1, STORE, ["a/b"])
    assert not inflight.conflicts(STORE, "a/", but=1)
    inflight.claim(2, STORE, ["a/c"])
    assert inflight.conflicts(STORE, "a/", but=1)
    assert not inflight.conflicts(STORE, "a/d", but=1)
