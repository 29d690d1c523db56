"""How long deletes wait for others."""

from __future__ import annotations

from fusecache.persist.gathering import Gathering

S = 1_000_000_000


def test_a_few_wait_while_more_come_and_then_go_all_the_same() -> None:
    gathering = Gathering()
    held = [gathering.holds(1 + second, more=True, now_ns=second * S) for second in range(62)]
    assert [second for second, is_held in enumerate(held) if not is_held] == [30, 61]


def test_a_whole_request_goes_at_once() -> None:
    gathering = Gathering()
    assert gathering.holds(999, more=True, now_ns=0)
    assert not gathering.holds(1000, more=True, now_ns=1)


def test_the_last_wait_for_nobody() -> None:
    gathering = Gathering()
    assert gathering.holds(1, more=True, now_ns=0)
    assert not gathering.holds(1, more=False, now_ns=1)
    assert gathering.holds(1, more=True, now_ns=40 * S), "it begins anew"


def test_none_wait_for_nothing() -> None:
    gathering = Gathering()
    assert not gathering.holds(0, more=True, now_ns=0)
    assert gathering.holds(1, more=True, now_ns=40 * S)


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    gathering = Gathering()
    assert gathering.holds(1, more=True, now_ns=1000 * S)
    assert gathering.holds(1, more=True, now_ns=0)
    assert not gathering.holds(1, more=True, now_ns=30 * S)
