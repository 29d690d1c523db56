"""Deletes: a thousand keys to a request."""

from __future__ import annotations

from collections.abc import Sequence

from fusecache.errors import TransientBackendError
from fusecache.namespace.records import Task
from fusecache.persist.tools import Tools


class Deleter:
    """Carries out batches of deletes. After a cancellation some may be gone; all are tried again."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, tasks: Sequence[Task]) -> list[tuple[Task, Exception]]:
        """Delete the keys of `tasks`, of one store, and return those that the store kept, and why.

        Raises:
            BackendError: the whole request failed.
        """
        tools = self._tools
        keys = [task.key for task in tasks if task.key is not None]
        async with tools.slots:
            outcomes = await tools.backends[tasks[0].store].delete(keys)
        errors = [(task, outcome.error) for task, outcome in zip(tasks, outcomes, strict=True) if outcome.error]
        failed = {task.task for task, _ in errors}
        done = [task for task in tasks if task.task not in failed]
        tools.namespace.drain.deleted(done, now_ns=tools.wall_ns())
        tools.refused.add(sum(isinstance(error, TransientBackendError) for _, error in errors))
        return errors
