"""How long what has to wait is left alone, and when to believe that it waits for itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from fusecache.namespace.records import Task
from fusecache.namespace.tables import Tables
from fusecache.namespace.tasks import PAUSED_NS

_HOLD_NS = 50_000_000
_MAX_HOLD_NS = 1_000_000_000
"""What is held is looked at again after 50 ms, doubling to 1 s: mostly a worker that ends soon is in the way."""
_CIRCLE_HOLDS = 4
"""Held so often, with nothing in flight or in a circle that is seen: it waits for somebody who waits for it."""
_RECALLED = 256
"""Of more than that, each is looked at when it is its turn."""


class Stalemate:
    """Counts how often tasks were held. When nothing goes on, all are looked at in one step: then it is sure."""

    def __init__(self, tables: Tables) -> None:
        self._t = tables
        self._held: dict[int, int] = {}
        self._is_recalled = False

    def held(self) -> Collection[int]:
        """Return the tasks that were due, but had to wait for others, when they were last looked at."""
        return self._held.keys()

    def hold_ns(self, task: Task) -> int:
        """It has to wait: return for how long it is left alone."""
        count = self._held[task.task] = self._held.get(task.task, 0) + 1
        return min(_HOLD_NS << min(count, 10), _MAX_HOLD_NS)

    def forget(self, task: int) -> None:
        """It need not wait, or is gone."""
        self._held.pop(task, None)

    def start_anew(self) -> None:
        """One of those that waited for each other goes on."""
        self._held.clear()
        self._is_recalled = False

    def gone(self, *, count: int) -> Iterator[int]:
        """Of some, forget and yield those that are gone without having been carried out: of files that were removed."""
        for task in list(islice(self._held, count)):
            holds = self._held.pop(task)
            if self._t.tasks.get(task) is not None:
                self._held[task] = holds  # behind those that are looked at next time
            else:
                yield task

    def recalled(self, *, is_idle: bool) -> list[Task]:
        """Return all that is held, once, if nothing goes on: to be looked at in one step."""
        was_recalled, self._is_recalled = self._is_recalled, is_idle
        if was_recalled or not is_idle:
            return []
        if not 0 < len(self._held) <= _RECALLED:
            self._is_recalled = False
            return []
        held = (self._t.tasks.get(number) for number in self._held)
        return [task for task in held if task is not None and task.due_ns is not None and task.due_ns < PAUSED_NS]

    def is_sure(self, now_ns: int) -> bool:
        """Whether what is held was recalled, and nothing else falls due for as long as it would be left alone."""
        if not self._is_recalled:
            return False
        next_ns = self._t.tasks.next_due_ns(after_ns=now_ns)
        return next_ns is None or next_ns > now_ns + _MAX_HOLD_NS

    def is_over(self, task: Task, *, is_idle: bool, is_sure: bool) -> bool:
        """Whether it has been held for so long that it may wait for itself."""
        count = self._held.get(task.task, 0)
        if is_sure:
            return count > 0
        return count >= _CIRCLE_HOLDS and (is_idle or count.bit_count() == 1)  # a backlog is not looked at each time
