"""The moment at which a job becomes a request: what was planned must still hold, and the target is recorded."""

from __future__ import annotations

from fusecache.namespace.drain import Started
from fusecache.namespace.keys import TMP_PREFIX
from fusecache.persist.plan import Job
from fusecache.persist.tools import Tools


def begin(tools: Tools, job: Job) -> Started | None:
    """Record the target of an upload or a copy; None if its task or its name changed since: it is planned again."""
    ns = tools.namespace
    task = ns.tables.tasks.get(job.task.task)
    assert job.place is not None
    row = ns.tables.dentries.get(*job.place)
    if task is None or task.due_ns is None or row is None or row.ino != task.ino:
        return None
    if ns.tables.directories.home_key(row.place) != job.key and not job.key.startswith(TMP_PREFIX):
        return None
    return ns.drain.start(task, row.place, job.key, now_ns=tools.wall_ns())
