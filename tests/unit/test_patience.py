"""When the next request is looked for again and again: where it comes soon, and rarely where it does not."""

from __future__ import annotations

import itertools

import pytest

from fusecache.fs.transport.direct.patience import Patience

LOOK_S = 1e-6
MOMENT_LOOKS = 30
"""What is looked at in vain before it is given up, at a microsecond a look."""


class Kernel:
    """Has a request after so many looks; a look takes a microsecond."""

    def __init__(self, comes_after: int) -> None:
        self.comes_after = comes_after
        self.looks = 0
        self._left = comes_after

    def look(self) -> bool:
        self.looks += 1
        self._left -= 1
        return self._left < 0

    def clock(self) -> float:
        return self.looks * LOOK_S

    def answered(self) -> None:
        self._left = self.comes_after


def looks_of(kernel: Kernel, patience: Patience, requests: int) -> list[tuple[bool, int]]:
    """Return for each request whether it was seen to come, and how many looks that took."""
    found = []
    for _ in range(requests):
        before = kernel.looks
        kernel.answered()
        has_come = patience.has_come()
        found.append((has_come, kernel.looks - before))
    return found


@pytest.mark.parametrize("after", [0, 10])
def test_what_comes_soon_is_waited_for(after: int) -> None:
    kernel = Kernel(after)
    patience = Patience(kernel.look, kernel.clock)
    assert looks_of(kernel, patience, 100) == [(True, after + 1)] * 100


def test_where_nothing_comes_soon_it_is_tried_now_and_then() -> None:
    kernel = Kernel(1000)
    found = looks_of(kernel, Patience(kernel.look, kernel.clock), 330)
    assert not any(has_come for has_come, _ in found)
    assert 10 <= sum(looks > 1 for _, looks in found) <= 12
    assert all(looks <= MOMENT_LOOKS + 2 for _, looks in found)


def test_it_is_noticed_when_it_pays_again_and_when_it_ceases_to() -> None:
    kernel = Kernel(1000)
    patience = Patience(kernel.look, kernel.clock)
    looks_of(kernel, patience, 100)
    kernel.comes_after = 10
    assert [has_come for has_come, _ in looks_of(kernel, patience, 100)][40:] == [True] * 60
    kernel.comes_after = 1000
    found = looks_of(kernel, patience, 100)
    patient = [looks > 1 for _, looks in found]
    assert sum(1 for _ in itertools.takewhile(bool, patient)) == 16
    assert sum(patient[16:]) <= 3
