"""What open files lack of their bytes: fetched when somebody reads or overwrites it, and a little before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import trio

from fusecache.cache.content import Base, Content
from fusecache.cache.fetch import Fetcher
from fusecache.cache.partial import takes_pieces
from fusecache.errors import FusecacheError, NoSuchObject, PreconditionFailed, Stale
from fusecache.fs.handles import Handle
from fusecache.types import Body, Extent, InodeNo, LowerId

SMALL_BYTES = 8 << 20
"""Files up to this size are fetched as a whole, in one request, as a second one would cost more than the bytes: then
the kernel reads them by itself."""
_MOMENT_S = 1.0
"""So long an open may wait for that."""


class Absent:
    """Makes blocks present. A cancelled caller leaves what arrived."""

    def __init__(
        self,
        fetcher: Fetcher,
        base_instead_of: Callable[[InodeNo, LowerId], Awaitable[LowerId | None]],
        *,
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        """`base_instead_of` tells where missing bytes come from whose version is gone from the store."""
        self._small_bytes = small_bytes
        self._fetcher = fetcher
        self._base_instead_of = base_instead_of

    async def read(self, handle: Handle, extent: Extent) -> None:
        """Fetch what `extent` lacks, and begin with what is likely to be read next.

        Raises:
            Stale: the version that was opened is gone from the store.
        """
        content = handle.file.content
        if content.size <= self._small_bytes:
            while content.missing(extent):
                await self.fetch(content, content.missing(Extent(0, content.size)), may_pass=True)
            return
        plan = handle.readahead.on_read(extent, content.size)
        is_exact = plan.exact and takes_pieces(content)
        self._ahead(handle, plan.ahead, is_exact=is_exact)
        if is_exact:
            await self._moved_along(content, lambda: self._fetcher.ensure_part(content, extent))
            return
        while missing := content.missing(extent):
            await self.fetch(content, missing, may_pass=True)

    def _ahead(self, handle: Handle, extents: Iterable[Extent], *, is_exact: bool) -> None:
        """Begin with what is likely to be read next; what there is no time for now is begun at the next read."""
        content = handle.file.content
        for extent in extents:
            if is_exact:
                self._fetcher.prefetch_part(content, extent)
                continue
            left = self._fetcher.prefetch(content, content.missing(extent))
            if left is not None:
                handle.readahead.stopped(left * content.block_size)

    async def fetch(self, content: Content, missing: list[int], *, may_pass: bool = False) -> None:
        """Make blocks present; if their object was moved by us meanwhile, from where it is now.

        Within the cache's size, if the caller `may_pass` it. Raises Stale, NoSpace.
        """
        await self._moved_along(
            content, lambda: self._fetcher.ensure(content, content.absent(missing), may_pass=may_pass)
        )

    async def _moved_along(self, content: Content, request: Callable[[], Awaitable[None]]) -> None:
        """Make a request, and if what it asks for was moved by us meanwhile, make it again. Raises Stale."""
        try:
            await request()
        except (NoSuchObject, PreconditionFailed) as exc:
            base = None if content.base is None else await self._base_instead_of(content.ino, content.base.label)
            if base is None or content.base is None:
                raise Stale(f"the object of inode {content.ino} was replaced in the store") from exc
            content.rebase(Base(*base, size=content.base.size))
            await request()

    async def past(self, content: Content, extent: Extent) -> Body:
        """Return bytes of the base that nobody keeps. Raises Stale."""
        bodies: list[Body] = []

        async def get() -> None:
            bodies.append(await self._fetcher.get(content, extent))

        await self._moved_along(content, get)
        return bodies[0]

    async def complete(self, content: Content) -> None:
        """Fetch all that a small content lacks, as far as that takes a moment and nothing is in the way."""
        if content.whole or content.size > self._small_bytes:
            return
        self.prefetch(content)  # goes on when nobody waits any more
        with trio.move_on_after(_MOMENT_S), suppress(FusecacheError):  # else whoever reads is told
            while missing := content.missing(Extent(0, content.size)):
                await self.fetch(content, missing, may_pass=True)

    def prefetch(self, content: Content) -> None:
        """Begin to fetch all that a content lacks, though nobody waits for it."""
        if missing := content.missing(Extent(0, content.size)):
            self._fetcher.prefetch(content, missing)
