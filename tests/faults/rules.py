"""What becomes of each request: decided from rules that can be changed between any two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from tests.faults.operations import Operation


class Do(Enum):
    """What happens to a request that a fault is for."""

    ANSWER = "answer"
    """An error; the store never sees the request."""
    DROP_BEFORE = "drop before"
    """The connection is reset before the store sees the request."""
    DROP_AFTER = "drop after"
    """… once the store has answered: nobody here knows that it was carried out."""
    CUT_REQUEST = "cut request"
    """The store gets half of the body, and then a reset, as does whoever sent it."""
    CUT_ANSWER = "cut answer"
    """The headers of the answer arrive, and half of its body."""
    DELAY = "delay"


class Dark(Enum):
    """How a store is away."""

    NO = "no"
    REFUSES = "refuses"
    """Nobody listens, and what was connected is reset."""
    SWALLOWS = "swallows"
    """Nothing is answered, until it is light again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong with every nth of the requests it is for."""

    do: Do
    every: int = 1
    kinds: tuple[str, ...] = ()
    """Classes, or the operations themselves, as `operations.KINDS` has them; none: all."""
    prefix: str = ""
    """Of the keys."""
    suffix: str = ""
    token: str = ""
    """Only requests that are signed for this session."""
    status: int = 500
    code: str = "InternalError"
    retry_after_s: float | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bucket of tokens, one a request: who finds it empty is asked to slow down."""

    per_s: float
    burst: float
    """How many it holds, and at first has."""
    kinds: tuple[str, ...] = ()
    prefix: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything that is wrong with a store just now. Limits come first, then the first fault that applies."""

    limits: tuple[Limit, ...] = ()
    faults: tuple[Fault, ...] = ()
    dark: Dark = Dark.NO

    def to_json(self) -> dict[str, Any]:
        faults = [asdict(fault) | {"do": fault.do.value} for fault in self.faults]
        return {"limits": [asdict(limit) for limit in self.limits], "faults": faults, "dark": self.dark.value}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Rules:
        limits = tuple(Limit(**each | {"kinds": tuple(each["kinds"])}) for each in told["limits"])
        faults = tuple(Fault(**each | {"do": Do(each["do"]), "kinds": tuple(each["kinds"])}) for each in told["faults"])
        return cls(limits=limits, faults=faults, dark=Dark(told["dark"]))


class Verdict(NamedTuple):
    """What becomes of one request."""

    do: Do | None = None
    """None: it is passed on."""
    status: int = 0
    code: str = ""
    retry_after_s: float | None = None
    delay_s: float = 0.0


PASSED = Verdict()


@dataclass(slots=True)
class _Tokens:
    limit: Limit
    left: float
    at: float

    def take(self, now: float) -> bool:
        self.left = min(self.limit.burst, self.left + (now - self.at) * self.limit.per_s)
        self.at = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


@dataclass(slots=True)
class Judge:
    """Applies rules, and counts for them. Its clock is handed in with each request."""

    rules: Rules = field(default_factory=Rules)
    _tokens: dict[Limit, _Tokens] = field(default_factory=dict)
    _seen: dict[Fault, int] = field(default_factory=dict)

    def follow(self, rules: Rules) -> None:
        """Use these from now on; of what stays as it was, tokens and counts stay, too."""
        self.rules = rules
        self._tokens = {limit: tokens for limit, tokens in self._tokens.items() if limit in rules.limits}
        self._seen = {fault: count for fault, count in self._seen.items() if fault in rules.faults}

    def judge(self, operation: Operation, now: float) -> Verdict:
        """Return what becomes of a request that has come at `now`, in seconds of any clock that never goes back."""
        refused = [limit for limit in self._limits(operation) if not self._take(limit, now)]
        if refused:
            return Verdict(Do.ANSWER, 503, "SlowDown", refused[0].retry_after_s)
        struck = [fault for fault in self._faults(operation) if self._is_struck(fault)]
        if not struck:
            return PASSED
        fault = struck[0]
        return Verdict(fault.do, fault.status, fault.code, fault.retry_after_s, fault.delay_s)

    def _limits(self, operation: Operation) -> Iterator[Limit]:
        return (each for each in self.rules.limits if _is_for(each.kinds, each.prefix, operation))

    def _faults(self, operation: Operation) -> Iterator[Fault]:
        found = (each for each in self.rules.faults if _is_for(each.kinds, each.prefix, operation))
        return (each for each in found if operation.key.endswith(each.suffix) and each.token in ("", operation.token))

    def _take(self, limit: Limit, now: float) -> bool:
        return self._tokens.setdefault(limit, _Tokens(limit, limit.burst, now)).take(now)

    def _is_struck(self, fault: Fault) -> bool:
        count = self._seen[fault] = self._seen.get(fault, 0) + 1
        return count % fault.every == 0


def _is_for(kinds: tuple[str, ...], prefix: str, operation: Operation) -> bool:
    is_meant = not kinds or operation.kind in kinds or operation.name in kinds
    return is_meant and operation.key.startswith(prefix)
