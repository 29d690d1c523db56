"""Gives up what is cached below a path, as far as the store has it and nobody needs it here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from fusecache.cache.contents import Contents
from fusecache.errors import Stale
from fusecache.fs.opening import cached_bytes_of
from fusecache.fs.walk import Found, Walk, shown
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Task
from fusecache.types import InodeNo

_REFUSED = 1000
"""Files that are named; the others are counted."""


@dataclass(slots=True)
class Freed:
    """What became of the files of which something was here."""

    files: int = 0
    bytes: int = 0
    """Of the disk."""
    refused: int = 0
    refused_bytes: int = 0
    not_stored: list[dict[str, str]] = field(default_factory=list)
    """The first thousand of those that are refused: path, state."""
    pinned: int = 0
    pinned_bytes: int = 0
    in_use: int = 0
    in_use_bytes: int = 0


class Freeing:
    """Frees paths. Looks at rows only: of what has none, nothing is here."""

    def __init__(
        self,
        namespace: Namespace,
        contents: Contents,
        walk: Walk,
        *,
        release: Callable[[Sequence[InodeNo]], Awaitable[int]],
        state: Callable[[InodeNo, Sequence[Task]], str],
    ) -> None:
        """`release` gives up those of some files that can be, and returns how much of the disk that frees."""
        self._ns = namespace
        self._t = namespace.tables
        self._contents = contents
        self._walk = walk
        self._release = release
        self._state = state

    async def free(self, path: bytes, found: Found | None, ino: InodeNo, *, progress: Callable[[Freed], None]) -> Freed:
        """Free the file `found` at a path, else what is below the directory `ino`.

        A cancellation leaves what is gone, gone.
        """
        freed = Freed()
        if found is not None:
            await self._some([found], freed)
            return freed
        async for some in self._walk.known(path, ino):
            await self._some(some, freed)
            progress(freed)
        return freed

    async def _some(self, files: Sequence[Found], freed: Freed) -> None:
        here = {each.inode.ino: each for each in files if self._cached(each)}
        wanted = [ino for ino, each in here.items() if self._is_free(each, freed)]
        if not wanted:
            return
        freed.bytes += await self._release(wanted)
        for ino in wanted:
            if left := self._cached(here[ino]):
                freed.in_use, freed.in_use_bytes = freed.in_use + 1, freed.in_use_bytes + left
            else:
                freed.files += 1

    def _is_free(self, found: Found, freed: Freed) -> bool:
        """Whether it may go; else count why it may not."""
        ino, size = found.inode.ino, self._cached(found)
        tasks = self._t.tasks.all_of_inode(ino)
        if tasks or found.inode.base is None or found.inode.blocks is not None:
            freed.refused, freed.refused_bytes = freed.refused + 1, freed.refused_bytes + size
            if len(freed.not_stored) < _REFUSED:
                freed.not_stored.append({"path": shown(found.path), "state": self._state(ino, tasks)})
            return False
        if self._ns.pins.is_pinned(ino):
            freed.pinned, freed.pinned_bytes = freed.pinned + 1, freed.pinned_bytes + size
            return False
        return True

    def _cached(self, found: Found) -> int:
        """How many bytes of it are here; the row of one that nobody wants any more may be gone by now."""
        try:
            inode = self._t.inodes.get(found.inode.ino)
        except Stale:
            return 0
        return cached_bytes_of(self._contents, inode)
