"""Every file at or below a path: as the store shows it, or as far as there are rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import trio

from fusecache.errors import FusecacheError
from fusecache.fs.names import Names
from fusecache.fs.streams import Stream
from fusecache.namespace.records import Dentry, Inode
from fusecache.namespace.tables import Tables
from fusecache.nurseries import unwrapped
from fusecache.types import InodeNo

_AT_ONCE = 8
"""Directories that are listed at a time: a cold one costs a request and its latency."""
_BATCH = 200
"""Names between two looks at other requests."""


class Found(NamedTuple):
    """A file with its path from the mount's root, as it was when it was met: no directory, symbolic link or device."""

    path: bytes
    row: Dentry
    inode: Inode


class Walk:
    """Goes through directories without an order. Links are not followed."""

    def __init__(self, tables: Tables, names: Names) -> None:
        self._t = tables
        self._names = names

    async def visit(
        self,
        path: bytes,
        root: InodeNo,
        found: Callable[[Found], Awaitable[None]],
        failed: Callable[[bytes, FusecacheError], None],
    ) -> None:
        """Call `found` for each file below a directory that the store or the rows have, several at once, and `failed`
        for each directory that cannot be listed."""
        pending = [(path, root)]

        async def look(at: bytes, ino: InodeNo) -> None:
            try:
                await self._directory(at, ino, pending, found)
            except FusecacheError as exc:
                failed(at, exc)

        while pending:
            some, pending[-_AT_ONCE:] = pending[-_AT_ONCE:], []
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    for each in some:
                        nursery.start_soon(look, *each)

    async def known(self, path: bytes, root: InodeNo) -> AsyncIterator[list[Found]]:
        """Yield the files below a directory of which there are rows, batch by batch: no store is asked."""
        pending = [(path, root)]
        while pending:
            at, ino = pending.pop()
            after = b""
            while rows := self._t.dentries.children(ino, after=after, count=_BATCH):
                after = rows[-1].name
                yield self._sorted(at, rows, pending)
                await trio.lowlevel.checkpoint()

    async def _directory(
        self,
        path: bytes,
        ino: InodeNo,
        pending: list[tuple[bytes, InodeNo]],
        found: Callable[[Found], Awaitable[None]],
    ) -> None:
        stream, position = Stream(ino, self._names, self._t), 0
        while names := await stream.names(position, _BATCH):
            position += len(names)
            rows = self._t.dentries.among(ino, names)
            for each in self._sorted(path, list(rows.values()), pending):
                await found(each)
            await trio.lowlevel.checkpoint()

    def _sorted(self, path: bytes, rows: list[Dentry], pending: list[tuple[bytes, InodeNo]]) -> list[Found]:
        """Return the files among the rows of a directory; its directories become pending."""
        files = []
        for row in rows:
            if row.ino is None:
                continue
            inode, at = self._t.inodes.get(row.ino), joined(path, row.name)
            if inode.is_dir:
                pending.append((at, row.ino))
            elif has_bytes(inode):
                files.append(Found(at, row, inode))
        return files


def has_bytes(inode: Inode) -> bool:
    """Whether it is a regular file."""
    return not inode.is_dir and not inode.is_special and inode.symlink is None


def joined(path: bytes, name: bytes) -> bytes:
    """Return the path of a name in a directory; the root's is empty."""
    return b"/".join((path, name)) if path else name


def shown(path: bytes) -> str:
    """Return a path from the mount's root as people are told of it."""
    return "/" + path.decode("utf-8", "surrogateescape")
