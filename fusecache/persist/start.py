"""The moment at which a job becomes a request: what was planned must still hold, and the target is recorded."""

from __future__ import annotations

from fusecache.cache.content import Content
from fusecache.namespace.drain import Started
from fusecache.namespace.keys import TMP_PREFIX
from fusecache.namespace.records import Place, Task
from fusecache.persist.plan import Job
from fusecache.persist.tools import Tools

_READER_NS = 1_000_000_000
"""How soon to look again whether an open file still reads what is to be overwritten, or is still mapped."""


def begin(tools: Tools, job: Job, content: Content | None = None) -> Started | None:
    """Record the target of an upload or a copy, whose bytes are those of `content`, if it is of a file.

    None if its task or its name changed since, if somebody else has a file open that lacks bytes of what the target
    holds, or can still write to the file, by a mapping: it is planned again.
    """
    ns = tools.namespace
    task = ns.tables.tasks.get(job.task.task)
    assert job.place is not None
    row = ns.tables.dentries.get(*job.place)
    if task is None or task.due_ns is None or row is None or row.ino != task.ino:
        return None
    if ns.tables.directories.home_key(row.place) != job.key and not job.key.startswith(TMP_PREFIX):
        return None
    is_read = tools.contents.readers_of(task.store, job.key, but=content)
    if is_read or (content is not None and not tools.contents.sharing.is_quiet(content)):
        ns.drain.put_off(task, due_ns=tools.wall_ns() + _READER_NS)
        return None
    return ns.drain.start(task, row.place, job.key, now_ns=tools.wall_ns())


def set_out(tools: Tools, job: Job) -> Task | None:
    """Record the target of a relocation.

    None if its directory, or one above it, has moved since: nothing would hide what it copies. It is planned again.
    """
    ns = tools.namespace
    assert job.task.ino is not None
    assert job.place is not None
    task, directory = ns.tables.tasks.get(job.task.task), ns.tables.directories.find(job.task.ino)
    if task is None or directory is None or Place(directory.parent, directory.name) != job.place:
        return None
    if ns.tables.directories.home_prefix(directory.ino) != job.key and not job.key.startswith(TMP_PREFIX):
        return None
    return ns.drain.start(task, job.place, job.key, now_ns=tools.wall_ns()).task
