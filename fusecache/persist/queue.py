"""In which order tasks are looked at: the oldest first, and directories in turn, so that nobody waits for a burst."""

from __future__ import annotations

from collections.abc import Iterator

from fusecache.namespace.flows import Flows
from fusecache.namespace.records import Task
from fusecache.namespace.tasks import Tasks
from fusecache.persist.inflight import InFlight
from fusecache.types import InodeNo, Seq

_LOOKED_AT = 16
"""Directories in which nothing may be due, before the turn goes back to the oldest task."""
_AHEAD = 8
"""Tasks of one directory that are looked at in its turn, the oldest: the smallest file of them that need not wait."""


class Queue:
    """Every second task is the oldest that is due, every other a small one of the oldest of the next directory.

    A job of ten files beside one of a million in another directory is through after a few turns, and the million
    lose at most half of theirs. What a flush waits for is due before all else, and goes first.
    """

    def __init__(self, tasks: Tasks, flows: Flows, inflight: InFlight) -> None:
        self._tasks = tasks
        self._flows = flows
        self._inflight = inflight
        self._flow = InodeNo(0)

    def due(self, *, now_ns: int, synced_seq: Seq) -> Iterator[Task]:
        """Yield each task that may be carried out now, once, lazily: with one free slot, a few rows are read.

        To be finished with before anything is changed.
        """
        given: set[int] = set()
        for oldest in self._tasks.due(now_ns=now_ns, synced_seq=synced_seq):
            if oldest.task in given or oldest.task in self._inflight:
                continue
            given.add(oldest.task)
            yield oldest
            if oldest.due_ns == 0:
                continue
            turn = self._next_turn(given, now_ns=now_ns, synced_seq=synced_seq)
            if turn is not None:
                given.add(turn.task)
                yield turn

    def _next_turn(self, given: set[int], *, now_ns: int, synced_seq: Seq) -> Task | None:
        for _ in range(_LOOKED_AT):
            flow = self._flows.after(self._flow)
            if flow is None:
                self._flow = InodeNo(0)
                continue
            self._flow = flow
            for task in self._flows.due(flow, now_ns=now_ns, synced_seq=synced_seq, count=_AHEAD):
                if task.task not in given and task.task not in self._inflight:
                    return task
        return None
