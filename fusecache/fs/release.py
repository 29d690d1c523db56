"""Clean files are given up when room runs short, in the order of `cache.eviction`.

Then what is clean of open ones: else writers that wait for room would keep it from themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

import trio

from fusecache.cache.content import Content
from fusecache.cache.contents import Contents
from fusecache.cache.shrink import can_shrink, shrink
from fusecache.errors import FusecacheError, Stale
from fusecache.fs.opening import content_of
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_EVERY_S = 0.1
_SHARE = 4
"""Times what a look takes that finds nothing is the pause after it."""
_LONGEST_S = 2.0
_BATCH = 200
"""Files between two looks at other requests."""
_ALL = 1 << 62
"""Bytes."""
_FOLDERS = 8
"""Of 256, in which contents are looked for that the index lost, each time."""
_LARGE = 64 << 20
"""From here on, files go piece by piece."""
_ROUNDS = 4
"""Somebody who was used three times is passed over so often."""
_MAX_BATCHES = 50
"""Looked at in one go: most could go, but some wait for a copy or for who has them open."""


class Releaser:
    """Deletes local copies of what the store has. `wanted` gives how many bytes should go."""

    def __init__(
        self,
        namespace: Namespace,
        contents: Contents,
        durability: Durability,
        *,
        wanted: Callable[[], int],
        is_open: Callable[[InodeNo], bool],
    ) -> None:
        """`is_open` tells whether applications have a file open: others rely on what is here of it."""
        self._ns = namespace
        self._t = namespace.tables
        self._contents = contents
        self._durability = durability
        self._wanted = wanted
        self._is_open = is_open
        self._one_at_a_time = trio.Lock()
        self._released = 0
        """Bytes, since the start: of who waits for another's turn to end, what that frees is room, too."""

    async def run(self) -> None:
        """Make room whenever it is wanted, until cancelled or the namespace is degraded."""
        pause_s = _EVERY_S
        while self._ns.database.degraded is None:
            await trio.sleep(pause_s)
            began, pause_s = trio.current_time(), _EVERY_S
            try:
                if not await self.make_room():  # whoever must stay is not looked at all the time
                    pause_s = min(_LONGEST_S, max(_EVERY_S, _SHARE * (trio.current_time() - began)))
            except FusecacheError as exc:
                log.warning("clean files could not be given up, and will be: %s", exc)
        await trio.sleep_forever()

    async def make_room(self) -> int:
        """Give up as much as is wanted, if there is; return how many bytes were freed since this was called."""
        before = self._released
        async with self._one_at_a_time:
            if self._wanted():
                self._contents.flush_index()  # what became clean a moment ago is found, too
            await self._release_strays()
            for _ in range(_ROUNDS):
                if not await self._round():
                    break
            if wanted := self._wanted():
                await self._shrink([each for each in self._contents.opened() if self._is_idle(each)], wanted)
        return self._released - before

    async def give_up(self, numbers: Sequence[InodeNo]) -> int:
        """Give up those of these files that nobody needs here; return how many bytes that frees."""
        async with self._one_at_a_time:
            before = self._released
            self._contents.flush_index()  # what became clean a moment ago is found, too
            await self._release(numbers, _ALL)
            chosen = set(numbers)
            await self._shrink([each for each in self._contents.opened() if each.ino in chosen], _ALL)
            return self._released - before

    async def _round(self) -> bool:
        """Look at each content once, while room is wanted; False: another round will find no more."""
        eviction = self._contents.eviction
        eviction.begin()
        for _ in range(_MAX_BATCHES):
            await trio.lowlevel.checkpoint()
            if not (wanted := self._wanted()):
                return False
            if (unused := self._contents.unused(_BATCH, wanted)) is None:
                return eviction.passed > 0
            await self._release(unused, wanted)
        return False

    async def _release(self, unused: Sequence[InodeNo], wanted: int) -> None:
        enough = self._released + wanted
        settled = await self._settled(unused) if unused else []
        stay = set(unused).difference(inode.ino for inode in settled)
        for inode in settled:
            assert inode.base is not None
            freed = self._give_up(inode, enough - self._released)
            self._freed(freed)
            if not freed:
                stay.add(inode.ino)
            if self._released >= enough:
                break
        self._contents.eviction.stay(stay)

    async def _release_strays(self) -> None:
        for _ in range(_FOLDERS):
            if not self._wanted() or (strays := self._contents.strays.next()) is None:
                return
            for inode in await self._settled(strays) if strays else ():
                self._freed(self._contents.strays.release(inode.ino))
            await trio.lowlevel.checkpoint()

    def _give_up(self, inode: Inode, wanted: int) -> int:
        """Delete a closed content, or take as much as is wanted off a large one; return how much that frees."""
        assert inode.base is not None
        is_large = inode.size >= max(_LARGE, 2 * wanted)
        if is_large or self._contents.sharing.is_on:
            with closing(content_of(self._contents, inode)) as content:
                if not self._contents.sharing.is_unused(content):
                    return 0  # a mapping has outlived its close: the disk would not get the space back
                if is_large and can_shrink(content) and (freed := shrink(content, wanted)):
                    return freed
        return self._contents.release(inode.ino, inode.base)

    async def _shrink(self, idle: Sequence[Content], wanted: int) -> None:
        clean = {inode.ino: inode.base for inode in await self._settled([each.ino for each in idle])} if idle else {}
        enough = self._released + wanted
        for content in self._contents.opened() if clean else ():
            if content.base is not None and clean.get(content.ino) == content.base.label and self._is_idle(content):
                self._freed(shrink(content, enough - self._released))
            if self._released >= enough:
                return

    def _freed(self, count: int) -> None:
        self._released += count
        self._contents.traffic.evicted(count)

    def _is_idle(self, content: Content) -> bool:
        """Whether nobody but applications has it open, and no call of theirs relies on what is here of it."""
        return can_shrink(content) and self._is_open(content.ino) and self._contents.sharing.is_unused(content)

    async def _settled(self, numbers: Sequence[InodeNo]) -> list[Inode]:
        """Return those that are expendable, and were before all that was committed became safe: no power loss can
        take back that the store has them, or the rows would want bytes that nobody has any more."""
        chosen = [inode for inode in map(self._expendable, numbers) if inode is not None]
        await self._durability.reached(self._ns.database.seq)
        return [inode for inode in chosen if _is_same(inode, self._expendable(inode.ino))]

    def _expendable(self, ino: InodeNo) -> Inode | None:
        """The inode, if all of its bytes are an object's, nothing is left to be done about it, and no pin keeps it."""
        try:
            inode = self._t.inodes.get(ino)
        except Stale:
            return None  # the upkeep deletes it
        if self._ns.pins.is_pinned(ino):
            return None
        is_clean = inode.base is not None and inode.blocks is None and inode.base_size == inode.size
        return inode if is_clean and inode.nlink and not self._t.tasks.all_of_inode(ino) else None


def _is_same(before: Inode, now: Inode | None) -> bool:
    return now is not None and (now.generation, now.base) == (before.generation, before.base)
