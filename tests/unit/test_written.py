"""The upload of a file from its create to its close, in as few statements as that takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusecache.namespace.records import Task, TaskKind
from fusecache.types import ROOT_INO, Seq
from tests.unit.builders import DELAY_NS, Upper, check

_WHAT_COUNTS = ("kind", "store", "key", "source", "generation", "due_ns", "since_ns", "staged", "attributes", "stuck")


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Upper]:
    upper = Upper(tmp_path / "namespace.db")
    yield upper
    check(upper.ns)
    upper.close()


def flow_of(upper: Upper, task: Task) -> int:
    flow: int = upper.ns.database.connection.execute("SELECT flow FROM task WHERE task = ?", (task.task,)).fetchone()[0]
    return flow


def test_the_first_upload_of_a_file_is_as_any_that_is_wanted(upper: Upper) -> None:
    upper.mkdir("d")
    upper.create("d/made")
    made = upper.task(TaskKind.UPLOAD, "d/made")
    with upper.ns.database.transaction() as db:
        db.execute("DELETE FROM task WHERE task = ?", (made.task,))
        tables = upper.ns.tables
        tables.tasks.want(TaskKind.UPLOAD, made.inode_no, made.store, seq=made.seq, due_ns=None, now_ns=made.since_ns)
    wanted = upper.task(TaskKind.UPLOAD, "d/made")
    assert [getattr(made, name) for name in _WHAT_COUNTS] == [getattr(wanted, name) for name in _WHAT_COUNTS]
    assert (made.seq, made.since_seq) == (wanted.seq, wanted.since_seq)
    assert flow_of(upper, wanted) == upper.ino("d") != ROOT_INO


def test_a_create_notes_its_directory_as_the_flow(upper: Upper) -> None:
    upper.mkdir("d")
    upper.create("d/made")
    assert flow_of(upper, upper.task(TaskKind.UPLOAD, "d/made")) == upper.ino("d")


@pytest.mark.parametrize("is_staged", [False, True])
def test_a_close_makes_an_upload_due_whether_it_was_local_so_far_or_not(upper: Upper, is_staged: bool) -> None:
    """What is below a staging name is parked by the plan, which looks at it anew after each close."""
    ino = upper.create("f")
    upload = upper.task(TaskKind.UPLOAD, "f")
    if is_staged:
        with upper.ns.database.transaction():
            upper.ns.tables.tasks.stage(upload.task)
    upper.close_file(ino)
    closed = upper.task(TaskKind.UPLOAD, "f")
    assert (closed.staged, closed.due_ns) == (0, upper.now_ns + DELAY_NS)
    assert closed.generation == upload.generation + 1
    assert closed.seq > upload.seq


def test_nothing_falls_due_where_there_is_no_upload(upper: Upper) -> None:
    ino = upper.mkdir("d")
    with upper.ns.database.transaction():
        assert not upper.ns.tables.written.closed(ino, seq=Seq(99), due_ns=1, cap_ns=1)
