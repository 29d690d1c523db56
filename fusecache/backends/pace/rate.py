"""How many requests a second a store takes: found out by AIMD, with few refusals."""

from __future__ import annotations

from fusecache.backends.pace.effect import Effect
from fusecache.backends.pace.knobs import Aimd
from fusecache.backends.pace.turns import Turns

_MAX_RATE = 1e6
"""Beyond it nothing is paced."""
_QUARTER = 4
"""Steps in a window while a rate comes back, and the part of one in which all refusals are one burst."""
_LEAST_STEP = 1.0
"""Requests a second: a part of hardly any is too small to come back from a store that refused everything."""
_SHARE_BACK = 0.5
"""Of the way back to the knee, in one such step."""
_WINDOWS = 2
"""Over which accepted requests are counted."""


class Rate:
    """One rate of requests: pure, its caller brings the time in seconds.

    It doubles each window until the first refusal. A refusal divides it, once for a burst, and leaves the *knee*: what
    the store had accepted lately. It comes back to the knee within a window or two, in shrinking steps, and goes on
    beyond it in growing ones: a limit that is lifted is found within seconds, one that stands is hit rarely. It does
    not grow while nobody is held up by it.
    """

    def __init__(
        self,
        knobs: Aimd,
        *,
        per_s: float,
        now_s: float,
        slowed_s: float = float("-inf"),
        knee: float | None = None,
    ) -> None:
        """`slowed_s`: when it was last lowered, under another name. `knee`: what is known already."""
        self._knobs = knobs
        self._turns = Turns(per_s)
        self._per_s = per_s
        self._knee = knee
        self._step = 0.0
        self._is_short = False
        self._adjusted_s = now_s
        self._slowed_s = slowed_s
        self._goodput, self._sent = (Lately(knobs.adjust_window_s, now_s) for _ in range(2))
        self._effect = Effect()

    def __repr__(self) -> str:
        return f"<Rate {self._per_s:.1f}/s>"

    @property
    def per_s(self) -> float:
        return self._per_s

    @property
    def accepted_per_s(self) -> float | None:
        """What the store is known to take; None before it has refused anything."""
        return None if self._knee is None else max(self._knee, self._per_s / 2)  # steps beyond the knee double

    def calm_s(self, now_s: float) -> float:
        """Return for how long nothing was refused."""
        return now_s - self._slowed_s

    def turn(self, now_s: float, *, is_first: bool) -> float:
        """Take the next turn and return when it is. Who `is_first` waits for its like only, not for the others."""
        at_s = self._turns.take(now_s, is_first=is_first)
        self._is_short = self._is_short or at_s > now_s
        return at_s

    def accepted(self, now_s: float) -> bool:
        """An answer came that was no refusal: time to go faster, maybe. Returns whether it is."""
        self._goodput.add(now_s)
        self._sent.add(now_s)
        self._effect.accepted(now_s, self._per_s, self._sent.per_s(now_s))
        window_s = self._knobs.adjust_window_s
        is_below = self._knee is not None and self._per_s < self._knee
        if now_s - self._adjusted_s < (window_s / _QUARTER if is_below else window_s):
            return False
        self._adjusted_s = now_s
        if not self._is_short:
            return False
        self._is_short = False
        self._set(min(_MAX_RATE, self._grown()))
        return True

    def recall(self, now_s: float) -> None:
        """Nobody has a turn later than now any more."""
        self._turns.recall(now_s)

    def refused(self, now_s: float, *, asked_s: float) -> bool:
        """The store asked for less, of a request that asked for its turn at `asked_s`. Returns whether that is news.

        It is none of a request from before the last decrease, nor so soon after it that it belongs to the same burst.
        Nor if as much is refused however slow it has become: then that is taken back.
        """
        knobs = self._knobs
        self._sent.add(now_s)
        self._effect.refused(now_s, self._per_s, self._sent.per_s(now_s))
        if self._effect.is_ignored(now_s):
            return False
        if (per_s := self._effect.in_vain(now_s)) is not None:
            self._back_to(per_s)
            return False
        if asked_s <= self._slowed_s or now_s < self._slowed_s + knobs.adjust_window_s / _QUARTER:
            return False
        self._slowed_s = self._adjusted_s = now_s
        slower = max(knobs.min_rate, self._per_s / knobs.reduction_factor)
        self._knee = max(slower, self._goodput.per_s(now_s))
        self._step = 0.0
        self._set(slower)
        self._turns.restart(now_s)
        return True

    def restore(self, per_s: float) -> None:
        """Go back to `per_s`: the refusals were not about what this rate is of."""
        self._effect.forget()
        self._back_to(per_s)

    def _back_to(self, per_s: float) -> None:
        self._knee = max(per_s, self._knee or 0.0)
        self._set(per_s)

    def _set(self, per_s: float) -> None:
        self._per_s = self._turns.per_s = per_s

    def _grown(self) -> float:
        if self._knee is None:
            return 2 * self._per_s
        if self._per_s < 0.99 * self._knee:
            return self._per_s + _SHARE_BACK * (self._knee - self._per_s)
        if self._per_s < self._knee:
            return self._knee
        self._step = 2 * self._step or max(_LEAST_STEP, self._knobs.increase_increment * self._knee)
        return self._per_s + self._step


class Lately:
    """How many of something there were a second, over the last two windows."""

    def __init__(self, window_s: float, now_s: float) -> None:
        self._slot_s = window_s / _QUARTER
        self._slots = _QUARTER * _WINDOWS
        self._counts: dict[int, int] = {}
        self._since_s = now_s

    def add(self, now_s: float) -> None:
        slot = int(now_s / self._slot_s)
        self._counts[slot] = self._counts.get(slot, 0) + 1
        if len(self._counts) > 2 * self._slots:
            self._counts = {each: count for each, count in self._counts.items() if each > slot - self._slots}

    def per_s(self, now_s: float) -> float:
        slot = int(now_s / self._slot_s)
        total = sum(count for each, count in self._counts.items() if each > slot - self._slots)
        return total / max(self._slot_s, min(now_s - self._since_s, self._slots * self._slot_s))
