"""A store that does not answer is asked by one at a time: the rest waits until it does."""

from __future__ import annotations

_FAILURES = 3
"""In a row, with no answer between them: more than bad luck."""
_PROBE_SHARE = 0.25
_MIN_PROBE_S = 0.5
_MAX_PROBE_S = 5.0
"""A probe each quarter of the time it has lasted, between these."""


class Outage:
    """Pure, its caller brings the time in seconds. There is none while `since_s` is None."""

    def __init__(self) -> None:
        self.since_s: float | None = None
        self._failures = 0
        self._failed_s = 0.0
        self._probe_s = 0.0

    def answered(self) -> bool:
        """The store said something. Returns whether that ends an outage."""
        is_end = self.since_s is not None
        self._failures, self.since_s = 0, None
        return is_end

    def failed(self, now_s: float) -> None:
        """A request had no answer."""
        self._failures += 1
        if self._failures == 1:
            self._failed_s = now_s
        if self._failures == _FAILURES:
            self.since_s = self._failed_s
            self._probe_s = now_s + _MIN_PROBE_S

    def probe(self, now_s: float) -> float:
        """Return when somebody may ask; if that is now, the turn is taken."""
        assert self.since_s is not None
        at_s = max(now_s, self._probe_s)
        if at_s <= now_s:
            self._probe_s = now_s + min(_MAX_PROBE_S, max(_MIN_PROBE_S, _PROBE_SHARE * (now_s - self.since_s)))
        return at_s
