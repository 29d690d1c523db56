"""All that the store lacks, some at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from fusecache.namespace.records import Task
from fusecache.namespace.tables import Tables
from fusecache.types import Seq

_PAGE = 250
"""Tasks looked at between two chances for others to run."""


async def pages(tables: Tables, seq: Seq) -> AsyncIterator[list[Task]]:
    """Yield the unfinished tasks that were acknowledged up to `seq`, by their numbers."""
    last = 0
    while page := tables.tasks.since(seq, after_task=last, count=_PAGE):
        last = page[-1].task
        yield page
        await trio.lowlevel.checkpoint()
