"""Looks at the store now, at what is known below a path: `fusecache sync`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import trio

from fusecache.cache.listings import Listing
from fusecache.errors import NameTooLong, NotADirectory, NotFound, Stale
from fusecache.fs.names import Names
from fusecache.namespace.keys import component_of, name_of
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Directory, Place
from fusecache.nurseries import unwrapped
from fusecache.types import ROOT_INO, InodeNo

_AT_ONCE = 16
"""Directories that are listed at a time."""
_CHUNK = 250
"""Names that are compared between two looks at other requests."""


@dataclass(slots=True)
class Looked:
    """What was looked at, and how many names are not what was believed of them."""

    directories: int = 0
    names: int = 0
    changed: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Looking:
    """Compares what is believed with the store. What is ours alone, or not drained yet, is left as it is."""

    def __init__(self, namespace: Namespace, names: Names) -> None:
        self._t = namespace.tables
        self._names = names

    async def look(self, path: bytes, *, progress: Callable[[dict[str, object]], None]) -> Looked:
        """Look at `path`, and at all below it of which something is known: what nobody has seen cannot be outdated.

        What is asked for from then on is as the store had it during this call, or later. A name counts as changed if it
        led somewhere else or nowhere before, or is new where all names were known.

        Raises:
            NotFound: the store has nothing there. StoreUnreachable: it does not answer; what was looked at counts.
        """
        looked = Looked()
        ino = await self._resolved(path, looked)
        todo = [ino] if self._t.directories.find(ino) is not None else []
        while todo:
            batch, todo = todo[:_AT_ONCE], todo[_AT_ONCE:]
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    for each in batch:
                        nursery.start_soon(self._directory, each, todo, looked)
            progress(looked.as_dict())
        return looked

    async def _resolved(self, path: bytes, looked: Looked) -> InodeNo:
        """Return the inode that the path leads to now."""
        ino = ROOT_INO
        for name in filter(None, path.split(b"/")):
            before = self._t.dentries.get(ino, name)
            self._names.doubt(Place(ino, name))
            row = await self._names.find_any(ino, name)
            looked.names += 1
            looked.changed += _leads_to(before) != _leads_to(row)
            if row is None:
                raise NotFound(repr(name))
            ino = row.inode_no
        return ino

    async def _directory(self, ino: InodeNo, todo: list[InodeNo], looked: Looked) -> None:
        """Compare the names of one directory; those of its directories that are known go to `todo`."""
        directory = self._t.directories.find(ino)
        if directory is None:
            return  # it went with one above
        before = self._names.listed_before(directory)
        self._names.doubt_names(directory)  # also for the sake of a listing that is under way
        if before is not None or self._t.dentries.children(ino, after=b"", count=1):
            looked.directories += 1
            try:
                await self._compare(directory, before, looked)
            except (NotADirectory, Stale):
                return  # removed meanwhile
        after = b""
        while rows := self._t.dentries.children(ino, after=after, count=_CHUNK):
            after = rows[-1].name
            todo += [row.ino for row in rows if row.ino is not None and self._t.directories.find(row.ino) is not None]
            await trio.lowlevel.checkpoint()

    async def _compare(self, directory: Directory, before: Listing | None, looked: Looked) -> None:
        listing = await self._names.listed_now(directory)
        if listing is None:
            return
        seen: set[bytes] = set()
        page_no = 0
        while (page := await listing.page(page_no)) is not None:
            page_no += 1
            for start in range(0, len(page.entries), _CHUNK):
                named = []
                for entry in page.entries[start : start + _CHUNK]:
                    try:
                        named.append((name_of(entry.name), entry))
                    except NameTooLong:
                        continue
                rows = self._t.dentries.among(directory.ino, [name for name, _ in named]) if named else {}
                known = [(name, entry) for name, entry in named if name in rows]
                looked.names += len(named)
                looked.changed += sum(
                    name not in rows and before is not None and before.known(entry.name) == [] for name, entry in named
                )
                seen.update(rows)
                found = await self._names.found(directory, known)
                now = self._names.merge_page(directory, listing, found)
                looked.changed += sum(
                    _leads_to(rows[name]) != _leads_to(row) for (name, _), row in zip(known, now, strict=False)
                )
                await trio.lowlevel.checkpoint()
        await self._gone(directory, listing, seen, looked)

    async def _gone(self, directory: Directory, listing: Listing, seen: set[bytes], looked: Looked) -> None:
        """The rows that the listing has not shown."""
        after = b""
        while rows := self._t.dentries.children(directory.ino, after=after, count=_CHUNK):
            after = rows[-1].name
            missing = [row for row in rows if row.ino is not None and row.name not in seen]
            names = [row.name for row in missing if listing.known(component_of(row.name)) == []]
            left = self._names.merge_absent(directory, names, listing) if names else []
            looked.changed += sum(row is None for row in left)
            looked.names += len(missing)
            await trio.lowlevel.checkpoint()


def _leads_to(row: Dentry | None) -> InodeNo | None:
    return None if row is None else row.ino
