"""Turns at an even distance from each other, as the generic cell rate algorithm of ATM (ITU-T I.371) has them."""

from __future__ import annotations


class Turns:
    """Hands out turns, `per_s` of them a second: pure, its caller brings the time. None: as many as asked for."""

    def __init__(self, per_s: float | None = None) -> None:
        self.per_s = per_s
        self._next_s = 0.0
        self._next_first_s = 0.0

    def take(self, now_s: float, *, amount: float = 1.0, is_first: bool = False) -> float:
        """Return when the next turn is, and take it. Who `is_first` waits for its like only, not for the others."""
        at_s = max(now_s, self._next_first_s if is_first else self._next_s)
        if self.per_s is not None:
            gap_s = amount / self.per_s
            if is_first:
                self._next_first_s = at_s + gap_s
            self._next_s = max(self._next_s, now_s) + gap_s
        return at_s

    def restart(self, now_s: float) -> None:
        """The next turn is at the earliest one distance from now: what was promised before the rate changed is due."""
        if self.per_s is not None:
            self._next_s = now_s + 1.0 / self.per_s
