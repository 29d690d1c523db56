"""A second request for an answer that is late: of two, the first that comes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Awaitable, Callable

import trio

from fusecache.errors import FusecacheError
from fusecache.nurseries import unwrapped
from fusecache.types import Body

_SAMPLES = 200
_LEAST_SAMPLES = 20
_LATE = 0.95
"""Of the recent answers so many were sooner."""
_LEAST_S = 0.005
"""A store in this machine: what is late there is this machine's doing."""
_SHARE = 0.1
"""Of all requests: a store that is slow because it has too much to do gets hardly more."""
_SAVED_UP = 8.0


class Lateness:
    """From when on an answer is late, by those before it of about the same size. Pure."""

    def __init__(self) -> None:
        self._recent: dict[int, deque[float]] = {}
        self._sorted: dict[int, list[float]] = {}

    def note(self, size: int, took_s: float) -> None:
        kind = size.bit_length()
        recent, ordered = self._recent.setdefault(kind, deque()), self._sorted.setdefault(kind, [])
        recent.append(took_s)
        insort(ordered, took_s)
        if len(recent) > _SAMPLES:
            del ordered[bisect_left(ordered, recent.popleft())]

    def late_s(self, size: int) -> float | None:
        """Return after how long an answer of `size` bytes is late; None: too few have come to tell."""
        ordered = self._sorted.get(size.bit_length(), [])
        if len(ordered) < _LEAST_SAMPLES:
            return None
        return max(_LEAST_S, ordered[int(_LATE * len(ordered))])


class Hedge:
    """Asks again for what is late, for a tenth of the requests at most."""

    def __init__(self, *, is_on: bool = False) -> None:
        self._is_on = is_on
        self._lateness = Lateness()
        self._tokens = 0.0
        self.sent = 0
        self.won = 0
        """The second answer was the first one to come."""

    def __repr__(self) -> str:
        return f"<Hedge: {self.sent} sent, {self.won} won>"

    async def ask(self, request: Callable[[], Awaitable[Body]], size: int) -> Body:
        """Make a request for `size` bytes, and once more if the answer is late; the other one is cancelled.

        A cancellation ends both. Raises what the first request raises, unless the second one succeeds.
        """
        late_s = self._lateness.late_s(size) if self._is_on else None
        began_s = trio.current_time()
        if late_s is None:
            body = await request()
        else:
            body = await self._first_of_two(request, late_s)
        if self._is_on:
            self._tokens = min(_SAVED_UP, self._tokens + _SHARE)
            self._lateness.note(size, trio.current_time() - began_s)
        return body

    async def _first_of_two(self, request: Callable[[], Awaitable[Body]], late_s: float) -> Body:
        found: list[Body] = []
        errors: list[FusecacheError] = []
        failed = trio.Event()

        async def first() -> None:
            try:
                found.append(await request())
            except FusecacheError as exc:
                errors.append(exc)
                failed.set()
            else:
                nursery.cancel_scope.cancel()

        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                with trio.move_on_after(late_s):
                    await failed.wait()
                if not errors and self._tokens >= 1.0:
                    await self._second(request, found, nursery)
        if found:
            return found[0]
        raise errors[0]

    async def _second(self, request: Callable[[], Awaitable[Body]], found: list[Body], nursery: trio.Nursery) -> None:
        self._tokens -= 1.0
        self.sent += 1
        try:
            body = await request()
        except FusecacheError:
            return  # what the first one says is what counts
        self.won += not found
        found.append(body)
        nursery.cancel_scope.cancel()
