"""The bytes of one inode: a sparse file, and what is known of its blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from fusecache.cache.base import Base as Base
from fusecache.cache.blocks import block_count, hash_block, span
from fusecache.cache.index import IndexRow, row_of
from fusecache.cache.ledger import Ledger
from fusecache.cache.presence import Presence
from fusecache.cache.sparse import ContentLost, SparseFile
from fusecache.cache.sums import Sums
from fusecache.errors import FusecacheError, NoSpace
from fusecache.types import Extent, InodeNo, ObjectKey, StoreNo

log = logging.getLogger(__name__)


class Content:
    """One inode's bytes, shared by all who opened it; `Contents.open` makes it.

    Sync, for the loop: reads and writes meet the page cache. What is written is journalled when the
    call returns (the process may be killed), not synced. The file is always as long as `size`.
    """

    __slots__ = (
        "_clean", "_forget_row", "_indexed", "_ledger", "_on_last_close", "_removed", "base", "block_size", "changes",
        "emptied", "fetches", "file", "ino", "map_unsaved", "presence", "reading", "row_unsaved", "size", "sums",
        "users",
    )  # fmt: skip

    def __init__(
        self,
        ino: InodeNo,
        file: SparseFile,
        presence: Presence | None,
        *,
        size: int,
        base: Base | None,
        block_size: int,
        clean: bool,
        indexed: bool,
        ledger: Ledger,
        forget_row: Callable[[InodeNo, bool], None],
        on_last_close: Callable[[Content], None],
    ) -> None:
        """`presence` None: every byte is here. `indexed`: the index has a row, which `forget_row` empties, or drops if
        it will not be clean."""
        self.ino = ino
        self.size = size
        self.base = base
        self.block_size = block_size
        self.map_unsaved = False
        """The block map differs from the one that the namespace was given: to be committed, with
        `base.size`, before a write is acknowledged. Never set without a base."""
        self.row_unsaved = False
        """The index knows less than this."""
        self.changes = 0
        """Grows with each change of the bytes, while this is open; `emptied` with each that leaves none of them."""
        self.emptied = 0
        self.sums = Sums()  # begun with the first change; `cache.summing` knows more
        self.file = file
        """The file behind it: for what is no matter of which bytes are here."""
        self.presence = presence
        self._clean = clean
        self._indexed = indexed
        self._ledger = ledger
        self._forget_row = forget_row
        self._on_last_close = on_last_close
        self.users = 1
        """How many have it open; those who fetch, send or sync it are among them."""
        self.fetches = 0
        """How many of them bring blocks for readers, who look again after each wait: pieces may go meanwhile."""
        self._removed = False
        self.reading: tuple[StoreNo, ObjectKey] | None = None
        self.watch()

    def __repr__(self) -> str:
        state = "clean" if self._clean else "dirty"
        return f"<Content {self.ino:x} {state}, {self.cached_bytes}/{self.size} bytes, {self.users} users>"

    @property
    def whole(self) -> bool:
        """Whether every byte is here: nothing needs to be asked of `missing`."""
        return self.presence is None or self.presence.whole

    @property
    def is_here(self) -> bool:
        """Whether some byte of it is."""
        presence = self.presence
        return presence is None or bool(presence.size or presence.doubts or presence.pieces)

    @property
    def clean(self) -> bool:
        """Whether the bytes are those of `base`, unchanged."""
        return self._clean

    @property
    def cached_bytes(self) -> int:
        """How many of `size` bytes are here, holes included."""
        if self.base is None or self.presence is None:
            return self.size
        here = self.presence.bytes_here(self.block_size, self.base.size) + self.presence.pieces.size_bytes
        return min(here, self.base.size) + self.size - self.base.size

    # --- bytes ---

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer past the end. The caller made the blocks present."""
        if offset >= self.size:
            return b""
        self.fd()
        return self.file.pread(offset, length)

    def pwrite(self, offset: int, data: bytes | memoryview, *, hole: bool = False) -> int:
        """Write and return how many bytes went in: fewer only on a full disk. With `hole` the data are zeros.

        What the data covers partly must be present (`missing_for_write`). Afterwards look at `map_unsaved`.

        Raises:
            NoSpace: nothing was written.
        """
        self.fd()
        self.sums.begin(self.size)
        if self.presence is not None:
            assert not self.missing_for_write(Extent(offset, len(data))), f"{self!r}: written over a hole"
            self.dirtied()
        written = self.file.zero(offset, data) if hole else self.file.pwrite(offset, data)
        if self.presence is not None:
            written = self._note_written(offset, written, len(data))
        if offset + written > self.size and written:
            self.size = offset + written
        self.changes += 1
        self.sums.wrote(offset, memoryview(data)[:written])
        return written

    def fill(self, block_no: int, data: bytes | memoryview) -> None:
        """Store a block that was fetched from the base, unless it became present meanwhile: a write won.

        `data` may be longer than what still counts of the block, never shorter.

        Raises:
            NoSpace: the block is as absent as before.
        """
        if self.presence is None or block_no in self.presence:
            return
        body = memoryview(data)[: self.block_length(block_no)]
        assert len(body) == self.block_length(block_no), f"{self!r}: block {block_no} has {len(body)} bytes"
        self.fd()
        if self.file.fill(block_no * self.block_size, body) < len(body):
            raise NoSpace(f"the cache disk is full: no room for block {block_no} of content {self.ino:x}")
        self._arrived(block_no, hash_block(body))

    def truncate(self, size: int, *, kept_as: int | None = None) -> None:
        """Cut or extend to `size`; what counts of the base shrinks with it, and is zeros if extended again.

        With `kept_as`, the bytes of a file that is emptied are kept beside, under this number.

        The file is cut before the caller commits size and base: a crash between shows the new size.
        """
        if size == self.size and (self.file.fd >= 0 or self.file.untouched):
            return
        self.fd()
        self.sums.begin(self.size)
        self.dirtied()
        if kept_as is not None and not size and self.file.fd >= 0:
            self.file.begin_anew(kept_as)
        else:
            self.file.truncate(size)
        self.size = size
        self.changes += 1
        self.emptied += not size
        self.sums.cut(size)
        if self.base is not None and self.presence is not None and size < self.base.size:
            self.base = replace(self.base, size=size)
            self.presence.resize(block_count(size, self.block_size))
            self.map_unsaved = True
            self.watch()

    @property
    def on_disk(self) -> bool:
        """Whether there is, or should be, a file of it."""
        return not self.file.untouched

    def sync(self) -> None:
        """Make what was written so far survive a power loss. Blocks: call it in a thread, while `held`."""
        self.file.sync()

    def fd(self) -> int:
        """Return the descriptor; it may be closed at the next await point, unless this is `held`."""
        if self.file.fd < 0:
            self._open_file()
        return self.file.fd

    # --- blocks ---

    def missing(self, extent: Extent) -> list[int]:
        """Return the blocks of `extent` that must be fetched before it is read.

        Blocks from before an unclean boot are compared with their hashes here, once.
        """
        if self.presence is None or self.base is None or self.presence.whole:
            return []
        return self.absent(span(extent, self.base.size, self.block_size))

    def missing_for_write(self, extent: Extent) -> list[int]:
        """Return the absent blocks that a write to `extent` would cover only in part."""
        if self.presence is None or self.base is None or self.presence.whole:
            return []
        # The tail block counts up to its full length: behind the base's last byte it is as absent.
        blocks = span(extent, self.presence.count * self.block_size, self.block_size)
        return [n for n in sorted({*blocks[:1], *blocks[-1:]}) if self._torn_by(n, extent)]

    def absent(self, blocks: Iterable[int]) -> list[int]:
        """Return those of `blocks` that still have to be fetched."""
        presence = self.presence
        if presence is None:
            return []
        found = presence.absent(blocks) if isinstance(blocks, range) else [n for n in blocks if n not in presence]
        return [n for n in found if not self._proved(n)] if presence.doubts else found

    def block_length(self, block_no: int) -> int:
        """Return how many bytes of a block the base supplies."""
        assert self.base is not None
        return min(self.block_size, self.base.size - block_no * self.block_size)

    def block_map(self) -> bytes:
        """Return the present blocks below `base.size`, lowest bit first; empty without a base."""
        return b"" if self.presence is None else self.presence.bits()

    def map_saved(self) -> None:
        """The caller has committed `block_map()`."""
        self.map_unsaved = False

    def relabel(self, base: Base | None, *, hashes: bytes = b"") -> None:
        """The same bytes are now this version in the store: clean, and what is missing comes from there.

        `hashes` may come from whoever read the bytes to send them. None makes a whole content local.
        """
        if base is None:
            assert self.whole, f"{self!r}: missing blocks need a base"
            self.dirtied()
            self.presence = None
        else:
            count = block_count(base.size, self.block_size)
            if self.presence is None:
                self.presence = Presence(count, None)
            self.presence.adopt(count, hashes, is_as_long=self.base is not None and self.base.size == base.size)
            self._clean = self.row_unsaved = True
        self.base = base
        self.map_unsaved = False
        self.watch()

    def rebase(self, base: Base) -> None:
        """Missing blocks come from `base` now (their object was moved); clean or dirty as before."""
        assert self.base is not None
        self.base = replace(base, size=min(base.size, self.base.size))
        self.row_unsaved = self._clean
        self.watch()

    def unvouched(self) -> None:
        """Blocks of it go: after a crash, the index must not say that they are here."""
        if self._indexed:
            self._forget_row(self.ino, self._clean)
        self._indexed, self.row_unsaved = False, self._clean

    def row_saved(self) -> None:
        """The index has taken `index_row`."""
        self.row_unsaved = False
        self._indexed = True

    def index_row(self, boot_id: str) -> IndexRow | None:
        """Return what the index should know; None for a dirty, removed or empty-handed content."""
        if not self._clean or self._removed or self.base is None or self.presence is None:
            return None
        return row_of(self.base.label, self.size, self.block_size, self.presence, boot_id)

    def watch(self) -> None:
        """Keep the count of those who still read from an object."""
        wanted = None if self.base is None or self.whole or not self.users else (self.base.store, self.base.key)
        self.reading = self._ledger.reads(wanted, instead_of=self.reading)

    # --- life ---

    def retain(self) -> Content:
        """Count one more user; paired with `close`."""
        self.users += 1
        return self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be one more user for the block, whose descriptor stays open: for sending and syncing."""
        with closing(self.retain()), self.file.held():
            if self.on_disk:
                self.fd()
            yield

    def close(self) -> None:
        """Count one user less; after the last, the descriptor is closed."""
        self.users -= 1
        assert self.users >= 0, f"{self!r}: closed too often"
        if not self.users:
            self._on_last_close(self)
            self.file.close()
            self.watch()

    def drop(self) -> None:
        """Nobody wants it any more: the index need not know it."""
        self._removed = True

    def unlink(self) -> None:
        """Remove the name; the bytes live until the last close."""
        try:
            self.fd()  # opened now: later, the path would make a new file
        except FusecacheError as exc:
            log.warning("%r: removed, though %s", self, exc)
        self._removed = True
        self.file.unlink()

    def charge(self) -> None:
        """Count the disk space it takes now."""
        self.file.charge()

    # --- helpers ---

    def _open_file(self) -> None:
        """Open the file and bring it to `size`; bytes that only it has are never cut."""
        length = self.file.open()
        if length > self.size and not self._clean:
            log.warning("%r: the file has %d bytes, more than was told; all are kept", self, length)
            self.size = length
            self.sums.forget()
        elif length < self.size and self.whole and not self._clean:
            self.file.close()
            raise ContentLost(f"{self!r}: only {length} bytes are there, and no store has the others")
        elif length != self.size:
            self.file.truncate(self.size)

    def dirtied(self) -> None:
        """The bytes are about to differ from the label: nothing may vouch for them after a crash."""
        if not self._clean:
            return
        self._clean = False
        self.unvouched()
        self.map_unsaved = True
        if self.presence is not None:
            self.presence.track()

    def _note_written(self, offset: int, written: int, wanted: int) -> int:
        """Mark what was written as present and return how much of it counts.

        A block that was absent and got only the first part of its bytes stays absent.
        """
        assert self.presence is not None
        assert self.base is not None
        end = offset + written
        torn = end // self.block_size
        if written < wanted and end < self.base.size and torn not in self.presence:
            self.presence.pieces.discard((torn,))  # some are overwritten
            end = max(offset, torn * self.block_size)
            if end == offset:
                raise NoSpace(f"the cache disk is full: no room for block {torn} of content {self.ino:x}")
        if self.presence.written(range(offset // self.block_size, block_count(end, self.block_size))):
            self.map_unsaved = True
            self.watch()
        return end - offset

    def _arrived(self, block_no: int, value: int) -> None:
        assert self.presence is not None
        self.presence.add(block_no, value)
        self.row_unsaved |= self._clean
        self.map_unsaved |= not self._clean  # else a later write there would look committed, and be lost in a crash
        self.watch()

    def _torn_by(self, block_no: int, extent: Extent) -> bool:
        start = block_no * self.block_size
        covered = extent.offset <= start and extent.end >= start + self.block_length(block_no)
        return not covered and bool(self.absent((block_no,)))

    def _proved(self, block_no: int) -> bool:
        """Compare a doubtful block with its hash; False if it is absent, or is now."""
        if (presence := self.presence) is None or (expected := presence.doubtful_hash(block_no)) is None:
            return False
        length = self.block_length(block_no)
        data = self.pread(block_no * self.block_size, length)
        if len(data) == length and hash_block(data) == expected:
            self._arrived(block_no, expected)
            return True
        presence.refute(block_no)
        self._ledger.bad_blocks += 1
        self.row_unsaved = self._clean
        log.warning("%r: block %d is damaged and will be fetched again", self, block_no)
        return False
