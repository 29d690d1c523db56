"""Empty directories: the key `dir/`, where the store would else not show them. Or all, if so configured."""

from __future__ import annotations

import logging

from fusecache.backends.metadata import metadata_of
from fusecache.backends.sources import BytesSource
from fusecache.errors import StoreRefused
from fusecache.namespace.keys import ancestors
from fusecache.namespace.records import Place, Task
from fusecache.persist.local import attributes
from fusecache.persist.plan import Job
from fusecache.persist.resolve import Owner, Resolved, resolve
from fusecache.persist.tools import Tools
from fusecache.types import InodeNo, ObjectKey, Seq

log = logging.getLogger(__name__)


class Marker:
    """Writes markers. After a cancellation one may exist; it is recorded."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, job: Job) -> None:
        """Write the marker of a directory, unless something below it is, or is coming, in the store and shows it.

        Raises:
            BackendError: nothing is recorded but the key.
        """
        ns, tools = self._tools.namespace, self._tools
        assert job.task.ino is not None
        assert job.place is not None
        is_kept = ns.policies.keeps_marker(job.task.ino)
        markers = tools.backends[job.task.store].capabilities.directory_markers
        if not markers or (not is_kept and await self._is_used(job.task, job.task.ino, job.key)):
            self._unless_changed(job.task)
            return
        task = ns.tables.tasks.get(job.task.task)
        if task is None or self._is_elsewhere(job.task.ino, job.key) or not ns.policies.wants_marker(job.task.ino):
            return  # planned again
        started = ns.drain.start(task, Place(job.task.ino, b""), job.key, now_ns=tools.wall_ns())
        metadata = metadata_of(attributes(ns.tables.inodes.get(job.task.ino)))
        backend = tools.backends[task.store]
        await tools.recorded()
        try:
            async with tools.slots:
                await backend.put(job.key, BytesSource(b""), metadata=metadata)
        except StoreRefused as exc:
            if backend.capabilities.directory_markers:
                raise
            log.warning("empty directories exist only here: %s", exc)
            self._unless_changed(started.task)
        else:
            ns.drain.marker_written(started, now_ns=tools.wall_ns())

    def _is_elsewhere(self, ino: InodeNo, key: ObjectKey) -> bool:
        directories = self._tools.namespace.tables.directories
        return directories.find(ino) is None or directories.home_prefix(ino) != key

    def _unless_changed(self, task: Task) -> None:
        """The directory needs no marker, as it was when the task was planned."""
        ns = self._tools.namespace
        current = ns.tables.tasks.get(task.task)
        if current is not None and current.generation == task.generation:
            ns.drain.abandoned(current, now_ns=self._tools.wall_ns())

    async def _is_used(self, task: Task, ino: InodeNo, key: ObjectKey) -> bool:
        """Whether the store has something below the directory that stays."""
        directory = self._tools.namespace.tables.directories.get(ino)
        if directory.prefix is None:
            return False  # all there is are the rows
        position: ObjectKey | None = None
        while True:
            seq = self._tools.namespace.database.seq
            async with self._tools.slots:
                page = await self._tools.backends[task.store].list(key, delimiter=None, start_after=position)
            if self._is_elsewhere(ino, key):
                return False
            for info in page.objects:
                if info.key == key:
                    if info.size:
                        return True  # somebody's bytes, which stay
                    continue
                found = resolve(self._tools.namespace.tables, ino, key, info.key)
                if found.owner is Owner.UNKNOWN and not self._goes(task, info.key) and not self._went(found, seq):
                    return True
            if page.next_token is None:
                return False
            position = page.objects[-1].key

    def _went(self, found: Resolved, seq: Seq) -> bool:
        """Whether it was deleted by us after the listing at `seq` had begun."""
        row = self._tools.namespace.tables.dentries.get(*found.place) if found.place is not None else None
        return row is not None and row.epoch > seq

    def _goes(self, task: Task, key: ObjectKey) -> bool:
        """Whether a key that is nobody's here is about to be deleted, or moves to a name elsewhere that reads it."""
        t = self._tools.namespace.tables
        if t.tasks.deletes_of(task.store, key) or t.dentries.readers(task.store, key):
            return True
        above = ancestors(key)
        moving = t.tasks.relocations_over(task.store, above)
        return any(each.source in above and each.source != each.key for each in moving)
