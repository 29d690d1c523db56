"""When a request may be sent: the one place that decides it, for the drain and for readers of one store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum

import trio

from fusecache.backends.pace.knobs import Aimd, Limits
from fusecache.backends.pace.outage import Outage
from fusecache.backends.pace.prefixes import Prefixes
from fusecache.backends.pace.rate import Lately
from fusecache.backends.pace.turns import Turns
from fusecache.backends.pace.window import Window
from fusecache.errors import BackendUnavailable, Throttled

_READS_PER_S = 5500.0
"""What S3 says it takes for each prefix; readers wait for the answer, so they do not begin gently."""
_RECENT_S = 5.0


Known = Mapping[str, Mapping[str, float]]
"""By class and prefix, how many requests a second a store is known to take, since it has refused more."""


class RequestClass(Enum):
    """What stores limit apart from each other."""

    WRITE = "write"
    COPY = "copy"
    DELETE = "delete"
    LIST = "list"
    READ = "read"


Refused = Callable[[RequestClass, str, float], None]
"""Told of a request about a key that the store has throttled, and when it was asked for."""


def unheard(_kind: RequestClass, _key: str, _asked_s: float) -> None:
    """Be told where no pace is kept."""


class Priority(Enum):
    """Who asks: an application that waits for the answer, or the drain."""

    READER = "reader"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Pace:
    """The rate of one prefix and class of requests: an entry of `pace` in `stat --json` of a mount."""

    prefix: str
    kind: RequestClass
    per_s: float
    in_flight: int


class Pacer:
    """Lets requests through: as fast as the store takes them, and as a person allows.

    Readers go before the drain: they wait for other readers only, and for no outage to end.
    """

    def __init__(self, knobs: Aimd, limits: Limits, *, clock: Callable[[], float] = trio.current_time) -> None:
        self._knobs = knobs
        self._clock = clock
        self._bytes, self._requests = Turns(limits.upload_bytes_per_s), Turns(limits.requests_per_s)
        self._tuned = trio.Event()
        self._lanes: dict[RequestClass, _Lane] = {}
        self._recalled: Known = {}
        self._outage = Outage()
        self._reached = trio.Event()
        self._refusals = Lately(_RECENT_S, clock())
        self._refused_s = self._held_s = self._held_by_bytes_s = self._answered_s = float("-inf")

    def __repr__(self) -> str:
        flying = {kind.value: lane.in_flight for kind, lane in self._lanes.items() if lane.in_flight}
        return f"<Pacer {flying} in flight>"

    @property
    def limits(self) -> Limits:
        return Limits(upload_bytes_per_s=self._bytes.per_s, requests_per_s=self._requests.per_s)

    @property
    def quiet_s(self) -> float:
        """How long ago a request was answered as it should be."""
        return self._clock() - self._answered_s

    @property
    def throttled_per_s(self) -> float:
        """How many requests a second the store has asked for later, those that were sent again at once among them."""
        return self._refusals.per_s(self._clock())

    def tune(self, limits: Limits) -> None:
        """Allow something else from now on: whoever waits for a turn takes another one."""
        self._bytes, self._requests = Turns(limits.upload_bytes_per_s), Turns(limits.requests_per_s)
        self._tuned.set()
        self._tuned = trio.Event()

    @asynccontextmanager
    async def turn(
        self, kind: RequestClass, key: str, priority: Priority, *, upload_bytes: int = 0
    ) -> AsyncIterator[None]:
        """Wait for the turn of a request about `key`; the block sends it, and how it ends sets the pace.

        A cancellation while waiting gives up the turn; of the block, it says nothing about the store.
        """
        lane, is_first = self._lane(kind), priority is Priority.READER
        async with AsyncExitStack() as stack:
            if not is_first:
                await self._reachable()
                await stack.enter_async_context(lane.limiter)
            asked_s = await self._wait(lane, key, upload_bytes, is_first=is_first)
            lane.in_flight += 1
            try:
                yield
            except Throttled:
                self._throttled(lane, key, asked_s)
                raise
            except BackendUnavailable:
                self._unanswered(lane, asked_s)
                raise
            except Exception:
                self._answered(lane, key)  # a definite no is an answer, too
                raise
            else:
                self._answered(lane, key)
            finally:
                lane.in_flight -= 1

    def refused_one(self, kind: RequestClass, key: str, asked_s: float) -> None:
        """A part of what went through otherwise was refused: a key of a batch of deletes, a request of several."""
        self._throttled(self._lane(kind), key, asked_s)

    def paces(self) -> list[Pace]:
        """Return the rates in use, by class and prefix."""
        return [
            Pace(prefix, kind, per_s, lane.in_flight)
            for kind, lane in self._lanes.items()
            for prefix, per_s in lane.rates.rates()
        ]

    def known(self) -> Known:
        """Return what was learned from refusals: a later process may `recall` it."""
        found = {kind.value: lane.rates.known() for kind, lane in self._lanes.items()}
        return {kind: rates for kind, rates in {**self._recalled, **found}.items() if rates}

    def recall(self, known: Known) -> None:
        """Begin with what was learned earlier, of each class that nothing was asked of yet."""
        self._recalled = known

    def reason(self) -> str | None:
        """Return what holds the drain up now, in words; None if it is not the pace."""
        now_s = self._clock()
        if self._outage.since_s is not None:
            return f"the store: no answer for {now_s - self._outage.since_s:.0f} s"
        if now_s - self._refused_s < _RECENT_S:
            return "the store: it refuses requests (throttling)"
        if now_s - self._held_by_bytes_s < _RECENT_S:
            return "upload-limit"
        if now_s - self._held_s < _RECENT_S:
            return "the pace that the store accepts, or request-rate"
        return None

    def _lane(self, kind: RequestClass) -> _Lane:
        lane = self._lanes.get(kind)
        if lane is None:
            is_read = kind in (RequestClass.READ, RequestClass.LIST)
            per_s = _READS_PER_S if is_read else self._knobs.initial_rate
            known = self._recalled.get(kind.value, {})
            lane = self._lanes[kind] = _Lane(Prefixes(self._knobs, per_s=per_s, now_s=self._clock(), known=known))
        return lane

    # --- before ---

    async def _reachable(self) -> None:
        """Return when the store answers, or when it is our turn to find out whether it does."""
        while self._outage.since_s is not None:
            now_s = self._clock()
            probe_s = self._outage.probe(now_s)
            if probe_s <= now_s:
                return
            with trio.move_on_after(probe_s - now_s):
                await self._reached.wait()

    async def _wait(self, lane: _Lane, key: str, upload_bytes: int, *, is_first: bool) -> float:
        """Wait for our turn, and return when it was promised."""
        tuned = self._tuned
        by_bytes_s, by_requests_s = self._allowed(upload_bytes, is_first=is_first)
        while True:
            asked_s = self._clock()
            by_rate_s = lane.rates.turn(key, asked_s, is_first=is_first) if self._knobs.enabled else asked_s
            at_s = max(by_rate_s, by_requests_s)
            if by_bytes_s > max(at_s, asked_s):
                self._held_by_bytes_s = asked_s
            elif at_s > asked_s and not is_first:
                self._held_s = asked_s
            if not await lane.raised_before(by_rate_s, asked_s):
                break
        while (left_s := max(by_requests_s, by_bytes_s) - self._clock()) > 0:
            if by_bytes_s > by_requests_s:
                self._held_by_bytes_s = self._clock()
            else:
                self._held_s = self._clock()
            with trio.move_on_after(min(left_s, _RECENT_S / 2)):
                await tuned.wait()
                tuned = self._tuned
                by_bytes_s, by_requests_s = self._allowed(upload_bytes, is_first=is_first)
        return asked_s

    def _allowed(self, upload_bytes: int, *, is_first: bool) -> tuple[float, float]:
        """Take the next turns that a person's limits allow, of bytes and of requests."""
        now_s = self._clock()
        by_bytes_s = self._bytes.take(now_s, amount=upload_bytes) if upload_bytes else now_s
        return by_bytes_s, self._requests.take(now_s, is_first=is_first)

    # --- after ---

    def _answered(self, lane: _Lane, key: str) -> None:
        self._answered_s = self._clock()
        if lane.rates.accepted(key, self._clock()):
            lane.raise_rates()
        lane.window.answered(lane.in_flight)
        lane.resize()
        self._alive()

    def _throttled(self, lane: _Lane, key: str, asked_s: float) -> None:
        self._refused_s = self._clock()
        self._refusals.add(self._refused_s)
        lane.rates.refused(key, self._refused_s, asked_s=asked_s)
        self._alive()

    def _unanswered(self, lane: _Lane, asked_s: float) -> None:
        now_s = self._clock()
        lane.window.failed(now_s, asked_s=asked_s)
        lane.resize()
        self._outage.failed(now_s)

    def _alive(self) -> None:
        if self._outage.answered():
            self._reached.set()
            self._reached = trio.Event()


class _Lane:
    """One class of requests."""

    def __init__(self, rates: Prefixes) -> None:
        self.rates = rates
        self.window = Window()
        self.limiter = trio.CapacityLimiter(self.window.size)
        self.in_flight = 0
        self._raised = trio.Event()

    async def raised_before(self, at_s: float, now_s: float) -> bool:
        """Wait until a turn is due. Returns whether the rates were raised before: then it is nobody's."""
        if at_s <= now_s:
            return False
        raised = self._raised
        with trio.move_on_after(at_s - now_s):
            await raised.wait()
            return True
        return False

    def raise_rates(self) -> None:
        """Let everybody who waits take another turn."""
        self._raised.set()
        self._raised = trio.Event()

    def resize(self) -> None:
        if self.limiter.total_tokens != self.window.size:
            self.limiter.total_tokens = self.window.size
