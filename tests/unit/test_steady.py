"""A clock that is set back, or forth and back, holds nothing up."""

from __future__ import annotations

from fusecache.persist.steady import Steady
from tests.unit.builders import DELAY_NS, Upper

DAY_NS = 86_400 * 10**9


class Clocks:
    def __init__(self) -> None:
        self.wall_ns = 100 * DAY_NS
        self.monotonic_ns = 7

    def steady(self) -> Steady:
        return Steady(wall_ns=lambda: self.wall_ns, monotonic_ns=lambda: self.monotonic_ns)

    def tick(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns


def test_it_is_the_wall_clock_while_that_goes_on() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    clocks.tick(5)
    assert steady() == clocks.wall_ns == 100 * DAY_NS + 5


def test_time_goes_on_after_the_clock_was_set_back() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    before = steady()
    clocks.wall_ns -= DAY_NS
    clocks.tick(5)
    assert steady() == before + 5


def test_what_fell_due_in_a_wrong_future_is_not_waited_for() -> None:
    clocks = Clocks()
    steady = clocks.steady()
    clocks.wall_ns += DAY_NS
    due_ns = steady() + 10
    clocks.wall_ns -= DAY_NS
    clocks.tick(10)
    assert steady() == due_ns


def test_nothing_waits_for_a_clock_that_was_set_back_while_nobody_ran(upper: Upper) -> None:
    upper.now_ns += DAY_NS
    upper.write("a")
    upper.write("b")
    upper.unlink("b")
    upper.crash()
    upper.now_ns -= DAY_NS
    upper.ns.tree.recover(now_ns=upper.now_ns)
    due = [task.due_ns for task in upper.tasks()]
    assert due
    assert all(each is None or each <= upper.now_ns + DELAY_NS for each in due)
