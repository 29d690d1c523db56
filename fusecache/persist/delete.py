"""Deletes: a thousand keys to a request, and of each key only the version that is meant."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import trio

from fusecache.errors import BackendError, NoSuchObject, PreconditionFailed, TransientBackendError
from fusecache.namespace.records import Task
from fusecache.nurseries import unwrapped
from fusecache.persist.tools import Tools
from fusecache.types import ETag

log = logging.getLogger(__name__)

Failures = list[tuple[Task, Exception]]
_LOOKS = 16
"""HEADs at a time of one batch."""


class Deleter:
    """Carries out batches of deletes. After a cancellation some may be gone; all are tried again."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, tasks: Sequence[Task]) -> Failures:
        """Delete the keys of `tasks`, of one store, and return those that the store kept, and why.

        A key that holds another version by now is somebody else's, and is left alone.
        Raises:
            BackendError: the whole request failed.
        """
        tools = self._tools
        failures, etags = await self._versions(tasks)
        gone = [task for task in tasks if task.task not in etags and all(task is not each for each, _ in failures)]
        going = [task for task in tasks if task.task in etags]
        if going:
            async with tools.slots:
                outcomes = await tools.backends[tasks[0].store].delete(
                    [task.key for task in going if task.key is not None], if_match=[etags[task.task] for task in going]
                )
            for task, outcome in zip(going, outcomes, strict=True):
                if outcome.error is None or isinstance(outcome.error, PreconditionFailed):
                    gone.append(task)
                else:
                    failures.append((task, outcome.error))
                if isinstance(outcome.error, PreconditionFailed):
                    log.info("%s is not deleted: somebody else has replaced it", task.key)
        tools.namespace.drain.deleted(gone, now_ns=tools.wall_ns())
        tools.refused.add(sum(isinstance(error, TransientBackendError) for _, error in failures))
        return failures

    async def _versions(self, tasks: Sequence[Task]) -> tuple[Failures, dict[int, ETag | None]]:
        """Find out which version each task is about; one without is about nothing (any more).

        A marker has no bytes that could be anybody's: whichever is there goes.
        """
        failures: Failures = []
        etags: dict[int, ETag | None] = {task.task: None for task in tasks if _is_marker(task)}
        etags |= {task.task: task.etag for task in tasks if not task.unsure and not _is_marker(task)}
        unsure = iter([task for task in tasks if task.task not in etags])

        async def look(each: Iterator[Task]) -> None:
            for task in each:  # shared with the others
                try:
                    etag = await self._look(task)
                except BackendError as exc:
                    failures.append((task, exc))
                else:
                    if etag is not None:
                        etags[task.task] = etag

        with unwrapped():
            async with trio.open_nursery() as nursery:
                for _ in range(min(_LOOKS, len(tasks) - len(etags))):
                    nursery.start_soon(look, unsure)
        return failures, etags

    async def _look(self, task: Task) -> ETag | None:
        """Return the version that is there, if it is the one meant or one that a request of ours has made."""
        assert task.key is not None
        tools = self._tools
        try:
            async with tools.slots:
                found = await tools.backends[task.store].head(task.key)
        except NoSuchObject:
            return None
        return found.etag if found.etag == task.etag or tools.signer.is_ours(found) else None


def _is_marker(task: Task) -> bool:
    return task.key is not None and task.key.endswith("/")
