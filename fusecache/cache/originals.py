"""What a file has of its version in the store, when others than us write to it: the kernel, which does not tell.

So what the blocks hash to is kept before, and compared with what they hash to once nobody can write any more. It is
in memory only: after a restart all of such a file is taken for changed.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from fusecache.cache.base import Base
from fusecache.cache.blocks import block_count, hash_block
from fusecache.cache.content import Content
from fusecache.cache.presence import Presence
from fusecache.cache.sharing import Sharing
from fusecache.cache.sums import SUM_BYTES, fits, sum_of
from fusecache.types import Extent, InodeNo, LowerId


class Original(NamedTuple):
    """The blocks of a version, of `SUM_BYTES` each."""

    label: LowerId
    size: int
    sums: bytes
    """As `cache.sums` packs them; zeros where nothing is known."""


class Originals:
    """Belongs to the loop; what reads runs in threads."""

    def __init__(self, sharing: Sharing, threads: trio.CapacityLimiter) -> None:
        self._sharing = sharing
        self._threads = threads
        self._of: dict[InodeNo, Original] = {}

    def __repr__(self) -> str:
        return f"<Originals of {len(self._of)} files>"

    def __contains__(self, ino: InodeNo) -> bool:
        """Whether something can be recognised of it."""
        return ino in self._of

    def keep(self, content: Content) -> None:
        """Others may write to a whole content from now on: each block of its base counts as changed, until `recognise`.

        The caller has begun its sums.
        """
        base = _base_of(content)
        kept = self._of.get(content.ino)
        if kept is None or kept.label != base.label:
            self._of[content.ino] = Original(base.label, base.size, _sums_of_base(content, base))
        _distrust(content)

    def derive(self, content: Content, source: Content, *, end: int, is_told: bool) -> None:
        """The first `end` bytes of a whole, dirty content are those of a clean one, just copied: it is made from the
        version that this is of, and the store may do the same. `is_told`: nobody writes to it without telling us.

        The caller commits the new base, and has begun the sums of the source.
        """
        base = _base_of(source)
        changed = None if content.presence is None else content.presence.changed_bits()
        count = block_count(end, content.block_size)
        content.presence = Presence(count, None, changed=changed or b"")
        content.base = Base(*base.label, size=end)
        if not is_told:
            self._of[content.ino] = Original(base.label, base.size, source.sums.packed() or b"")
            _distrust(content)

    def forget(self, ino: InodeNo) -> None:
        """It is gone."""
        self._of.pop(ino, None)

    async def recognise(self, content: Content, known: bytes | None) -> bool:
        """Find which blocks are as they were; True if there are any, which count as unchanged from now on.

        `known` are the sums of its present bytes, as far as somebody has read them: the others are read now.
        Nothing is known while somebody can write to it, or if it changed meanwhile. A cancelled caller leaves a
        thread that comes to its end.

        Raises:
            ContentLost: the disk refused.
        """
        original, base = self._of.get(content.ino), content.base
        if original is None or base is None or content.presence is None or original.label != base.label:
            return False
        if not self._sharing.is_quiet(content):
            return False
        changes, end = content.changes, min(base.size, original.size)
        with content.held():
            same = await self._read(content, original, end, known if known and fits(known, content.size) else b"")
        if (content.changes, content.base) != (changes, base):
            return False
        del self._of[content.ino]
        for extent in same:
            content.presence.unchange(_within(extent, content.block_size, base.size))
        return bool(same)

    async def _read(self, content: Content, original: Original, end: int, known: bytes) -> list[Extent]:
        return await trio.to_thread.run_sync(unchanged_runs, content, original, end, known, limiter=self._threads)


def _base_of(content: Content) -> Base:
    assert content.base is not None
    return content.base


def _distrust(content: Content) -> None:
    """Any of it may be other bytes, at any time."""
    assert content.presence is not None
    content.dirtied()
    content.changes += 1
    content.sums.forget()
    content.presence.written(range(content.presence.count))
    content.map_unsaved = True


def _sums_of_base(content: Content, base: Base) -> bytes:
    """Of a content that is dirty already, some blocks may be other than the base's: of those nothing is known."""
    packed = content.sums.packed()
    if packed is None or not fits(packed, content.size) or content.presence is None:
        return b""
    sums = bytearray(packed)
    unchanged = set(content.presence.unchanged())
    for block_no in range(len(sums) // 8):
        start, stop = block_no * SUM_BYTES, min((block_no + 1) * SUM_BYTES, content.size)
        blocks = range(start // content.block_size, block_count(stop, content.block_size))
        if stop > base.size or not unchanged.issuperset(blocks):
            sums[block_no * 8 : block_no * 8 + 8] = bytes(8)
    return bytes(sums)


def _within(extent: Extent, block_size: int, size: int) -> range:
    """Return the blocks of a content all of whose bytes below `size` are in the extent."""
    stop = block_count(size, block_size) if extent.end >= size else extent.end // block_size
    return range(block_count(extent.offset, block_size), stop)


def unchanged_runs(content: Content, original: Original, end: int, known: bytes) -> list[Extent]:
    """Return the runs of blocks that hash to what they did. Blocks: for a thread."""
    found: list[Extent] = []
    for start in range(0, end, SUM_BYTES):
        stop = min(start + SUM_BYTES, original.size)
        expected = sum_of(original.sums, start // SUM_BYTES)
        if expected is None or stop > end:
            continue
        found_now = sum_of(known, start // SUM_BYTES) if stop == min(start + SUM_BYTES, content.size) else None
        if (found_now or hash_block(content.pread(start, stop - start))) != expected:
            continue
        if found and found[-1].end == start:
            found[-1] = Extent(found[-1].offset, stop - found[-1].offset)
        else:
            found.append(Extent(start, stop - start))
    return found
