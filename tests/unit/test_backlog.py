"""What a large backlog costs: what is asked at every step is found by an index, and what it adds up to is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusecache.errors import FusecacheError
from fusecache.namespace.backlog import Totals
from fusecache.namespace.records import Stuck, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo, Seq
from tests.unit.builders import Upper, check

QUESTIONS: dict[str, Callable[[Tables], object]] = {
    "due": lambda t: list(t.tasks.due(now_ns=1, synced_seq=Seq(1))),
    "next flow": lambda t: t.flows.after(InodeNo(0)),
    "due of a flow": lambda t: t.flows.due(InodeNo(1), now_ns=1, synced_seq=Seq(1), count=1),
    "deletes_due": lambda t: list(t.tasks.deletes_due(now_ns=1, synced_seq=Seq(1))),
    "next_due_ns": lambda t: t.tasks.next_due_ns(after_ns=1),
    "deletes_after": lambda t: t.tasks.deletes_after(1, count=1),
    "unfinished": lambda t: list(t.tasks.unfinished(first=Seq(0), before=Seq(9))),
    "since": lambda t: t.tasks.since(Seq(1), after_task=0, count=1),
    "has_relocations": lambda t: t.tasks.has_relocations(),
    "is_leaving": lambda t: t.tasks.is_leaving(t.directories.get(1).store),
    "stuck": lambda t: t.tasks.stuck(count=1),
    "dirty": lambda t: t.backlog.dirty(),
    "local": lambda t: t.backlog.local(),
    "oldest_ns": lambda t: t.backlog.oldest_ns(),
}
"""What a step of the plan, a page of a flush and `stat` ask."""


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Upper]:
    upper = Upper(tmp_path / "namespace.db")
    yield upper
    check(upper.ns)
    upper.close()


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_asked_all_the_time_is_found_by_an_index(upper: Upper, name: str) -> None:
    """No table of tasks is read through, and none is sorted."""
    db = upper.ns.database.connection
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    QUESTIONS[name](upper.ns.tables)
    db.set_trace_callback(None)
    steps = [row[3] for each in asked for row in db.execute(f"EXPLAIN QUERY PLAN {each}").fetchall()]
    assert steps
    assert not [step for step in steps if step == "SCAN task" or "TEMP B-TREE" in step], steps


def test_files_are_counted_with_the_bytes_that_are_to_be_sent(upper: Upper) -> None:
    """Each write makes a file longer by one."""
    for path in ("a", "a", "b"):
        upper.write(path)
    assert upper.ns.tables.backlog.dirty() == Totals(files=2, bytes=3, stuck=0)
    upper.unlink("b")
    assert upper.ns.tables.backlog.dirty().bytes == 2
    upper.upload("a")
    assert upper.ns.tables.backlog.dirty().bytes == 0


@pytest.mark.parametrize("tables", [("task", "inode"), ("inode", "task")])
def test_it_does_not_matter_what_of_a_file_goes_first(upper: Upper, tables: tuple[str, str]) -> None:
    for path in ("a", "b"):
        upper.write(path)
    ino = upper.ino("a")
    with upper.ns.database.transaction() as db:
        for table in tables:
            db.execute(f"DELETE FROM {table} WHERE ino = ?", (ino,))
    assert upper.ns.tables.backlog.dirty() == Totals(files=1, bytes=1, stuck=0)
    upper.ns.tables.inodes.delete(ino)
    with upper.ns.database.transaction():
        upper.ns.tables.dentries.delete(upper.place("a"))


def test_what_stays_here_is_counted_apart(upper: Upper) -> None:
    upper.mkdir("_temporary")
    upper.write("_temporary/a")
    upper.ns.drain.staged([upper.task(TaskKind.UPLOAD, "_temporary/a")])
    assert upper.ns.tables.backlog.local() == Totals(files=1, bytes=1, stuck=0)
    upper.rename("_temporary/a", "a")
    upper.write("a")
    assert upper.ns.tables.backlog.local() == Totals(files=0, bytes=0, stuck=0)
    assert upper.ns.tables.backlog.dirty().bytes == 2


def test_stuck_ones_are_counted_until_they_are_wanted_anew(upper: Upper) -> None:
    upper.write("a")
    task = upper.task(TaskKind.UPLOAD, "a")
    upper.ns.drain.failed(task, error="no", stuck=Stuck.REFUSED, due_ns=upper.now_ns)
    assert upper.ns.tables.backlog.dirty() == Totals(files=1, bytes=1, stuck=1)
    upper.write("a")
    assert upper.ns.tables.backlog.dirty() == Totals(files=1, bytes=2, stuck=0)


def test_what_was_rolled_back_was_never_counted(upper: Upper) -> None:
    upper.write("a")

    def fail() -> None:
        with upper.ns.database.transaction() as db:
            db.execute("DELETE FROM task")
            assert upper.ns.tables.backlog.dirty().files == 0
            raise FusecacheError

    with pytest.raises(FusecacheError):
        fail()
    assert upper.ns.tables.backlog.dirty() == Totals(files=1, bytes=1, stuck=0)


def test_a_restart_counts_anew(upper: Upper) -> None:
    upper.write("a")
    upper.mkdir("d")
    before = upper.ns.tables.backlog.dirty()
    upper.crash()
    assert upper.ns.tables.backlog.dirty() == before == Totals(files=2, bytes=1, stuck=0)


def test_the_oldest_is_of_the_earliest_acknowledgement(upper: Upper) -> None:
    backlog = upper.ns.tables.backlog
    assert backlog.oldest_ns() is None
    upper.write("a")
    first = backlog.oldest_ns()
    upper.write("b")
    upper.write("a")
    assert backlog.oldest_ns() == first
    upper.upload("a")
    assert (backlog.oldest_ns() or 0) > (first or 0)
