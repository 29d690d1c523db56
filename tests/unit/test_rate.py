"""The rate that AIMD finds against a store with a token bucket, simulated: no waiting, no chance but a seed's."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest

from fusecache.backends.pace import Aimd
from fusecache.backends.pace.outage import Outage
from fusecache.backends.pace.prefixes import Prefixes
from fusecache.backends.pace.rate import Rate
from fusecache.backends.pace.turns import Turns
from fusecache.backends.pace.window import Window

KNOBS = Aimd()
LATENCY_S = 0.02
WORKERS = 16
MACHINE_PER_S = 400.0
"""What the sender could do without a limit."""

Limit = Callable[[float], float]


class Run:
    """Workers that send one request after the other through `rates`, each to its own key."""

    def __init__(self, rates: Prefixes, limits: dict[str, Limit], *, burst_s: float, every: int = 0) -> None:
        """`limits` of keys that begin so, in requests a second; buckets hold `burst_s` of them.

        Beside these, each `every`th request is refused, however slowly they come.
        """
        self._every, self._answers = every, count(1)
        self.accepted: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.by_prefix: Counter[str] = Counter()
        self._rates = rates
        self._limits = limits
        self._burst_s = burst_s
        self._buckets: dict[str, tuple[float, float]] = {}
        self._rng = random.Random(1)

    def until(self, end_s: float, keys: list[str]) -> Run:
        order, sender_s = count(), 0.0
        queue = [(0.0, next(order), "ask", keys[worker % len(keys)], 0.0) for worker in range(WORKERS)]
        while queue[0][0] < end_s:
            now_s, _, what, key, asked_s = heapq.heappop(queue)
            if what == "ask":
                follow = (self._rates.turn(key, now_s, is_first=False), next(order), "send", key, now_s)
            elif what == "send":
                sender_s = max(sender_s, now_s) + 1 / MACHINE_PER_S
                answer_s = max(now_s, sender_s) + LATENCY_S * self._rng.uniform(0.5, 1.5)
                follow = (answer_s, next(order), "answer", key, asked_s)
            else:
                if self._answer(key, now_s, asked_s):
                    queue = [(now_s, nth, "ask", *rest) if do == "send" else (s, nth, do, *rest)
                             for s, nth, do, *rest in queue]  # fmt: skip
                    heapq.heapify(queue)
                follow = (now_s, next(order), "ask", key, now_s)
            heapq.heappush(queue, follow)
        return self

    def _answer(self, key: str, now_s: float, asked_s: float) -> bool:
        """Returns whether whoever waits has to take another turn."""
        is_struck = self._every and next(self._answers) % self._every == 0
        taken = [self._takes(prefix, now_s) for prefix in self._limits if key.startswith(prefix)]
        if all(taken) and not is_struck:
            self.accepted[int(now_s)] += 1
            self.by_prefix[key.rpartition("/")[0]] += 1
            return self._rates.accepted(key, now_s)
        self.refused[int(now_s)] += 1
        self._rates.refused(key, now_s, asked_s=asked_s)
        return False

    def _takes(self, prefix: str, now_s: float) -> bool:
        limit = self._limits[prefix](now_s)
        tokens, last_s = self._buckets.get(prefix, (limit * self._burst_s, now_s))
        tokens = min(max(1.0, limit * self._burst_s), tokens + (now_s - last_s) * limit)
        self._buckets[prefix] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        return tokens >= 1

    def mean(self, first_s: int, last_s: int) -> float:
        return sum(self.accepted[second] for second in range(first_s, last_s)) / (last_s - first_s)


def rates() -> Prefixes:
    return Prefixes(KNOBS, per_s=KNOBS.initial_rate, now_s=0.0)


@pytest.mark.parametrize("burst_s", [0.1, 0.5, 1.0, 2.0])
def test_a_steady_limit_is_used_and_seldom_hit(burst_s: float) -> None:
    run = Run(rates(), {"": lambda _: 200.0}, burst_s=burst_s).until(60.0, ["t/a"])
    assert run.mean(0, 25) >= 200 / 1.15
    refused = sum(run.refused[second] for second in range(10, 60))
    assert refused <= 0.05 * 50 * run.mean(10, 60)


@pytest.mark.parametrize("burst_s", [0.1, 1.0])
def test_a_limit_that_changes_is_found_within_seconds(burst_s: float) -> None:
    limits: dict[str, Limit] = {"": lambda s: 200.0 if s < 20 else 50.0 if s < 50 else 1000.0}
    run = Run(rates(), limits, burst_s=burst_s).until(80.0, ["t/a"])
    assert run.mean(30, 50) >= 0.8 * 50
    assert run.mean(60, 80) >= 0.8 * MACHINE_PER_S


@pytest.mark.parametrize("for_s", [2.0, 30.0, 300.0])
def test_a_store_that_refused_everything_is_soon_used_again(for_s: float) -> None:
    """Although the rate fell to the least, and everybody has a turn that is many times its distance ahead."""
    limits: dict[str, Limit] = {"": lambda s: 0.0 if 20 <= s < 20 + for_s else 200.0}
    run = Run(rates(), limits, burst_s=0.5).until(60.0 + for_s, ["t/a"])
    again_s = int(20 + for_s + 1 / KNOBS.min_rate)
    assert run.mean(again_s + 10, again_s + 30) >= 0.8 * 200


@pytest.mark.parametrize("lower", [10.0, 30.0, 80.0, 120.0])
@pytest.mark.parametrize("burst_s", [0.1, 1.0])
def test_going_slower_is_seen_to_help(lower: float, burst_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that fell is none that refuses at any rate."""
    taken_back = []
    monkeypatch.setattr(Rate, "_back_to", lambda _, per_s: taken_back.append(per_s))
    limits: dict[str, Limit] = {"": lambda s: 400.0 if s < 20 else lower}
    Run(rates(), limits, burst_s=burst_s).until(60.0, ["t/a"])
    assert not taken_back


def test_without_a_limit_nothing_holds_it_up() -> None:
    run = Run(rates(), {}, burst_s=1.0).until(20.0, ["t/a"])
    assert not run.refused
    assert run.mean(5, 20) >= 0.95 * MACHINE_PER_S


def test_a_prefix_that_is_throttled_alone_gets_a_rate_of_its_own() -> None:
    learned = rates()
    run = Run(learned, {"hot/": lambda _: 20.0}, burst_s=0.5).until(60.0, ["hot/x/a", "cold/a", "cold/b", "c/d"])
    assert [prefix for prefix, _ in learned.rates()] == ["", "hot/"]
    assert run.mean(40, 60) >= 0.6 * MACHINE_PER_S, "the others do not wait for it"
    assert 10 <= dict(learned.rates())["hot/"] <= 40
    assert dict(learned.rates())[""] > 200


def test_it_is_the_longest_such_prefix() -> None:
    learned = rates()
    Run(learned, {"t/hot/": lambda _: 20.0}, burst_s=0.5).until(90.0, ["t/hot/a", "t/cold/a", "t/cold/b", "u/d"])
    assert "t/hot/" in [prefix for prefix, _ in learned.rates()]


def test_a_prefix_that_is_throttled_no_more_is_forgotten() -> None:
    learned = rates()
    limits: dict[str, Limit] = {"hot/": lambda s: 20.0 if s < 30 else 1e9}
    Run(learned, limits, burst_s=0.5).until(120.0, ["hot/a", "cold/a", "cold/b", "c/d"])
    assert [prefix for prefix, _ in learned.rates()] == [""]


@pytest.mark.parametrize("every", [2, 3, 5, 8])
def test_refusals_at_any_rate_are_no_reason_to_go_slowly(every: int) -> None:
    run = Run(rates(), {}, burst_s=1.0, every=every).until(120.0, ["t/a"])
    assert run.mean(10, 120) >= 0.6 * (1 - 1 / every) * MACHINE_PER_S


@pytest.mark.parametrize("every", [2, 5])
@pytest.mark.parametrize("limit", [20.0, 100.0])
def test_a_limit_beside_such_refusals_does_not_stop_it(every: int, limit: float) -> None:
    run = Run(rates(), {"": lambda _: limit}, burst_s=0.5, every=every).until(120.0, ["t/a"])
    assert run.mean(10, 120) >= 0.1 * limit
    assert sum(run.refused[second] for second in range(10, 120)) <= 110 * limit


def test_what_was_learned_before_spares_a_later_process_the_refusals() -> None:
    limits: dict[str, Limit] = {"": lambda _: 100.0, "hot/": lambda _: 20.0}
    keys, learned = ["hot/a", "cold/a", "cold/b", "c/d"], rates()
    first = Run(learned, limits, burst_s=0.1).until(60.0, keys)
    assert "hot/" in learned.known()
    again = Prefixes(KNOBS, per_s=KNOBS.initial_rate, now_s=0.0, known=learned.known())
    later = Run(again, limits, burst_s=0.1).until(5.0, keys)
    assert sum(first.refused[second] for second in range(5)) > 30
    assert sum(later.refused[second] for second in range(5)) <= 0.05 * 5 * later.mean(0, 5)
    assert later.mean(0, 5) >= 0.8 * 100


def test_a_limit_that_was_lifted_since_it_was_hit_is_not_remembered() -> None:
    learned = rates()
    Run(learned, {"": lambda s: 20.0 if s < 20 else 1e9}, burst_s=0.1).until(60.0, ["t/a"])
    assert learned.known()[""] > 0.8 * MACHINE_PER_S


def test_of_a_store_that_refused_nothing_there_is_nothing_to_remember() -> None:
    learned = rates()
    Run(learned, {}, burst_s=1.0).until(20.0, ["t/a"])
    assert learned.known() == {}


def test_one_decrease_a_burst() -> None:
    rate = Rate(KNOBS, per_s=100.0, now_s=0.0)
    assert rate.refused(1.0, asked_s=0.5)
    assert not rate.refused(1.01, asked_s=0.9)
    assert not rate.refused(1.02, asked_s=1.01), "too soon: the bucket is still empty"
    assert rate.per_s == 50.0
    assert rate.refused(2.0, asked_s=1.5)
    assert rate.per_s == 25.0


def test_never_below_the_least_rate() -> None:
    rate = Rate(KNOBS, per_s=1.0, now_s=0.0)
    for second in range(1, 100):
        rate.refused(second, asked_s=second - 0.1)
    assert rate.per_s == KNOBS.min_rate


def test_a_rate_that_nobody_waits_for_does_not_grow() -> None:
    rate = Rate(KNOBS, per_s=100.0, now_s=0.0)
    for tenth in range(1, 200):
        rate.turn(tenth / 10, is_first=False)
        rate.accepted(tenth / 10)
    assert rate.per_s == 100.0


def test_turns_of_who_comes_first() -> None:
    turns = Turns(10.0)
    assert [turns.take(0.0) for _ in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    assert turns.take(0.0, is_first=True) == 0.0
    assert turns.take(0.0) == pytest.approx(0.4), "theirs is paid by the others"
    assert Turns(None).take(5.0) == 5.0


def test_a_window_halves_once_for_all_that_were_under_way() -> None:
    window = Window()
    for _ in range(12):
        window.answered(window.size)
    assert window.size == 16
    window.failed(1.0, asked_s=0.5)
    window.failed(1.1, asked_s=0.6)
    assert window.size == 8
    window.answered(3)
    assert window.size == 8, "not used"
    for second in range(2, 10):
        window.failed(second, asked_s=second - 0.5)
    assert window.size == 1


def test_probes_of_an_outage_grow_rarer() -> None:
    outage = Outage()
    for second in (1.0, 1.1, 1.2):
        outage.failed(second)
    assert outage.since_s == 1.0
    probes, now_s = 0, 1.2
    while now_s < 60:
        at_s = outage.probe(now_s)
        probes += at_s == now_s
        assert at_s == now_s or outage.probe(now_s) == at_s, "others wait for the same"
        now_s = max(at_s, now_s + 0.001)
    assert 10 <= probes <= 25
    assert outage.answered()
    assert outage.since_s is None
