"""When to believe that what waits, waits for itself."""

from __future__ import annotations

from pathlib import Path

from fusecache.namespace.records import TaskKind
from fusecache.persist.stalemate import Stalemate
from tests.unit.builders import Upper

SECOND_NS = 1_000_000_000


def test_all_that_is_held_is_recalled_once_when_nothing_goes_on(tmp_path: Path) -> None:
    upper = Upper(tmp_path / "namespace.db")
    for name in ("a", "b"):
        upper.write(name)
    stalemate = Stalemate(upper.ns.tables)
    a, b = (upper.task(TaskKind.UPLOAD, name) for name in ("a", "b"))
    assert not stalemate.recalled(is_idle=True), "nothing is held"
    assert [stalemate.hold_ns(a) for _ in range(6)] == [100_000_000 << n for n in range(3)] + [800_000_000] + [
        SECOND_NS
    ] * 2
    stalemate.hold_ns(b)
    assert not stalemate.recalled(is_idle=False)
    assert [task.task for task in stalemate.recalled(is_idle=True)] == [a.task, b.task]
    assert not stalemate.recalled(is_idle=True), "once"
    stalemate.recalled(is_idle=False)
    assert stalemate.recalled(is_idle=True), "something went on meanwhile"
    upper.close()


def test_it_is_sure_only_if_nothing_else_falls_due_soon(tmp_path: Path) -> None:
    upper = Upper(tmp_path / "namespace.db")
    upper.write("a")
    stalemate = Stalemate(upper.ns.tables)
    task = upper.task(TaskKind.UPLOAD, "a")
    assert task.due_ns is not None
    stalemate.hold_ns(task)
    assert not stalemate.is_sure(task.due_ns), "not recalled"
    stalemate.recalled(is_idle=True)
    assert stalemate.is_sure(task.due_ns)
    assert not stalemate.is_sure(task.due_ns - SECOND_NS // 2), "that one does, in half a second"
    assert stalemate.is_over(task, is_idle=True, is_sure=True)
    assert not stalemate.is_over(task, is_idle=True, is_sure=False), "held once"
    upper.close()
