"""Which part of a store is throttled by itself: learned from whom the refusals meet.

S3 limits requests per partition of a bucket, which is a range of keys that it chooses and changes; a limit may as
well be the whole bucket's, or a person's. All begin with one rate; a prefix gets its own when it alone is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fusecache.backends.pace.knobs import Aimd
from fusecache.backends.pace.rate import Rate

_MAX_PREFIXES = 64
"""Rates of their own; beyond it a prefix shares that of the one above."""
_BURSTS = 2
_ENOUGH = 8
"""Requests elsewhere that were accepted while one prefix was refused in so many bursts: then it is that prefix."""
_CALM_S = 60.0
"""A prefix that was not refused for so long needs no rate of its own any more."""
_NOTHING: Mapping[str, float] = MappingProxyType({})


class Prefixes:
    """The rates of one class of requests: pure, its caller brings the time in seconds."""

    def __init__(self, knobs: Aimd, *, per_s: float, now_s: float, known: Mapping[str, float] = _NOTHING) -> None:
        """`known` as that of an earlier process: prefixes that had a rate begin with it."""
        self._knobs = knobs
        self._nodes = {"": _Node(Rate(knobs, per_s=per_s, now_s=now_s))}
        for prefix, accepted in known.items():
            self._nodes[prefix] = _Node(Rate(knobs, per_s=accepted, now_s=now_s, slowed_s=now_s, knee=accepted))

    def turn(self, key: str, now_s: float, *, is_first: bool) -> float:
        """Take a turn for a request about `key` and return when it is: of its prefix's rate and of those above."""
        return max(node.rate.turn(now_s, is_first=is_first) for _, node in self._over(key))

    def accepted(self, key: str, now_s: float) -> bool:
        """The store has answered a request about `key`, whatever it said.

        Returns whether a rate was raised for it. Then turns that are not yet due are nobody's: they were as far ahead
        as the rate was low, and whoever has one takes another.
        """
        path, is_raised = list(self._over(key)), False
        for prefix, node in path:
            is_raised = node.rate.accepted(now_s) or is_raised
            node.elsewhere += node.bursts and _below(prefix, key) != node.suspect
        for prefix, node in path[1:]:
            if node.rate.calm_s(now_s) > _CALM_S:
                self._forget(prefix)
                break
        if is_raised:
            for node in self._nodes.values():
                node.rate.recall(now_s)
        return is_raised

    def refused(self, key: str, now_s: float, *, asked_s: float) -> bool:
        """The store has refused a request about `key` that asked for its turn at `asked_s`.

        Returns whether a rate was lowered for it.
        """
        prefix, node = list(self._over(key))[-1]
        per_s, child = node.rate.per_s, _below(prefix, key)
        is_news = node.rate.refused(now_s, asked_s=asked_s)
        if not node.bursts:
            node.per_s, node.suspect, node.is_alone = per_s, child, child is not None
        node.is_alone = node.is_alone and child == node.suspect
        node.bursts += is_news
        if node.bursts >= _BURSTS:
            self._judge(node, now_s)
        return is_news

    def rates(self) -> Iterator[tuple[str, float]]:
        """Yield each prefix that has a rate, "" for all, and its requests a second."""
        for prefix, node in sorted(self._nodes.items()):
            yield prefix, node.rate.per_s

    def known(self) -> dict[str, float]:
        """Return the requests a second that the store is known to take, by prefix; none before it refuses some."""
        rates = ((prefix, node.rate.accepted_per_s) for prefix, node in sorted(self._nodes.items()))
        return {prefix: per_s for prefix, per_s in rates if per_s is not None}

    def _judge(self, node: _Node, now_s: float) -> None:
        """After some bursts: were all refused below one child, while others went through?"""
        if node.is_alone and node.elsewhere >= _ENOUGH and len(self._nodes) < _MAX_PREFIXES:
            assert node.suspect is not None
            self._nodes[node.suspect] = _Node(Rate(self._knobs, per_s=node.rate.per_s, now_s=now_s, slowed_s=now_s))
            node.rate.restore(node.per_s)
        node.bursts = node.elsewhere = 0

    def _forget(self, prefix: str) -> None:
        for each in [each for each in self._nodes if each.startswith(prefix)]:
            del self._nodes[each]

    def _over(self, key: str) -> Iterator[tuple[str, _Node]]:
        """The prefixes of `key` that have a rate, the shortest first."""
        yield "", self._nodes[""]
        if len(self._nodes) == 1:
            return
        end = key.find("/") + 1
        while end:
            if (node := self._nodes.get(key[:end])) is not None:
                yield key[:end], node
            end = key.find("/", end) + 1


class _Node:
    """A prefix's rate, and the evidence since the first refusal that was not judged yet."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.bursts = 0
        self.per_s = rate.per_s
        """Before the first of these bursts."""
        self.suspect: str | None = None
        self.is_alone = False
        """Whether all that was refused is below the suspect."""
        self.elsewhere = 0
        """Accepted requests that were not."""


def _below(prefix: str, key: str) -> str | None:
    """The prefix of `key` that is one part longer than `prefix`; None if it is a name there."""
    end = key.find("/", len(prefix)) + 1
    return key[:end] if end else None
