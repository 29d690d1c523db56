"""Open directories: each an append-only index of the names it has shown."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import trio

from fusecache.cache.listings import Listing, LowerEntry
from fusecache.errors import NameTooLong, Stale
from fusecache.fs.left import LeftDirectory
from fusecache.fs.names import Names, is_reserved
from fusecache.namespace.keys import name_of
from fusecache.namespace.tree import Tables
from fusecache.types import HandleNo, InodeNo

log = logging.getLogger(__name__)

_CHUNK = 250
"""How many names of a page are merged between two looks at other requests, ~ 4 ms."""


_LOCAL_CHUNK = 2000
"""The same of names of which no store is asked, ~ 1 ms."""


class Shown(NamedTuple):
    """A name with what readdir(3) tells of it, and the position after it."""

    name: bytes
    ino: InodeNo
    mode: int
    position: int


class Stream:
    """The names of a directory in the order in which they were found; a position is an ordinal.

    First what the lower lists, page by page, as merged with the rows; then the rows it lacks. A name is
    shown once, and a position stays valid, whatever is created, removed or persisted meanwhile.
    """

    def __init__(self, ino: InodeNo, names: Names, tables: Tables, *, shown: Iterable[bytes] = ()) -> None:
        """`shown`: what an earlier process has shown of it; the rest comes after that."""
        self.ino = ino
        self._names = names
        self._t = tables
        self._order: list[bytes] = list(shown)
        self._shown: set[bytes] = set(self._order)
        self._turn = trio.Lock()
        self._listing: Listing | None = None
        self._page_no = 0
        self._pending: list[tuple[bytes, LowerEntry]] = []
        self._phase = self._begin
        self._after = b""
        self.exhausted = False

    def __repr__(self) -> str:
        return f"<Stream {self.ino}, {len(self._order)} names{'' if self.exhausted else ' so far'}>"

    async def names(self, start: int, count: int) -> list[bytes]:
        """Return up to `count` names from position `start`; none at the end."""
        if len(self._order) < start + count and not self.exhausted:
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

    async def _read_on(self, count: int) -> None:
        async with self._turn:
            while len(self._order) < count and not self.exhausted:
                await self._phase()

    def known(self, start: int) -> list[bytes]:
        """Return the names from position `start` on, as far as they are known."""
        return self._order[start:]

    async def _begin(self) -> None:
        directory = self._t.directories.find(self.ino)
        if directory is None:  # removed while it was open: empty
            self.exhausted = True
            return
        self._listing = await self._names.listing(directory)
        if self._listing is not None:
            self._phase = self._lower
        else:
            self._phase = self._upper if self._order else self._local

    async def _lower(self) -> None:
        assert self._listing is not None
        directory = self._t.directories.find(self.ino)
        if directory is None or directory.prefix != self._listing.prefix:
            self._page_no, self._pending = 0, []
            self._phase = self._begin  # its lower was moved while we read: the rest is in the new place
            return
        if not self._pending:
            page = await self._listing.page(self._page_no)
            self._page_no += 1
            if page is None:
                self._phase = self._upper
                return
            self._pending = list(self._named(page.entries))
        chunk, self._pending = self._pending[:_CHUNK], self._pending[_CHUNK:]
        for row in await self._names.merge_page(directory, self._listing, chunk):
            if row is not None:
                self._show(row.name)

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
        fresh = [row for row in rows if row.ino is not None and row.name not in self._shown]
        if self._listing is not None and self._listing.complete:
            names = [row.name for row in fresh]
            kept = self._names.merge_absent(directory, names, self._listing.epoch) if names else []
            fresh = [row for row in kept if row is not None]
            whiteouts = [row for row in rows if row.ino is None]
            self._names.forget_whiteouts(whiteouts, self._listing.epoch)
        for row in fresh:
            self._show(row.name)
        await trio.lowlevel.checkpoint()

    def _show(self, name: bytes) -> None:
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
        self._last = 0

    def __repr__(self) -> str:
        return f"<Streams {len(self._streams)}>"

    def open(self, ino: InodeNo) -> HandleNo:
        """Begin to read a directory."""
        return self._put(HandleNo(self._last + 1), Stream(ino, self._names, self._t))

    def go_on(self, directories: Iterable[LeftDirectory]) -> None:
        """Have what an earlier process of this mount had open."""
        for each in directories:
            self._put(each.number, Stream(each.ino, self._names, self._t, shown=each.names))

    def get(self, number: HandleNo) -> Stream:
        """Return the stream. Raises Stale: there is none of that number."""
        try:
            return self._streams[number]
        except KeyError:
            raise Stale(f"no directory stream {number}") from None

    def close(self, number: HandleNo) -> None:
        """Nobody reads it any more. Raises Stale: nobody did."""
        self.get(number)
        del self._streams[number]

    def _put(self, number: HandleNo, stream: Stream) -> HandleNo:
        self._streams[number] = stream
        self._last = max(self._last, number)
        return number
