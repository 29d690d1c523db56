"""Which requests have been carried out: as true as the transaction that did it, and never more than a few thousand."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from fusecache.namespace import requests
from fusecache.namespace.requests import Requests
from tests.unit.builders import FILE, Upper

FEW = 8


def of(upper: Upper) -> Requests:
    return upper.ns.tables.requests


def kept(upper: Upper) -> list[int]:
    rows = upper.ns.database.connection.execute("SELECT request FROM request ORDER BY request")
    return [request for (request,) in rows]


def test_what_was_done_is_known_to_who_comes_after_a_crash(upper: Upper) -> None:
    of(upper).begins(6)
    upper.write("a")
    upper.crash()
    assert of(upper).is_done(6)
    assert not of(upper).is_done(8)


def test_what_was_undone_was_not_done(upper: Upper) -> None:
    of(upper).begins(6)
    with suppress(ZeroDivisionError), upper.ns.database.transaction():
        of(upper).done()
        raise ZeroDivisionError
    assert not of(upper).is_done(6)


def test_what_nobody_can_ask_again_is_not_kept(upper: Upper) -> None:
    of(upper).begins(0)
    upper.write("a")
    assert not kept(upper)


async def test_tasks_carry_out_requests_of_their_own(upper: Upper) -> None:
    """A request may have to wait for the store before it does anything: others are carried out meanwhile."""
    has_begun, goes_on = trio.Event(), trio.Event()

    async def slow() -> None:
        of(upper).begins(2)
        has_begun.set()
        await goes_on.wait()
        upper.ns.tree.create(upper.place("slow"), FILE, now_ns=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow)
        await has_begun.wait()
        of(upper).begins(4)
        upper.ns.tree.create(upper.place("fast"), FILE, now_ns=1)
        assert kept(upper) == [4]
        goes_on.set()
    assert kept(upper) == [2, 4]


def test_what_is_answered_is_forgotten_after_a_while(upper: Upper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "KEPT", FEW)
    for number in range(1, 5 * FEW):
        of(upper).begins(number)
        upper.write(f"f{number}")
        if number != 3:  # it waits
            of(upper).answered(number)
        assert len(kept(upper)) <= FEW + 1
    assert 3 in kept(upper)
    of(upper).answered(3)
    for number in range(5 * FEW, 6 * FEW + 1):
        of(upper).begins(number)
        upper.write(f"f{number}")
        of(upper).answered(number)
    assert 3 not in kept(upper)


def test_what_is_asked_again_is_kept_until_it_is_answered(upper: Upper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon that is asked may die, too."""
    monkeypatch.setattr(requests, "KEPT", FEW)
    of(upper).begins(1)
    upper.write("a")
    upper.crash()
    assert of(upper).is_done(1)
    for number in range(2, 2 + 2 * FEW):
        of(upper).begins(number)
        upper.write(f"f{number}")
        of(upper).answered(number)
    upper.crash()
    assert of(upper).is_done(1)


def test_another_connection_has_other_numbers(upper: Upper) -> None:
    of(upper).begins(6)
    upper.write("a")
    of(upper).forget_all()
    assert not of(upper).is_done(6)
