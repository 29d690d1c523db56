"""One request of several, sent again where it failed in passing: what was asked for before it was not in vain.

A store may fail with a rhythm: where strictly every second request does, two that begin anew together never succeed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from fusecache.errors import Miswritten, PermanentBackendError, Throttled, TransientBackendError

T = TypeVar("T")

_REPEATS = 3
"""Of one request; what fails more often is tried again from its start, when it is due."""
_FIRST_DELAY_S = 0.1
_QUICK_S = 5.0
"""What took longer to fail, or is to wait longer, holds too much meanwhile: that is an outage rather than bad luck."""


class Repeats:
    """Repeats requests a few times after transient errors, with full jitter, and no sooner than the store asked for."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()

    async def ask(self, request: Callable[[], Awaitable[T]], refused: Callable[[float], None] | None = None) -> T:
        """Make a request that may be carried out twice. Each call of it is one attempt.

        `refused` is told of each attempt that was throttled, but of the last one, when it was made: nobody else hears.
        Raises:
            BackendError: of the last attempt.
        """
        repeats = 0
        while True:
            asked_s = trio.current_time()
            try:
                return await request()
            except TransientBackendError as exc:
                delay_s = self._delay_s(exc, repeats, trio.current_time() - asked_s)
                if delay_s is None:
                    raise
                if refused is not None and isinstance(exc, Throttled):
                    refused(asked_s)
            repeats += 1
            await trio.sleep(delay_s)

    async def send(self, request: Callable[[], Awaitable[T]], refused: Callable[[float], None] | None = None) -> T:
        """Likewise with a request that changes what its repeat would find.

        Raises:
            BackendError: as `ask`; transient, too, if a repeat was refused for good: it may have met what was done by
                an attempt without an answer.
        """
        unanswered: TransientBackendError | None = None

        async def attempt() -> T:
            nonlocal unanswered
            try:
                return await request()
            except TransientBackendError as exc:
                if not isinstance(exc, Throttled):
                    unanswered = exc
                raise

        try:
            return await self.ask(attempt, refused)
        except PermanentBackendError as exc:
            if unanswered is None:
                raise
            raise unanswered from exc

    def _delay_s(self, exc: TransientBackendError, repeats: int, took_s: float) -> float | None:
        """Return how long to wait before another attempt; None: there is to be none."""
        delay_s = max(exc.retry_after_s, self._rng.uniform(0.0, _FIRST_DELAY_S * 2**repeats))
        is_worth_it = repeats < _REPEATS and max(took_s, delay_s) <= _QUICK_S and not isinstance(exc, Miswritten)
        return delay_s if is_worth_it else None
