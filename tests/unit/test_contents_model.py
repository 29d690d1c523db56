"""Contents against a plain bytearray, over closes, kills of the process and losses of power."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fusecache.cache.changes import changed_map, mark, unchanged
from fusecache.cache.shrink import can_shrink, lose
from fusecache.types import Extent
from tests.amounts import examples
from tests.unit.content_builders import BLOCK, INO, KEY, STORE, base_of, fetch, open_contents, read_all

OFFSETS = st.integers(0, 6 * BLOCK)
BODIES = st.binary(min_size=1, max_size=3 * BLOCK)


class ContentMachine(RuleBasedStateMachine):
    """The test plays the namespace: it commits what the content asks for, and survives the kills."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.contents = open_contents(self.root)
        self.boot_count = 0

    @initialize(body=st.none() | st.binary(max_size=5 * BLOCK))
    def begin(self, body: bytes | None) -> None:
        self.object = body or b""
        self.version = 0
        self.model = bytearray(self.object)
        self.base = None if body is None else base_of(body, "v0")
        self.dirty = body is None
        self.map: bytes | None = None
        self.changed: bytes | None = None
        self.content = self.contents.open(INO, size=len(self.model), base=self.base, create=body is None)

    def commit(self) -> None:
        """What the namespace does before it acknowledges a change."""
        if not self.content.clean:
            self.dirty = True
        if self.content.map_unsaved:
            self.commit_maps()

    def commit_maps(self) -> None:
        self.map, self.base = self.content.block_map(), self.content.base
        self.changed = changed_map(self.content)
        self.content.map_saved()

    @rule(offset=OFFSETS, data=BODIES)
    def write(self, offset: int, data: bytes) -> None:
        for block_no in self.content.missing_for_write(Extent(offset, len(data))):
            self.fill(block_no)
        if mark(self.content, Extent(offset, len(data))):
            self.commit_maps()
        assert self.content.pwrite(offset, data) == len(data)
        self.commit()
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + len(data)] = data

    @rule(size=OFFSETS)
    def truncate(self, size: int) -> None:
        self.content.truncate(size)
        self.commit()
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    @rule(block_no=st.integers(0, 6))
    def fill(self, block_no: int) -> None:
        """Also of blocks that are present or gone: a fetch lands when it lands."""
        self.content.fill(block_no, self.object[block_no * BLOCK : (block_no + 1) * BLOCK])

    @rule(offset=OFFSETS, length=st.integers(0, 3 * BLOCK))
    def read(self, offset: int, length: int) -> None:
        fetch(self.content, self.object, Extent(offset, length))
        assert self.content.pread(offset, length) == self.model[offset : offset + length]

    @rule()
    def upload(self) -> None:
        self.version += 1
        self.object = bytes(self.model)
        self.base = base_of(self.object, f"v{self.version}")
        self.content.relabel(self.base)
        self.dirty, self.map, self.changed = False, None, None

    @rule()
    def move_object(self) -> None:
        if self.content.base is not None:
            self.version += 1
            self.content.rebase(base_of(self.object, f"v{self.version}"))
            self.base = self.content.base

    @rule(count=st.integers(1, 4))
    def give_up(self, count: int) -> None:
        if can_shrink(self.content):
            assert self.content.presence is not None
            lose(self.content, self.content.presence.next(count))
            assert not self.content.whole or not self.content.size

    @rule()
    def flush_index(self) -> None:
        self.contents.flush_index()

    @rule()
    def reopen(self) -> None:
        size = self.content.size
        self.content.close()
        self.open(size)

    @rule()
    def kill(self) -> None:
        """SIGKILL: of what is in memory only the page cache and the namespace remain."""
        size = self.drop_process()
        self.contents = open_contents(self.root, boot_id=f"boot {self.boot_count}")
        self.open(size)

    @rule(spoil=st.integers(0, 6))
    def lose_power(self, spoil: int) -> None:
        """The namespace comes back; a clean file comes back with a block that never reached the disk."""
        size = self.drop_process()
        self.boot_count += 1
        self.changed = None
        path = self.root / "contents" / "34" / "1234"
        if not self.dirty and path.exists() and path.stat().st_size > spoil * BLOCK:
            with path.open("r+b") as file:
                file.seek(spoil * BLOCK)
                file.write(b"\xff")
        self.contents = open_contents(self.root, boot_id=f"boot {self.boot_count}")
        self.open(size)

    def drop_process(self) -> int:
        if self.content.file.fd >= 0:
            os.close(self.content.file.fd)
        self.contents._index._db.close()
        return len(self.model)

    def open(self, size: int) -> None:
        local_blocks = (self.map or b"") if self.dirty and self.base is not None else None
        if self.dirty:
            stat = self.contents.places.stat(INO)
            assert (stat.st_size if stat else 0) == size, "found again by the file's length"
        self.content = self.contents.open(
            INO, size=size, base=self.base, local_blocks=local_blocks, changed=self.changed
        )
        assert self.content.base == self.base

    @invariant()
    def what_is_here_is_right(self) -> None:
        content = self.content
        assert content.size == len(self.model)
        for start in range(0, len(self.model), BLOCK):
            if not content.missing(Extent(start, BLOCK)):
                assert content.pread(start, BLOCK) == self.model[start : start + BLOCK]
        assert content.whole == (not content.missing(Extent(0, content.size)))
        assert 0 <= content.cached_bytes <= content.size
        assert self.contents.readers_of(STORE, KEY) == (not content.whole)
        for extent in unchanged(content):
            assert self.object[extent.offset : extent.end] == self.model[extent.offset : extent.end]
        if content.file.fd >= 0:
            assert os.fstat(content.file.fd).st_size == content.size

    def teardown(self) -> None:
        if hasattr(self, "content"):
            assert read_all(self.content, self.object) == self.model
            self.content.close()
        assert not self.contents.readers_of(STORE, KEY)
        self.contents.close()
        shutil.rmtree(self.root)


ContentMachine.TestCase.settings = settings(max_examples=examples(30), stateful_step_count=25)
TestContentMachine = pytest.mark.slow(ContentMachine.TestCase)
