"""Who carries out what: one worker a kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fusecache.namespace.records import Place, Task, TaskKind
from fusecache.persist.barrier import Barriers
from fusecache.persist.copy import Copier
from fusecache.persist.delete import Deleter
from fusecache.persist.failures import Failures
from fusecache.persist.mark import Marker
from fusecache.persist.overwrite import TheirsStays
from fusecache.persist.parts import Parts
from fusecache.persist.plan import Job
from fusecache.persist.relocate import Relocator
from fusecache.persist.staging import Patterns
from fusecache.persist.tools import Tools
from fusecache.persist.upload import Uploader
from fusecache.persist.yielding import Yielder


class Workers:
    """Carries out jobs and batches of deletes. A cancellation leaves the task due, as its worker says."""

    def __init__(self, tools: Tools, barriers: Barriers, patterns: Patterns, stale: Callable[[Place], None]) -> None:
        """`stale` is told of names that lead elsewhere since somebody else's version stays."""
        self._tools = tools
        self._failures = Failures(tools)
        self._uploader = Uploader(tools, Parts(tools))
        self._copier = Copier(tools)
        self._relocator = Relocator(tools, barriers, patterns)
        self._marker = Marker(tools)
        self._deleter = Deleter(tools)
        self._yielder = Yielder(tools, stale)

    async def carry_out(self, job: Job) -> None:
        """A failure is the task's own: the others go on."""
        try:
            match job.task.kind:
                case TaskKind.UPLOAD:
                    await self._uploader.run(job)
                case TaskKind.COPY:
                    await self._copier.run(job)
                case TaskKind.RELOCATE:
                    await self._relocator.run(job)
                case _:
                    await self._marker.run(job)
        except TheirsStays:
            self._yielder.give_way(job)
        except Exception as exc:
            self._failures.failed([job.task], exc)
        else:
            self._tools.finished.add()

    async def delete(self, tasks: Sequence[Task]) -> None:
        """Delete the keys of `tasks`, of one store, with one request. A failure is the task's own."""
        try:
            await self._tools.recorded()
            failures = await self._deleter.run(tasks)
            for task, error in failures:
                self._failures.failed([task], error)
            self._tools.finished.add(len(tasks) - len(failures))
        except Exception as exc:
            self._failures.failed(tasks, exc)
