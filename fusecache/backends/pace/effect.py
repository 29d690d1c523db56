"""Whether going slower has helped: refusals that have nothing to do with the rate are no reason to.

Below what a store takes it refuses nothing, but one that refuses every nth request does so at any rate. Who asks it
ever more slowly ends with next to nothing.
"""

from __future__ import annotations

_SLOW = 0.15
"""Of the rate at which it began: a limit that had refused the most that is believed lies above."""
_MOST = 0.6
"""Refused requests of those before, as a part: of more it cannot be told whether their limit was just very low."""
_LEAST = 0.1
_LEFT = 0.5
"""Of that part, what is still refused then: less, and it has helped."""
_ENOUGH = 15
"""Requests, before and then, that show it."""
_SURELY = 60
"""Requests then that show the contrary."""
_GRACE_S = 0.5
"""In which answers may still be those of faster requests."""
_CALM = 25
"""Accepted requests in a row: it has helped."""
_BELIEVED_S = 10.0
"""How long refusals say nothing after that; then all is looked at again."""
_WORSE, _WORSE_BY, _WORSE_OF = 1.5, 0.1, 50
"""Unless more of so many requests are refused than the part that was known, times this, and this."""


class Effect:
    """Pure, its caller brings time and rates."""

    def __init__(self) -> None:
        self._ends_s = float("-inf")
        self._part = self._slow_per_s = 0.0
        self.forget()

    def forget(self) -> None:
        """Whatever was refused before has been dealt with."""
        self._per_s: float | None = None
        self._sent_per_s = 0.0
        self._slow_s: float | None = None
        self._before, self._then, self._row = _Share(), _Share(), 0

    def accepted(self, now_s: float, per_s: float, sent_per_s: float) -> None:
        """A request was accepted at the rate `per_s`, while `sent_per_s` were really sent."""
        self._row += 1
        if self._row >= _CALM and now_s >= self._ends_s:
            self.forget()
        if self._per_s is not None:
            self._count(now_s, per_s, sent_per_s, is_refused=False)

    def refused(self, now_s: float, per_s: float, sent_per_s: float) -> None:
        """Likewise, refused."""
        self._row = 0
        if self._per_s is None:
            self._per_s = per_s
        self._count(now_s, per_s, sent_per_s, is_refused=True)

    def is_ignored(self, now_s: float) -> bool:
        """Whether a refusal says nothing now."""
        return now_s < self._ends_s

    def in_vain(self, now_s: float) -> float | None:
        """Return the rate to go back to, if going slower has not helped; None: it has, or that is not known."""
        before, then = self._before, self._then
        if min(before.count, then.count) < _ENOUGH or then.part < _LEAST:
            return None
        has_helped = then.part < _LEFT * before.part
        if before.part > _MOST or has_helped:
            if not has_helped or then.count >= _SURELY:  # what is left may be such all the same
                self._per_s, self._sent_per_s, self._slow_s = self._slow_per_s, self._slow_per_s, None
                self._before, self._then = then, _Share()
            return None
        per_s, part = self._per_s, (before.refused + then.refused) / (before.count + then.count)
        self.forget()
        self._ends_s, self._part = now_s + _BELIEVED_S, part
        return per_s

    def _count(self, now_s: float, per_s: float, sent_per_s: float, *, is_refused: bool) -> None:
        assert self._per_s is not None
        if now_s < self._ends_s:
            self._before.add(is_refused)
            if self._before.count >= _WORSE_OF:
                if self._before.part > _WORSE * self._part + _WORSE_BY:
                    self._ends_s = now_s
                self.forget()
            return
        self._sent_per_s = max(self._sent_per_s, sent_per_s)
        if per_s > _SLOW * min(self._per_s, self._sent_per_s):
            self._before.add(is_refused)
            return
        if self._slow_s is None:
            self._slow_s, self._slow_per_s = now_s, per_s
        if now_s >= self._slow_s + _GRACE_S:
            self._then.add(is_refused)


class _Share:
    """Which part of requests was refused."""

    def __init__(self) -> None:
        self.count = self.refused = 0

    @property
    def part(self) -> float:
        return self.refused / max(1, self.count)

    def add(self, is_refused: bool) -> None:
        self.count += 1
        self.refused += is_refused
