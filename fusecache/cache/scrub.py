"""Compares what is cached with what was fetched, slowly and over and over: before a reader meets what the disk lost.

A block that is not what it was is given up, and so fetched again by whoever needs it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

import trio

from fusecache.backends.pace.turns import Turns
from fusecache.cache.blocks import UNKNOWN_HASH, BlockHashes, BlockMap, block_count, hash_block
from fusecache.cache.index import ContentIndex, IndexRow
from fusecache.cache.places import Places
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

ROUND_S = 86400.0
"""From the begin of a round to that of the next one, at least: disks lose little in a day."""
_START_S = 30.0
"""A mount that has just begun has other things to do."""
_LEAST_BYTES = 256 << 10
"""What a block counts as at least: a small one costs a thread and an open, whatever its size."""
_BATCH = 100
_POSITION, _BEGAN = "scrub_position", "scrub_began_s"


@dataclass(slots=True)
class Scrubbed:
    """Since the start."""

    checked_bytes: int = 0
    corrupt: int = 0
    """Blocks."""


class Scrub:
    """Goes through the clean contents in the order of their numbers, and after a restart about from where it was.

    What an application writes is not its business: that is compared as it is sent.
    """

    def __init__(
        self,
        index: ContentIndex,
        places: Places,
        refute: Callable[[InodeNo, IndexRow, int], bool],
        *,
        bytes_per_s: int,
        wall_s: Callable[[], float],
    ) -> None:
        """`refute` gives up a block of a content, if that still has this row and nobody uses it. A rate of 0: never."""
        self._index = index
        self._places = places
        self._refute = refute
        self._turns = Turns(bytes_per_s or None)
        self._wall_s = wall_s
        self._in_use: list[tuple[InodeNo, IndexRow, int]] = []
        """Bad blocks that somebody used when they were found."""
        self.done = Scrubbed()

    async def run(self) -> None:
        """Check everything once a day, until cancelled."""
        if self._turns.per_s is None:
            await trio.sleep_forever()
        await trio.sleep(_START_S)
        while True:
            if not self._index.noted(_POSITION):
                # A clock that was set back must not make it wait for years.
                since_s = max(0.0, self._wall_s() - self._index.noted(_BEGAN))
                await trio.sleep(max(0.0, ROUND_S - since_s))
                self._index.note(_BEGAN, int(self._wall_s()))
            await self.round()

    async def round(self) -> None:
        """Check what has not been checked in this round; a cancellation leaves it for the next call."""
        while numbers := self._index.after(InodeNo(self._index.noted(_POSITION)), count=_BATCH):
            for ino in numbers:
                await self._check(ino)
                self._index.note(_POSITION, ino)
                self._in_use = [each for each in self._in_use if not self._refute(*each) and self._is_of(*each[:2])]
        self._index.note(_POSITION, 0)
        await trio.lowlevel.checkpoint()

    async def _check(self, ino: InodeNo) -> None:
        """Read the blocks of a content of which the hash is known, as long as it is the same one."""
        if (row := self._index.get(ino)) is None:
            return
        hashes, count = BlockHashes(row.hashes), block_count(row.size, row.block_size)
        here = None if row.bitmap is None else BlockMap(count, row.bitmap)
        for block_no in range(count):
            expected = hashes.get(block_no)
            if expected == UNKNOWN_HASH or (here is not None and block_no not in here):
                continue
            length = min(row.block_size, row.size - block_no * row.block_size)
            await trio.sleep_until(self._turns.take(trio.current_time(), amount=max(length, _LEAST_BYTES)))
            place = (self._places.path(ino), block_no * row.block_size, length)
            found = await trio.to_thread.run_sync(_hash, *place)
            self.done.checked_bytes += length
            if not self._is_of(ino, row):
                return
            if found != expected and self._has(ino, block_no, expected) and _hash(*place) != expected:
                self._found_bad(ino, row, block_no)

    def _found_bad(self, ino: InodeNo, row: IndexRow, block_no: int) -> None:
        self.done.corrupt += 1
        is_gone = self._refute(ino, row, block_no)
        when = "will be fetched again" if is_gone else "is in use: given up later"
        log.warning("block %d of %s is damaged on the cache disk, and %s", block_no, row.label.key, when)
        if not is_gone:
            self._in_use.append((ino, row, block_no))

    def _has(self, ino: InodeNo, block_no: int, expected: int) -> bool:
        """Whether a block is still there: it may have been given up while it was read."""
        row = self._index.get(ino)
        if row is None or BlockHashes(row.hashes).get(block_no) != expected:
            return False
        return row.bitmap is None or block_no in BlockMap(block_count(row.size, row.block_size), row.bitmap)

    def _is_of(self, ino: InodeNo, row: IndexRow) -> bool:
        """Whether a content is still that version, unchanged."""
        now = self._index.get(ino)
        return now is not None and now.label == row.label


def _hash(path: str, offset: int, length: int) -> int | None:
    """Return what the bytes of a file hash to; None: they cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, offset)
    except OSError:
        return None
    return hash_block(data) if len(data) == length else None
