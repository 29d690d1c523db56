"""What stores tell of their own accord: a name that is said to have changed is asked for when it is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from fusecache.backends.notices import Message, Notice, Queue, notices_of
from fusecache.errors import BackendError, FusecacheError, NameTooLong
from fusecache.fs.names import Names
from fusecache.namespace.keys import ancestors, name_of
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Place
from fusecache.types import ROOT_INO, InodeNo

log = logging.getLogger(__name__)

_AGAIN_S = (1.0, 60.0)
"""How long a queue that fails is left alone, at first and at most."""
_LOOKED_AT = 64
"""Names of a directory among which one is looked for that is still there."""


class Notified:
    """Reads a queue and doubts what it tells of. Notices may come twice, late and in any order: nothing is taken from
    them but that a name is to be asked for again."""

    def __init__(
        self, namespace: Namespace, names: Names, *, bucket: str, prefix: str, wall_s: Callable[[], float]
    ) -> None:
        """Keys of `bucket` below `prefix` are those of the mount."""
        self._ns = namespace
        self._t = namespace.tables
        self._names = names
        self._bucket = bucket
        self._prefix = prefix
        self._wall_s = wall_s
        self._messages = self._heeded = self._unknown = 0
        self._failing_since: float | None = None
        self._error: str | None = None

    def __repr__(self) -> str:
        return f"<Notified by {self._messages} messages>"

    def report(self) -> dict[str, object]:
        """Return what `stat` says of it: the counts of this daemon, and since when the queue fails."""
        since = self._failing_since
        return {
            "messages": self._messages,
            "changes": self._heeded,
            "unknown": self._unknown,
            "failing_s": None if since is None else max(0.0, self._wall_s() - since),
            "error": self._error,
        }

    async def run(self, opened: Callable[[], AbstractAsyncContextManager[Queue]]) -> None:
        """Heed what comes, until cancelled. While the queue fails, the time counts for which the store is believed."""
        while True:
            try:
                async with opened() as queue:
                    await self._heed_all(queue)
            except FusecacheError as exc:  # it cannot be opened
                self._failed(exc)
                await trio.sleep(_AGAIN_S[1])

    async def _heed_all(self, queue: Queue) -> None:
        delay_s = _AGAIN_S[0]
        while True:
            try:
                messages = await queue.receive()
                self.heed(messages)
                if messages:
                    await queue.delete(messages)
            except BackendError as exc:
                self._failed(exc)
                await trio.sleep(delay_s)
                delay_s = min(2 * delay_s, _AGAIN_S[1])
            else:
                self._works()
                delay_s = _AGAIN_S[0]

    def heed(self, messages: Sequence[Message]) -> None:
        """Doubt what these messages tell of; what they tell of other places is nothing to us."""
        for message in messages:
            self._messages += 1
            notices = notices_of(message.body)
            if notices is None:
                self._unknown += 1
                if self._unknown == 1:
                    log.warning("no notice of a store, and deleted, as all others of the kind: %.200s", message.body)
            for notice in notices or ():
                if notice.bucket == self._bucket and notice.key.startswith(self._prefix):
                    self._heeded += self._doubt(notice.key[len(self._prefix) :], notice)

    def _doubt(self, key: str, notice: Notice) -> bool:
        """Doubt the name that a key is below or at, in the deepest directory that is known; False: nothing is new."""
        prefixes = ["", *ancestors(key)]
        reading = [self._t.directories.get(ino) for ino in self._t.directories.reading(self._ns.store, prefixes)]
        directory = max(reading, key=lambda each: len(each.prefix or ""), default=None)
        if directory is None or directory.prefix is None:
            return False
        component, slash, _ = key[len(directory.prefix) :].partition("/")
        if not component:
            return False  # the marker of the root
        try:
            place = Place(directory.ino, name_of(component))
        except NameTooLong:
            return False
        row = self._t.dentries.get(*place)
        if notice.is_gone and row is not None and row.ino is None:
            return False  # it is not shown anyway
        if not self._names.doubt(place, None if slash else notice.etag):
            return False
        if notice.is_gone:
            self._doubt_emptied(directory.ino)
        return True

    def _doubt_emptied(self, ino: InodeNo) -> None:
        """Doubt a directory if no name in it is still believed, and so on above: without keys it is not there."""
        while ino != ROOT_INO:
            rows = self._t.dentries.children(ino, after=b"", count=_LOOKED_AT)
            if any(row.ino is not None and not self._names.is_doubted(row) for row in rows):
                return
            directory = self._t.directories.get(ino)
            if not directory.parent:
                return
            self._names.doubt(Place(directory.parent, directory.name))
            ino = directory.parent

    def _failed(self, exc: FusecacheError) -> None:
        self._error = str(exc)
        if self._failing_since is None:
            self._failing_since = self._wall_s()
            log.warning("what others change is seen when it is asked for again, as the queue fails: %s", exc)

    def _works(self) -> None:
        if self._failing_since is not None:
            log.warning("the queue answers again")
        self._failing_since = self._error = None
