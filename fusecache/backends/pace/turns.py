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

    def recall(self, now_s: float) -> None:
        """Nobody has a turn later than now any more: they are to take others. The next one stays when it is."""
        if self.per_s is not None:
            gap_s = 1.0 / self.per_s
            self._next_s = _first_after(now_s, self._next_s, gap_s)
            self._next_first_s = _first_after(now_s, self._next_first_s, gap_s)

    def restart(self, now_s: float) -> None:
        """The next turn is at the earliest one distance from now: what was promised before the rate changed is due."""
        if self.per_s is not None:
            self._next_s = now_s + 1.0 / self.per_s


def _first_after(now_s: float, last_s: float, gap_s: float) -> float:
    """Return the first of the times that lie at even gaps before the last one and are not over."""
    return last_s if last_s <= now_s else now_s + (last_s - now_s) % gap_s
