"""Pins: what is at or below a path stays in the cache once it is there, whatever else needs room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import trio

from fusecache.cache.contents import Contents
from fusecache.fs.load import Loaded, Loader
from fusecache.fs.opening import cached_bytes_of
from fusecache.fs.walk import Found, Walk, has_bytes
from fusecache.namespace.durability import Durability
from fusecache.namespace.marked import key_of, path_of
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry
from fusecache.types import ROOT_INO, InodeNo

_COST = 20
"""Times what counting takes, the count is good for."""


@dataclass(slots=True)
class Pinned:
    """Files by their sizes, and how much of them is here."""

    files: int = 0
    bytes: int = 0
    cached_bytes: int = 0


class Pinning:
    """Sets pins and takes them away, and knows how much they hold."""

    def __init__(
        self,
        namespace: Namespace,
        contents: Contents,
        durability: Durability,
        loader: Loader,
        walk: Walk,
        *,
        limit: Callable[[], int],
    ) -> None:
        """`limit` tells how many bytes the cache may hold."""
        self._ns = namespace
        self._t = namespace.tables
        self._contents = contents
        self._durability = durability
        self._loader = loader
        self._walk = walk
        self._limit = limit
        self._told: tuple[list[str], Pinned] = [], Pinned()
        self._told_until = float("-inf")

    async def pin(
        self, path: bytes, ino: InodeNo, row: Dentry | None, *, progress: Callable[[Loaded], None]
    ) -> dict[str, object]:
        """Pin a path, if the cache has room for all that is pinned then; synced. Nothing is fetched for it.

        What is there now is counted, which costs listings. A directory that cannot be listed counts as empty.
        """
        key, found = key_of(path), Loaded()

        async def count(each: Found) -> None:
            found.files_found, found.bytes_found = found.files_found + 1, found.bytes_found + each.inode.size
            progress(found)

        await self._loader.each(path, ino, row, count, found.fail)
        others = (await self.count(but=key)).bytes
        is_refused = found.bytes_found + others > self._limit()
        if not is_refused:
            self._ns.pins.add(key)
            await self._durability.reached(self._ns.database.seq)
        return {
            "pinned": not is_refused,
            "files": found.files_found,
            "bytes": found.bytes_found,
            "others_bytes": others,
            "limit": self._limit(),
        }

    async def unpin(self, path: bytes) -> dict[str, object]:
        """Take away the pins at or below a path; synced. Names them, and what still pins it: a directory above."""
        key = key_of(path)
        gone = self._ns.pins.remove(key)
        await self._durability.reached(self._ns.database.seq)
        left = self._ns.pins.keys()
        above = [each for each in left if not each or key.startswith(f"{each}/")]
        return {"unpinned": [path_of(each) for each in gone], "still_by": [path_of(each) for each in above]}

    async def report(self) -> dict[str, object]:
        """Return the pinned paths as people write them, and what they hold: now, or as long ago as it costs little.

        Who looks every second at a mount with a million pinned files must not keep it busy with that.
        """
        began_at, keys = trio.current_time(), self._ns.pins.keys()
        if keys != self._told[0] or began_at >= self._told_until:
            self._told = keys, await self.count()
            now = trio.current_time()
            self._told_until = now + _COST * (now - began_at)
        return {"paths": list(map(path_of, keys)), **asdict(self._told[1])}

    async def count(self, *, but: str | None = None) -> Pinned:
        """Add up what the rows have below the pins, once each; `but` those at or below this key."""
        pinned, keys, counted = Pinned(), self._ns.pins.keys(), list[str]()
        for key in keys:  # a directory comes before what is below it
            if any(_is_at_or_below(key, each) for each in counted) or (but is not None and _is_at_or_below(key, but)):
                continue
            counted.append(key)
            if (place := self._resolved(key)) is not None:
                await self._add(place, pinned)
        return pinned

    async def _add(self, place: tuple[InodeNo, Dentry | None], pinned: Pinned) -> None:
        ino, row = place
        inode = self._t.inodes.get(ino)
        if inode.is_dir:
            async for some in self._walk.known(b"", ino):
                for each in some:
                    self._count(each, pinned)
        elif row is not None and has_bytes(inode):
            self._count(Found(b"", row, inode), pinned)

    def _count(self, found: Found, pinned: Pinned) -> None:
        pinned.files += 1
        pinned.bytes += found.inode.size
        pinned.cached_bytes += cached_bytes_of(self._contents, found.inode)

    def _resolved(self, key: str) -> tuple[InodeNo, Dentry | None] | None:
        """What the rows have at a path; None: nothing."""
        ino, row = ROOT_INO, None
        for name in filter(None, path_of(key).encode("utf-8", "surrogateescape").split(b"/")):
            row = self._t.dentries.get(ino, name)
            if row is None or row.ino is None:
                return None
            ino = row.ino
        return ino, row


def _is_at_or_below(key: str, above: str) -> bool:
    return not above or key == above or key.startswith(f"{above}/")
