"""Directories take turns: a burst in one of them delays nobody else for long."""

from __future__ import annotations

from itertools import islice

from fusecache.namespace.records import Task, TaskKind
from fusecache.persist.inflight import InFlight
from fusecache.persist.queue import Queue
from tests.unit.builders import Upper


def queue_of(upper: Upper, inflight: InFlight) -> Queue:
    return Queue(upper.ns.tables.tasks, upper.ns.tables.flows, inflight)


def order(upper: Upper, queue: Queue, count: int) -> list[str]:
    """The directories of the first tasks, as they are looked at."""
    due = queue.due(now_ns=upper.now_ns + 3600 * 10**9, synced_seq=upper.ns.database.seq)
    return [directory_of(upper, task) for task in islice((each for each in due if each.kind == TaskKind.UPLOAD), count)]


def directory_of(upper: Upper, task: Task) -> str:
    (row,) = upper.ns.tables.dentries.of_inode(task.inode_no)
    return b"/".join(upper.ns.tables.directories.names(row.place)[:-1]).decode()


def burst(upper: Upper, directory: str, count: int) -> None:
    if directory:
        upper.mkdir(directory)
    for number in range(count):
        upper.write(f"{directory}/f{number}".lstrip("/"))


def test_every_second_task_is_of_the_next_directory(upper: Upper) -> None:
    burst(upper, "big", 50)
    burst(upper, "late", 5)
    burst(upper, "later", 5)
    seen = order(upper, queue_of(upper, InFlight()), 24)
    assert seen[0] == "big"
    assert seen.count("big") <= 16
    assert seen.count("late") >= 4
    assert seen.count("later") >= 4


def test_a_small_file_of_a_directory_goes_before_the_large_ones(upper: Upper) -> None:
    burst(upper, "a", 5)
    for _ in range(3):
        for name in ("f1", "f2", "f3", "f4"):
            upper.write(f"a/{name}")
    flow = upper.ns.tables.dentries.of_inode(upper.inode("a/f0").ino)[0].parent
    due = upper.ns.tables.flows.due(flow, now_ns=upper.now_ns + 3600 * 10**9, synced_seq=upper.ns.database.seq, count=8)
    assert due[0].ino == upper.inode("a/f0").ino
    assert [upper.ns.tables.inodes.get(task.inode_no).size for task in due] == [1, 4, 4, 4, 4]


def test_each_task_is_given_once(upper: Upper) -> None:
    burst(upper, "a", 20)
    burst(upper, "b", 3)
    queue = queue_of(upper, InFlight())
    due = list(queue.due(now_ns=upper.now_ns + 3600 * 10**9, synced_seq=upper.ns.database.seq))
    assert len(due) == len({task.task for task in due}) == len(upper.tasks())


def test_what_is_in_flight_is_not_given(upper: Upper) -> None:
    burst(upper, "a", 2)
    inflight = InFlight()
    (first, *_) = upper.tasks()
    inflight.claim(first.task, first.store)
    due = queue_of(upper, inflight).due(now_ns=upper.now_ns + 3600 * 10**9, synced_seq=upper.ns.database.seq)
    assert first.task not in [task.task for task in due]


def test_what_a_flush_waits_for_goes_before_any_turn(upper: Upper) -> None:
    burst(upper, "other", 10)
    burst(upper, "wanted", 6)
    ns = upper.ns
    wanted = [task for task in upper.tasks() if task.kind == TaskKind.UPLOAD and directory_of(upper, task) == "wanted"]
    ns.drain.hurried(wanted)
    assert order(upper, queue_of(upper, InFlight()), 6) == ["wanted"] * 6


def test_one_seek_finds_a_turn(upper: Upper) -> None:
    db = upper.ns.database.connection
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    burst(upper, "a", 3)
    asked.clear()
    order(upper, queue_of(upper, InFlight()), 3)
    db.set_trace_callback(None)
    flows = [each for each in asked if "flow" in each]
    assert flows
    steps = [row[3] for each in flows for row in db.execute(f"EXPLAIN QUERY PLAN {each}").fetchall()]
    assert any("INDEX task_flow" in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step], steps
