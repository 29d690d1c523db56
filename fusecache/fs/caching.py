"""What people do to the cache by path: fill it, empty it, hold things there, and look what is in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial

from fusecache.cache.contents import Contents
from fusecache.fs.absent import Absent
from fusecache.fs.catalog import Catalog
from fusecache.fs.describe import Describer
from fusecache.fs.free import Freeing
from fusecache.fs.load import Loader, Wish
from fusecache.fs.names import Names
from fusecache.fs.pinning import Pinning
from fusecache.fs.space import Space
from fusecache.fs.walk import Found, Walk
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.types import InodeNo

_SLACK = 0.05
"""Of the cache: so much more than wanted may be given up at a time."""
Tell = Callable[[dict[str, object]], None]


class Caching:
    """Paths are relative to the mount's root, b"" is the root. What is not there raises NotFound.

    A cancellation leaves what has been done. Results are as `--json` shows them.
    """

    def __init__(
        self,
        namespace: Namespace,
        names: Names,
        contents: Contents,
        durability: Durability,
        describer: Describer,
        absent: Absent,
        space: Space,
        *,
        give_up: Callable[[Sequence[InodeNo]], Awaitable[int]],
    ) -> None:
        """`give_up` deletes the local copies of files nobody needs, and returns how much that frees of the disk."""
        self._t = namespace.tables
        self._describer = describer
        walk = Walk(self._t, names)
        self._loader = Loader(self._t, names, contents, absent, walk, room=partial(_room, space, contents))
        self._pinning = Pinning(
            namespace, contents, durability, self._loader, walk, limit=lambda: space.look().capacity
        )
        self._freeing = Freeing(namespace, contents, walk, release=give_up, state=describer.state)
        self._catalog = Catalog(self._t, names, describer)

    def __repr__(self) -> str:
        return f"<Caching {self._loader!r}>"

    async def load(self, path: bytes, wish: Wish, *, pin: bool, progress: Tell) -> dict[str, object]:
        """Fetch what is at or below a path; with `pin` it stays, unless there is no room for all that is pinned:
        then nothing is fetched."""
        ino, row = await self._describer.resolve(path)
        told: dict[str, object] = {}
        if pin:
            pinned = await self._pinning.pin(path, ino, row, progress=lambda now: progress(now.as_dict()))
            told = {"pin": pinned}
            if not pinned["pinned"]:
                return told
        loaded = await self._loader.load(path, ino, row, wish, progress=lambda now: progress(now.as_dict()))
        return loaded.as_dict() | told

    async def free(self, path: bytes, *, progress: Tell) -> dict[str, object]:
        """Give up what is cached at or below a path, but what the store lacks, what is pinned, and what is in use."""
        ino, row = await self._describer.resolve(path)
        inode = self._t.inodes.get(ino)
        found = None if inode.is_dir or row is None else Found(path, row, inode)
        return asdict(await self._freeing.free(path, found, ino, progress=lambda now: progress(asdict(now))))

    async def pin(self, path: bytes, *, progress: Tell) -> dict[str, object]:
        """Keep what is, or comes to be, in the cache at or below a path."""
        ino, row = await self._describer.resolve(path)
        return await self._pinning.pin(path, ino, row, progress=lambda now: progress(now.as_dict()))

    async def unpin(self, path: bytes) -> dict[str, object]:
        """Take away the pins at or below a path, which need not be there any more."""
        return await self._pinning.unpin(path)

    async def pinned(self) -> dict[str, object]:
        """Return the pinned paths, and what they hold."""
        return await self._pinning.report()

    async def ls(self, path: bytes, *, after: bytes) -> dict[str, object]:
        """Return a page of a directory's names above `after`, each with what is here of it."""
        return await self._catalog.page(path, after=after)


def _room(space: Space, contents: Contents) -> int:
    """Return how much may be fetched before something goes for it that was used more than once, or lately."""
    pressure = space.look()
    return pressure.room + max(0, contents.eviction.surplus() - int(pressure.capacity * _SLACK))
