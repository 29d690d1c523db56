"""Until when what is deleted in a finished table waits for what else is, by the rows and by a clock of the test's."""

from __future__ import annotations

import pytest

from fusecache.config.model import MARKERS, STAGING
from fusecache.config.rules import Rule, Rules
from fusecache.namespace.records import Stuck, TaskKind
from fusecache.persist.removals import Removals
from fusecache.persist.settling import Settling
from fusecache.persist.staging import Patterns
from fusecache.types import ObjectKey
from tests.unit.builders import DELAY_NS, Upper


class Rig:
    """A namespace with a finished table `t`, known name by name, and what else its tests put there."""

    def __init__(self, upper: Upper) -> None:
        self.upper = upper
        self.follow(MARKERS)
        for directory in ("t", "t/p"):
            upper.foreign_dir(directory)
        for path in ("t/_SUCCESS", *(f"t/{name}" for name in "abc"), "t/p/d", "e", "f"):
            upper.foreign(path)

    def follow(self, markers: tuple[str, ...], *rules: Rule) -> None:
        """Begin anew, as a daemon does."""
        patterns = Patterns(staging=STAGING, markers=markers, rules=Rules(rules))
        self._settling = Settling(self.upper.ns.tables, patterns, delay_ns=DELAY_NS)
        self._removals = Removals(self.upper.ns.tables, self._settling.note)

    def unlink(self, *paths: str) -> None:
        for path in paths:
            self.upper.unlink(path)

    def pass_ns(self, ns: int) -> None:
        self.upper.now_ns += ns

    def plan(self) -> list[str]:
        """Carry out what a plan decides of deletes alone, and return the keys that may go."""
        while self._removals.look(self.upper.now_ns):
            pass
        now_ns, drain = self.upper.now_ns, self.upper.ns.drain
        while settled := self._settling.settled(now_ns):
            drain.postponed([(task, now_ns) for task in settled])
        keys = []
        for task in list(self.upper.ns.tables.tasks.deletes_due(now_ns=now_ns, synced_seq=self.upper.epoch)):
            until_ns = self._settling.until_ns(task, now_ns)
            if until_ns is None:
                keys.append(str(task.key))
            else:
                assert now_ns < until_ns <= task.since_ns + 10 * DELAY_NS
                drain.postponed([(task, until_ns)])
        return sorted(keys)

    def next_in_ns(self) -> int | None:
        next_ns = self._settling.next_ns()
        return None if next_ns is None else next_ns - self.upper.now_ns


@pytest.fixture
def rig(upper: Upper) -> Rig:
    return Rig(upper)


def test_what_is_deleted_in_a_finished_table_waits_for_the_last(rig: Rig) -> None:
    rig.unlink("t/a")
    rig.pass_ns(DELAY_NS - 1)
    rig.unlink("t/p/d")
    assert rig.plan() == []
    assert rig.next_in_ns() == DELAY_NS
    rig.pass_ns(DELAY_NS - 1)
    assert rig.plan() == []
    rig.pass_ns(1)
    assert rig.plan() == ["t/a", "t/p/d"]
    assert rig.next_in_ns() is None


def test_and_for_nothing_once_the_marker_is_deleted(rig: Rig) -> None:
    """It is that delete that the others wait for then."""
    rig.unlink("t/a")
    rig.pass_ns(DELAY_NS - 1)
    rig.unlink("t/_SUCCESS")
    assert rig.plan() == ["t/a"]
    rig.pass_ns(DELAY_NS)
    assert rig.plan() == ["t/_SUCCESS", "t/a"]


def test_one_alone_waits_no_longer_than_its_delay(rig: Rig) -> None:
    rig.unlink("t/a")
    rig.pass_ns(DELAY_NS)
    assert rig.plan() == ["t/a"]


def test_nobody_waits_for_longer_than_ten_delays(rig: Rig) -> None:
    for number in range(30):
        rig.upper.foreign(f"t/p/{number}")
    rig.unlink("t/a")
    gone = []
    for number in range(30):
        rig.pass_ns(DELAY_NS // 2)
        rig.unlink(f"t/p/{number}")
        gone.append(rig.plan())
    assert gone[18:21] == [[], ["t/a"], ["t/a", "t/p/0"]]


def test_nobody_waits_in_a_tree_without_a_marker(rig: Rig) -> None:
    rig.upper.foreign_dir("u")
    rig.upper.foreign("u/x")
    rig.unlink("u/x", "e")
    rig.pass_ns(DELAY_NS - 1)
    rig.unlink("t/a", "f")
    assert rig.plan() == ["e", "u/x"]


def test_a_marker_and_the_key_of_a_directory_do_not_wait(rig: Rig) -> None:
    rig.upper.foreign("t/_committed_1")
    rig.upper.mkdir("t/q")
    rig.upper.mark("t/q")
    rig.unlink("t/_committed_1")
    rig.upper.rmdir("t/q")
    rig.pass_ns(DELAY_NS - 1)
    rig.unlink("t/a")
    assert rig.plan() == ["t/_committed_1", "t/q/"]


def test_what_somebody_waits_for_does_not_wait(rig: Rig) -> None:
    rig.unlink("t/a", "t/b")
    rig.pass_ns(DELAY_NS - 1)
    rig.unlink("t/c")
    assert rig.plan() == []
    rig.upper.ns.drain.hurried([task for task in rig.upper.tasks() if task.key == "t/b"])
    assert rig.plan() == ["t/b"]
    rig.pass_ns(DELAY_NS)
    assert rig.plan() == ["t/a", "t/b", "t/c"]


def test_what_is_paused_or_was_refused_meanwhile_keeps_its_time(rig: Rig) -> None:
    rig.unlink("t/a", "t/b", "t/c")
    rig.pass_ns(DELAY_NS - 3)
    rig.unlink("t/p/d")
    assert rig.plan() == []
    deletes = {str(task.key): task for task in rig.upper.tasks() if task.kind == TaskKind.DELETE}
    rig.upper.ns.drain.paused([deletes["t/a"]])
    late_ns = rig.upper.now_ns + 100 * DELAY_NS
    rig.upper.ns.drain.failed(deletes["t/b"], error="no", stuck=Stuck.REFUSED, due_ns=late_ns)
    rig.pass_ns(DELAY_NS)
    assert rig.plan() == ["t/c", "t/p/d"]


def test_a_log_that_nobody_has_looked_into_may_hold_markers(rig: Rig) -> None:
    for path in ("u", "u/_delta_log"):
        rig.upper.foreign_dir(path)
    rig.upper.foreign("u/x")
    rig.upper.foreign("u/y")
    rig.unlink("u/x")
    rig.pass_ns(DELAY_NS - 1)
    rig.unlink("u/y")
    assert rig.plan() == []
    rig.upper.rmdir("u/_delta_log")
    rig.pass_ns(DELAY_NS - 1)
    assert rig.plan() == ["u/x", "u/y"]


@pytest.mark.parametrize("pattern", ["*.done", "done-[0-9].?", "done-1.done", "l*s/*"])
def test_patterns_of_a_rule(rig: Rig, pattern: str) -> None:
    rig.follow((), Rule(path="/u", markers=(pattern,)))
    for directory in ("u", "u/logs", "t/logs"):
        rig.upper.foreign_dir(directory)
    for path in ("u/done-1.done", "u/done-1.x", "u/logs/1", "u/a", "u/b", "t/done-1.done", "t/logs/1"):
        rig.upper.foreign(path)
    rig.unlink("u/a", "t/a")
    rig.pass_ns(DELAY_NS - 2)
    rig.unlink("u/b", "t/b")
    assert rig.plan() == ["t/a"]


def test_what_was_deleted_before_a_restart_has_waited(rig: Rig) -> None:
    rig.unlink("t/a")
    rig.pass_ns(DELAY_NS)
    rig.upper.crash()
    rig.follow(MARKERS)
    assert rig.plan() == ["t/a"]


def test_a_clock_that_was_set_back_keeps_nothing(rig: Rig) -> None:
    rig.unlink("t/a")
    rig.upper.now_ns -= 1000 * DELAY_NS
    rig.upper.crash()
    rig.follow(MARKERS)
    rig.upper.ns.tree.recover(now_ns=rig.upper.now_ns)
    rig.pass_ns(DELAY_NS)
    rig.plan()
    rig.pass_ns(DELAY_NS)
    assert rig.plan() == ["t/a"]


def test_many_are_brought_back_in_steps(rig: Rig) -> None:
    for number in range(1200):
        rig.upper.ns.tables.tasks.want_deleted(
            rig.upper.ns.store, ObjectKey(f"t/{number}"), etag=None, seq=rig.upper.epoch,
            due_ns=rig.upper.now_ns, now_ns=rig.upper.now_ns, shield=None,
        )  # fmt: skip
    assert rig.plan() == []
    rig.pass_ns(DELAY_NS)
    assert len(rig.plan()) == 1200
