"""What a directory has, with how much of it is here and what the store lacks: for `fusecache ls`."""

from __future__ import annotations

from typing import Any

import trio

from fusecache.fs.describe import Describer
from fusecache.fs.names import Names
from fusecache.fs.streams import Stream
from fusecache.namespace.records import Dentry
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo

_BATCH = 250
PAGE = 2000
"""Names that one request is answered with: half a megabyte."""


class Catalog:
    """Describes names in their order."""

    def __init__(self, tables: Tables, names: Names, describer: Describer) -> None:
        self._t = tables
        self._names = names
        self._describer = describer

    async def page(self, path: bytes, *, after: bytes) -> dict[str, object]:
        """Return some names of a directory above `after`, in bytewise order, or the one that a file has.

        Raises:
            NotFound. StoreUnreachable: it is to be listed, and the store does not answer.
        """
        ino, row = await self._describer.resolve(path)
        inode = self._t.inodes.get(ino)
        if not inode.is_dir and row is not None:
            return {"entries": [await self._entry(row)], "more": False}
        if not after:
            await self._listed(ino)
        rows = self._t.dentries.children(ino, after=after, count=PAGE)
        entries = []
        for n, each in enumerate(rows):
            if each.ino is not None:
                entries.append(await self._entry(each))
            if n % _BATCH == 0:
                await trio.lowlevel.checkpoint()
        return {"entries": entries, "more": len(rows) == PAGE, "last": _text(rows[-1].name) if rows else ""}

    async def _listed(self, ino: InodeNo) -> None:
        """Have rows for all that is there: afterwards they are the directory."""
        stream, position = Stream(ino, self._names, self._t), 0
        while names := await stream.names(position, _BATCH):
            position += len(names)

    async def _entry(self, row: Dentry) -> dict[str, Any]:
        facts = await self._describer.facts(row.inode_no, row)
        kept = ("type", "size", "state", "cached_bytes", "dirty_bytes", "pinned")
        mtime_ns = self._t.inodes.get(row.inode_no).mtime_ns
        return {"name": _text(row.name), **{name: facts[name] for name in kept}, "mtime_ns": mtime_ns}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
