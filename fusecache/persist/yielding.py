"""Where the store's version stays (`on-conflict = theirs`): ours gets another name beside it, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fusecache.namespace.keys import MAX_NAME_BYTES
from fusecache.namespace.records import Place
from fusecache.persist.plan import Job
from fusecache.persist.tools import Tools

log = logging.getLogger(__name__)


class Yielder:
    """Renames what has to give way, as an application would."""

    def __init__(self, tools: Tools, stale: Callable[[Place], None]) -> None:
        """`stale` is told of names that lead elsewhere now."""
        self._tools = tools
        self._stale = stale

    def give_way(self, job: Job) -> None:
        """Move our version beside; its task goes on under that name. Nothing happens if the name has moved already."""
        ns, place = self._tools.namespace, job.place
        row = None if place is None else ns.tables.dentries.get(*place)
        if place is None or row is None or row.ino != job.task.ino:
            return
        if ns.tables.directories.home_key(place) != job.key:
            return
        beside = Place(place.parent, self._name_beside(job))
        ns.tree.rename(place, beside, now_ns=self._tools.wall_ns(), keep=False)
        self._stale(place)
        log.warning("%s was changed by somebody else and here: ours is kept as %r", job.key, beside.name)

    def _name_beside(self, job: Job) -> bytes:
        """A name that was never there: numbers of acknowledgements are not given twice."""
        assert job.place is not None
        suffix = b".conflict-ours-%x" % self._tools.namespace.database.seq
        above, slash, _ = job.key.rpartition("/")
        max_bytes = self._tools.backends[job.task.store].capabilities.max_key_bytes
        room = min(MAX_NAME_BYTES, max_bytes - len(f"{above}{slash}".encode())) - len(suffix)
        name = job.place.name
        return (name if len(name) <= room else name[: max(0, room)].decode(errors="ignore").encode()) + suffix
