"""Missing blocks from the store: one fetch however many wait for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import trio

from fusecache.backends.base import Backend
from fusecache.cache.content import Base, Content
from fusecache.cache.hedge import Hedge
from fusecache.cache.partial import keep, lacking
from fusecache.cache.readahead import STEP_BYTES
from fusecache.errors import BackendUnavailable, FusecacheError, NoSpace
from fusecache.types import Body, Extent, InodeNo, StoreNo

log = logging.getLogger(__name__)

REQUEST_BYTES = 8 << 20
"""Largest ranged GET: its body is in memory whole, once for each that the limiter lets through."""

MAX_PREFETCHES = 12
"""Requests that nobody waits for. Beyond it prefetching is skipped: readers come first."""


_Key = tuple[InodeNo, int | Extent]
"""A block, or an extent that is fetched without the rest of its blocks."""


class _Fetch:
    """One ranged GET, and who waits for it."""

    __slots__ = ("base", "content", "done", "error", "kept", "needed", "scope", "waiters", "wanted")

    def __init__(self, content: Content, base: Base, wanted: range | Extent, *, kept: bool) -> None:
        self.content = content
        self.base = base
        self.wanted = wanted
        """Blocks, or a part of some."""
        self.kept = kept
        """A prefetch: goes on though nobody waits."""
        self.needed = False
        """Somebody waits for it who cannot do without the cache: it is kept beyond its size, too."""
        self.waiters = 0
        self.done = trio.Event()
        self.error: Exception | None = None
        self.scope = trio.CancelScope()

    def need(self) -> None:
        """Nothing of the content goes meanwhile: who waits would ask for it again, and again."""
        self.content.fetches -= not self.needed
        self.needed = True

    @property
    def extent(self) -> Extent:
        """The bytes that `base` had for these blocks when it was started."""
        if isinstance(self.wanted, Extent):
            return self.wanted
        start = self.wanted.start * self.content.block_size
        return Extent(start, min(self.wanted.stop * self.content.block_size, self.base.size) - start)

    @property
    def keys(self) -> Sequence[_Key]:
        """By what others find it."""
        each = (self.wanted,) if isinstance(self.wanted, Extent) else self.wanted
        return [(self.content.ino, one) for one in each]

    @property
    def current(self) -> bool:
        """Whether the content still takes its missing bytes from there."""
        base = self.content.base
        return base is not None and base.label == self.base.label and base.size <= self.base.size


def _any(count: int) -> bool:
    """The disk alone says what fits."""
    return True


async def _no_room() -> int:
    """Nothing can be given up for what is fetched."""
    await trio.lowlevel.checkpoint()
    return 0


class Fetcher:
    """Makes blocks present. Its requests run inside `run`, so a reader may leave at any time."""

    def __init__(
        self,
        backends: Mapping[StoreNo, Backend],
        *,
        limiter: trio.CapacityLimiter,
        fits: Callable[[int], bool] = _any,
        make_room: Callable[[], Awaitable[int]] = _no_room,
        hedge: Hedge | None = None,
    ) -> None:
        """`limiter` bounds the GETs in flight, and with them `REQUEST_BYTES` each of memory. `fits` tells whether the
        cache may become larger by so many bytes. If not, or on a full disk, `make_room` returns how many bytes it has
        freed; 0: there are none to be had."""
        self._backends = backends
        self._fits = fits
        self._make_room = make_room
        self._limiter = limiter
        self.fetched_bytes = 0
        """Since the start, whatever became of them."""
        self._hedge = hedge or Hedge()
        self._flying: dict[_Key, _Fetch] = {}
        self._prefetch_count = 0
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Fetcher: {len(self._flying)} blocks in flight, {self._prefetch_count} prefetches>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry the requests until cancelled; then whoever still waits gets `BackendUnavailable`."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def ensure(self, content: Content, blocks: Sequence[int], *, may_pass: bool = False) -> None:
        """Return when `blocks` are present; those in flight are waited for, the others requested. They are
        kept beyond the cache's size, too, if need be, as writes and drains depend on them; others `may_pass` it.

        A cancelled caller leaves the blocks as they are; a request that nobody waits for is cancelled.

        Raises:
            PreconditionFailed, NoSuchObject: the base is no longer what its key holds.
            TransientBackendError: nothing was stored; ask again.
            NoSpace: the cache disk has no room for them.
        """
        # The base may change while a request flies; then its bytes are not used, and asked for again.
        while absent := content.absent(blocks):
            fetches = self._joined(content, absent)
            for fetch in fetches:
                if not may_pass:
                    fetch.need()
            await self._landed(fetches)

    async def ensure_part(self, content: Content, extent: Extent) -> None:
        """Return when `extent` can be read: fetched without the rest of its blocks, unless those are on their way.

        A cancellation, and what is raised: as `ensure`.
        """
        while (part := lacking(content, extent)) is not None:
            flying = [n for n in content.missing(part) if (content.ino, n) in self._flying]
            if flying:
                await self._landed(self._joined(content, flying))
                continue
            fetch = self._flying.get((content.ino, part)) or self._start(content, part, kept=False)
            fetch.waiters += 1
            await self._landed([fetch])

    async def get(self, content: Content, extent: Extent) -> Body:
        """Return bytes of the content's base, and keep nothing of them.

        Raises:
            PreconditionFailed, NoSuchObject: the base is no longer what its key holds.
            TransientBackendError: ask again.
        """
        assert content.base is not None, "nobody else has them"
        async with self._limiter:
            return await self._body(content.base, extent)

    def prefetch(self, content: Content, blocks: Sequence[int]) -> int | None:
        """Begin to fetch `blocks` without waiting; never raises. Return the first that was not begun: there is much
        to do, and readers come first."""
        if self._nursery is None:
            return None
        wanted = [n for n in content.absent(blocks) if (content.ino, n) not in self._flying]
        for run in _runs(sorted(wanted), max(1, STEP_BYTES // content.block_size)):
            if self._prefetch_count >= MAX_PREFETCHES:
                return run.start
            self._start(content, run, kept=True)
        return None

    def prefetch_part(self, content: Content, extent: Extent) -> None:
        """Begin to fetch an extent without the rest of its blocks; as `prefetch`."""
        if self._nursery is None or self._prefetch_count >= MAX_PREFETCHES:
            return
        part = lacking(content, extent)
        if part is None or any((content.ino, each) in self._flying for each in [part, *content.missing(part)]):
            return
        self._start(content, part, kept=True)

    def _joined(self, content: Content, absent: Iterable[int]) -> list[_Fetch]:
        """Become a waiter of every request that brings one of the blocks, new ones included."""
        fetches: dict[int, _Fetch] = {}
        new = []
        for block_no in absent:
            flying = self._flying.get((content.ino, block_no))
            if flying is None:
                new.append(block_no)
            else:
                fetches[id(flying)] = flying
        for run in _runs(sorted(new), _longest(content)):
            started = self._start(content, run, kept=False)
            fetches[id(started)] = started
        for fetch in fetches.values():
            fetch.waiters += 1
        return list(fetches.values())

    async def _landed(self, fetches: list[_Fetch]) -> None:
        try:
            for fetch in fetches:
                await fetch.done.wait()
                if fetch.error is not None and fetch.current:  # a moved object is asked for under its new key
                    raise fetch.error.with_traceback(None)
        finally:
            for fetch in fetches:
                self._left(fetch)

    def _left(self, fetch: _Fetch) -> None:
        """One waiter less; a request that nobody wants ends, and no later reader joins it."""
        fetch.waiters -= 1
        if not fetch.waiters and not fetch.kept and not fetch.done.is_set():
            self._forget(fetch)
            fetch.scope.cancel()

    def _start(self, content: Content, wanted: range | Extent, *, kept: bool) -> _Fetch:
        if self._nursery is None:
            raise BackendUnavailable("the file system is stopping: nothing is fetched any more")
        assert content.base is not None, "without a base nothing is absent"
        fetch = _Fetch(content, content.base, wanted, kept=kept)
        self._nursery.start_soon(self._carry_out, fetch)
        self._prefetch_count += kept
        content.retain().fetches += 1
        self._flying.update(dict.fromkeys(fetch.keys, fetch))
        return fetch

    async def _carry_out(self, fetch: _Fetch) -> None:
        """Fetch and store. An error belongs to those who wait, never to the nursery."""
        fetch.error = BackendUnavailable("the file system is stopping")  # unless it comes to an end
        try:
            with fetch.scope:
                async with self._limiter:
                    body = await self._body(fetch.base, fetch.extent)
                await self._store(fetch, body)
                fetch.error = None
            if fetch.scope.cancelled_caught:
                fetch.error = None  # nobody is left to hear of it
        except Exception as exc:  # also a bug is raised where somebody waits
            fetch.error = exc
        finally:
            self._finish(fetch)

    async def _body(self, base: Base, extent: Extent) -> Body:
        get = partial(self._backends[base.store].get, base.key, extent, if_match=base.etag)
        body = await self._hedge.ask(get, extent.length)
        self.fetched_bytes += len(body)
        if len(body) != extent.length:
            raise BackendUnavailable(f"{base.key}: {len(body)} bytes came instead of {extent.length}")
        return body

    async def _store(self, fetch: _Fetch, body: Body) -> None:
        """Fill block by block, letting requests through in between, while these are the bytes the content asks for."""
        content, size, view = fetch.content, fetch.content.block_size, memoryview(body)
        if isinstance(fetch.wanted, Extent):
            await self._fill(fetch, view, partial(keep, content, fetch.wanted))
            return
        for nth, block_no in enumerate(fetch.wanted):
            await self._fill(fetch, view[nth * size : (nth + 1) * size], partial(content.fill, block_no))
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _fill(self, fetch: _Fetch, data: memoryview, store: Callable[[memoryview], None]) -> None:
        while fetch.current:
            try:
                if not fetch.needed and not self._fits(len(data)):
                    raise NoSpace(f"the cache is as large as it may be: no room for a block of {fetch.content!r}")
                store(data)
            except NoSpace:
                if not await self._make_room():
                    raise
            else:
                return

    def _finish(self, fetch: _Fetch) -> None:
        self._forget(fetch)
        self._prefetch_count -= fetch.kept
        fetch.done.set()
        fetch.content.fetches -= not fetch.needed
        fetch.content.close()
        if fetch.error is not None and not fetch.waiters:
            known = isinstance(fetch.error, FusecacheError)  # who needs the blocks will ask, and hear it again
            log.log(logging.DEBUG if known else logging.ERROR, "prefetch: %r: %r", fetch.content, fetch.error)

    def _forget(self, fetch: _Fetch) -> None:
        for key in fetch.keys:
            if self._flying.get(key) is fetch:
                del self._flying[key]


def _longest(content: Content) -> int:
    return max(1, REQUEST_BYTES // content.block_size)


def _runs(blocks: Iterable[int], longest: int) -> Iterator[range]:
    """Yield the ascending `blocks` as runs of neighbours, none longer than `longest`."""
    run = range(0)
    for block_no in blocks:
        if run and block_no == run.stop and len(run) < longest:
            run = range(run.start, block_no + 1)
            continue
        if run:
            yield run
        run = range(block_no, block_no + 1)
    if run:
        yield run
