"""Open directories: each an append-only index of the names it has shown, whoever reads it.

The kernel keeps a listing, too, with the positions that somebody else was told, and may go on from any of them with a
handle of its own: so all handles of a directory share one index, and one that is complete serves later ones as long as
nothing has changed.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from fusecache.cache.listings import Listing, LowerEntry
from fusecache.errors import NameTooLong, Stale
from fusecache.fs.left import LeftDirectory
from fusecache.fs.names import Entry, Names, is_reserved
from fusecache.namespace.keys import name_of
from fusecache.namespace.tree import Tables
from fusecache.types import HandleNo, InodeNo

log = logging.getLogger(__name__)

_CHUNK = 250
"""How many names of a page are merged between two looks at other requests, ~ 4 ms."""


_LOCAL_CHUNK = 2000
"""The same of names of which no store is asked, ~ 1 ms."""

_RECENT_NAMES = 200_000
"""Of directories that nobody has open any more so many names are kept, ~ 100 bytes each."""


@dataclass(frozen=True, slots=True)
class DirEntry:
    """A name of a directory stream, and the position after it."""

    name: bytes
    entry: Entry
    position: int


class Shown(NamedTuple):
    """A name with what readdir(3) tells of it, and the position after it."""

    name: bytes
    ino: InodeNo
    mode: int
    position: int


class Stream:
    """The names of a directory in the order in which they were found; a position is an ordinal.

    First what the lower lists, page by page, as merged with the rows; then the rows it lacks. A name is
    shown once, and a position stays valid, whatever is created, removed or persisted meanwhile. What is new later comes
    at the end, in another pass.
    """

    def __init__(self, ino: InodeNo, names: Names, tables: Tables, *, shown: Iterable[bytes] = ()) -> None:
        """`shown`: what an earlier process has shown of it; the rest comes after that."""
        self.ino = ino
        self.handles = 0
        self._names = names
        self._t = tables
        self._order: list[bytes] = list(shown)
        self._shown: set[bytes] = set(self._order)
        self._found: set[bytes] = set()
        """In this pass."""
        self._turn = trio.Lock()
        self._listing: Listing | None = None
        self._page_no = 0
        self._pending: list[tuple[bytes, LowerEntry]] = []
        self._phase = self._begin
        self._after = b""
        self._good_until: float | None = None
        """None: this pass has found nothing so far."""
        self._is_again = False
        """Another pass follows this one, which has begun too early for somebody."""
        self._is_old = False
        """What is here is older than who reads it now."""
        self._told = 0
        self.changed = bool(self._order)
        """Since this pass began names lead elsewhere than it has found; nobody knows what became of a process's."""
        self.exhausted = False

    def __repr__(self) -> str:
        return f"<Stream {self.ino}, {len(self._order)} names{'' if self.exhausted else ' so far'}>"

    def is_current(self) -> bool:
        """Whether what was found is what would be found now."""
        if self.changed:
            return False
        if self._good_until is None:
            return True
        return trio.current_time() < self._good_until and self._names.is_current(self.ino, self._listing)

    def renew(self) -> None:
        """Look for what is there now, before anybody begins to read; positions stay valid."""
        self._is_old = bool(self._order)
        if self.exhausted:
            self._restart()
        else:
            self._is_again = True

    def tell(self, start: int, end: int | None) -> None:
        """The kernel is told the attributes of the names between these positions; None: to the end."""
        if start <= self._told:
            self._told = max(self._told, len(self._order) if end is None else end)

    def is_told(self) -> bool:
        """Whether the kernel knows all names, and was told the attributes of each in this pass."""
        return self.exhausted and self._told >= len(self._order) and self.is_current()

    async def names(self, start: int, count: int) -> list[bytes]:
        """Return up to `count` names from position `start`; none at the end. Whoever begins sees what is there now."""
        if not start and not self.is_current():
            self.renew()
        if self._is_old and not start:
            await self._read_on(None)
        elif len(self._order) < start + count and not self.exhausted:
            await self._read_on(start + count)
        return self._order[start : start + count]

    async def shown(self, start: int, count: int) -> list[Shown]:
        """Return what is still there of up to `count` names from position `start`; none at the end."""
        while names := await self.names(start, count):
            rows = enumerate(self._t.dentries.modes(self.ino, names), start + 1)
            if shown := [Shown(name, ino, mode, n) for n, (name, ino, mode) in rows if ino is not None]:
                return shown
            start += len(names)  # all of them were removed meanwhile
        return []

    @property
    def count(self) -> int:
        """How many names it has shown so far."""
        return len(self._order)

    async def _read_on(self, count: int | None) -> None:
        """Find so many names, or all."""
        async with self._turn:
            while not self._has(count):
                await self._phase()
                if self._is_again and self._has(None):
                    self._restart()
            if self._has(None):
                self._is_old = False

    def _has(self, count: int | None) -> bool:
        return self.exhausted or (count is not None and len(self._order) >= count)

    def _restart(self) -> None:
        """Begin another pass."""
        self._shown, self._found = set(self._order), set()
        self._phase, self._after = self._begin, b""
        self._good_until, self._told = None, 0
        self.exhausted = self.changed = self._is_again = False

    def known(self, start: int) -> list[bytes]:
        """Return the names from position `start` on, as far as they are known."""
        return self._order[start:]

    async def _begin(self) -> None:
        directory = self._t.directories.find(self.ino)
        if directory is None:  # removed while it was open: empty
            self.exhausted = True
            return
        self.changed = False
        self._listing = await self._names.listing(directory)
        self._page_no, self._pending = 0, []
        self._good_until = trio.current_time() + self._names.good_for_s(directory, self._listing)
        if self._listing is not None:
            self._phase = self._lower
        else:
            self._phase = self._upper if self._order else self._local

    async def _lower(self) -> None:
        assert self._listing is not None
        directory = self._t.directories.find(self.ino)
        if directory is None or directory.prefix != self._listing.prefix:
            self._phase = self._begin  # its lower was moved while we read: the rest is in the new place
            return
        if not self._pending:
            page = await self._listing.page(self._page_no)
            self._page_no += 1
            if page is None:
                self._phase = self._upper
                return
            self._pending = list(self._named(page.entries))
        found = await self._names.found(directory, self._pending[:_CHUNK])
        self._pending = self._pending[_CHUNK:]
        changed = self.changed
        for row in self._names.merge_page(directory, self._listing, found):
            if row is not None:
                self._show(row.name)
        self.changed = changed  # what it found out by itself, it shows

    async def _local(self) -> None:
        """The rows are all there is, and nothing else has shown any."""
        if self._t.directories.find(self.ino) is None:
            self.exhausted = True
            return
        names = self._t.dentries.names(self.ino, after=self._after, count=_LOCAL_CHUNK)
        self._order += names
        self.exhausted = len(names) < _LOCAL_CHUNK
        if not self.exhausted:
            self._after = names[-1]
            await trio.lowlevel.checkpoint()

    async def _upper(self) -> None:
        """The rows that no listing has shown: local ones, and those that the store has dropped."""
        directory = self._t.directories.find(self.ino)
        rows = self._t.dentries.children(self.ino, after=self._after, count=_CHUNK)
        if not rows or directory is None:
            self.exhausted = True
            return
        self._after = rows[-1].name
        fresh = [row for row in rows if row.ino is not None and row.name not in self._found]
        changed = self.changed
        if self._listing is not None and self._listing.complete:
            names = [row.name for row in fresh]
            kept = self._names.merge_absent(directory, names, self._listing) if names else []
            fresh = [row for row in kept if row is not None]
            whiteouts = [row for row in rows if row.ino is None]
            self._names.forget_whiteouts(whiteouts, self._listing.epoch)
            self.changed = changed
        for row in fresh:
            self._show(row.name)
        await trio.lowlevel.checkpoint()

    def _show(self, name: bytes) -> None:
        self._found.add(name)
        if name not in self._shown:
            self._shown.add(name)
            self._order.append(name)

    def _named(self, entries: Iterable[LowerEntry]) -> Iterable[tuple[bytes, LowerEntry]]:
        """The entries under their file names, less what is ours alone or can have no name."""
        assert self._listing is not None
        for entry in entries:
            if is_reserved(self.ino, entry.name.encode()):
                continue
            if not entry.is_prefix and self._is_shadowed(entry):
                log.warning("%s%s is hidden by the directory of that name", self._listing.prefix, entry.name)
                continue
            try:
                yield name_of(entry.name), entry
            except NameTooLong as exc:
                log.warning("not shown: %s", exc)

    def _is_shadowed(self, entry: LowerEntry) -> bool:
        """Both `a` and `a/…` exist: a path can be only one of them, and the tree is worth more."""
        assert self._listing is not None
        return any(other.is_prefix for other in self._listing.known(entry.name) or ())


class Streams:
    """Numbers for open directories."""

    def __init__(self, names: Names, tables: Tables) -> None:
        self._names = names
        self._t = tables
        self._streams: dict[HandleNo, Stream] = {}
        self._open: dict[InodeNo, Stream] = {}
        self._recent: OrderedDict[InodeNo, Stream] = OrderedDict()
        """Complete, and as good as another; the latest comes last."""
        self._recent_names = 0
        self._last = 0
        tables.dentries.on_change(self._changed)

    def __repr__(self) -> str:
        return f"<Streams {len(self._streams)} of {len(self._open)} directories, {len(self._recent)} recent ones>"

    def open(self, ino: InodeNo) -> HandleNo:
        """Begin to read a directory, as it is now."""
        stream = self._open.get(ino) or self._take_recent(ino)
        if stream is None:
            stream = Stream(ino, self._names, self._t)
        elif not stream.is_current():
            stream.renew()
        return self._put(HandleNo(self._last + 1), stream)

    def go_on(self, directories: Iterable[LeftDirectory]) -> None:
        """Have what an earlier process of this mount had open."""
        for each in directories:
            stream = self._open.get(each.ino) or Stream(each.ino, self._names, self._t, shown=each.names)
            self._put(each.number, stream)

    def get(self, number: HandleNo) -> Stream:
        """Return the stream. Raises Stale: there is none of that number."""
        try:
            return self._streams[number]
        except KeyError:
            raise Stale(f"no directory stream {number}") from None

    def close(self, number: HandleNo) -> None:
        """Somebody reads it no more. Raises Stale: nobody did."""
        stream = self.get(number)
        del self._streams[number]
        stream.handles -= 1
        if not stream.handles:
            del self._open[stream.ino]
            if stream.exhausted and stream.is_current():
                self._keep(stream)

    def _put(self, number: HandleNo, stream: Stream) -> HandleNo:
        self._streams[number] = self._open[stream.ino] = stream
        stream.handles += 1
        self._last = max(self._last, number)
        return number

    def _keep(self, stream: Stream) -> None:
        self._recent[stream.ino] = stream
        self._recent_names += stream.count + 1
        while self._recent_names > _RECENT_NAMES:
            self._forget(next(iter(self._recent)))

    def _forget(self, ino: InodeNo) -> Stream:
        stream = self._recent.pop(ino)
        self._recent_names -= stream.count + 1
        return stream

    def _take_recent(self, ino: InodeNo) -> Stream | None:
        """Nobody goes on anywhere in it: so one that is not as good as new is not used."""
        if ino not in self._recent:
            return None
        stream = self._forget(ino)
        return stream if stream.is_current() else None

    def _changed(self, ino: InodeNo) -> None:
        if (stream := self._open.get(ino)) is not None:
            stream.changed = True
        elif ino in self._recent:
            self._forget(ino)
