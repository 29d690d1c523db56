"""What becomes of a task that failed: the one place that decides when it is tried again, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fusecache.errors import (
    BackendUnavailable,
    FusecacheError,
    NoSpace,
    PermanentBackendError,
    Stale,
    StoreRefused,
    Throttled,
    TransientBackendError,
)
from fusecache.namespace.records import Stuck, Task, TaskKind
from fusecache.persist.local import BaseChanged
from fusecache.persist.paths import Paths
from fusecache.persist.tools import Tools

log = logging.getLogger(__name__)

_STALE_NS = 200_000_000
_PATIENCE = 10
"""How often a refused task is tried again soon, while keys are on their way out that may be in its way."""
_THROTTLED_ATTEMPTS = 2
"""A throttled request is sent again soon however often it was refused: the pace is what slows down."""


class Failures:
    """Records failures. Nothing is given up: a task is tried again for ever, at most ever more slowly."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._paths = Paths(tools.namespace.tables)

    def failed(self, tasks: Sequence[Task], exc: Exception) -> None:
        """Try again: soon after what passes, slowly and loudly after a refusal."""
        if isinstance(exc, Stale):
            for task in tasks:  # its name went away meanwhile: planned again
                self._tools.namespace.drain.put_off(task, due_ns=self._tools.wall_ns() + _STALE_NS)
            return
        if isinstance(exc, NoSpace):
            exc = BackendUnavailable(str(exc))
        if isinstance(exc, TransientBackendError):
            self._tools.refused.add()
            for task in tasks:
                attempts = min(task.attempts, _THROTTLED_ATTEMPTS) if isinstance(exc, Throttled) else task.attempts
                delay_s = self._tools.backoff_s(attempts, retry_after_s=exc.retry_after_s)
                self._record(task, exc, stuck=Stuck.NO, delay_s=delay_s)
            return
        settings = self._tools.settings
        for task in tasks:
            if isinstance(exc, StoreRefused) and task.attempts < _PATIENCE and self._is_leaving(task):
                self._record(task, exc, stuck=Stuck.NO, delay_s=self._tools.backoff_s(task.attempts, retry_after_s=0.0))
                continue
            if not task.stuck:
                self._tell(task, exc)
            delay_s = min(settings.stuck_retry_cap_s, settings.stuck_retry_s * 2 ** min(task.attempts, 10))
            self._record(
                task, exc, stuck=Stuck.GONE if isinstance(exc, BaseChanged) else Stuck.REFUSED, delay_s=delay_s
            )

    def _is_leaving(self, task: Task) -> bool:
        """Something else is on its way out: maybe the file where this needs a directory, or the reverse."""
        return task.kind != TaskKind.DELETE and self._tools.namespace.tables.tasks.is_leaving(task.store)

    def _tell(self, task: Task, exc: Exception) -> None:
        what = f"{TaskKind(task.kind).name.lower()} of {self._paths.path_of(task)}"
        if isinstance(exc, PermanentBackendError | FusecacheError):
            log.error("%s is stuck, and kept: %s", what, exc)
        else:
            log.error("%s is stuck by a bug in fusecache, and kept", what, exc_info=exc)

    def _record(self, task: Task, exc: Exception, *, stuck: Stuck, delay_s: float) -> None:
        due_ns = self._tools.wall_ns() + int(delay_s * 1e9)
        self._tools.namespace.drain.failed(task, error=str(exc) or type(exc).__name__, stuck=stuck, due_ns=due_ns)
