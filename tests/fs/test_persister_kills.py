"""Few names, so that files and directories replace each other, and crashes at any request to a store that minds."""

from __future__ import annotations

import itertools
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fusecache.errors import StoreRefused
from fusecache.types import ETag, ObjectKey
from tests.amounts import examples
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, MEMORY, pattern
from tests.fs.test_persister_model import Run, Step
from tests.unit.builders import check

PATHS = ["/".join(names) for depth in (1, 2, 3) for names in itertools.product("ab", repeat=depth)]
FOREIGN = {"a/a/a": b"foreign 1", "a/b": b"foreign 2", "b/a/b": b"foreign 3", "b/b/a": b"foreign 4"}

paths = st.sampled_from(PATHS)
steps = st.one_of(
    st.tuples(st.sampled_from(["write", "unlink", "mkdir", "rmdir"]), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.2, 1.26, 1.5, 3.0])),
    st.tuples(st.just("pause"), st.sampled_from([0.0, 0.01, 0.3])),
    st.tuples(st.just("crash_at"), st.integers(1, 8), st.booleans()),
    st.just(("crash",)),
)


class MindfulStore(RecordedStore):
    """Refuses `a` beside `a/b`, as a directory of files does; may fall silent at a request."""

    def __init__(self) -> None:
        super().__init__(is_versioned=True)
        self._left = 0
        self._is_answer_lost = False
        self.silent = trio.Event()

    def fall_silent(self, requests: int, *, is_answer_lost: bool) -> None:
        """At that many requests from now; that one is carried out if only its answer is lost."""
        self._left, self._is_answer_lost = requests, is_answer_lost

    def speak(self) -> None:
        self._left, self.pause_s, self.silent = 0, 0.0, trio.Event()

    async def _record(self, request: str) -> None:
        await super()._record(request)
        self._left -= 1
        if self._left == 0:
            self.pause_s = math.inf
            self.silent.set()
            if not self._is_answer_lost:
                await trio.sleep_forever()

    def _store(self, key: ObjectKey, data: bytes, metadata: Any) -> ETag:
        parts = key.rstrip("/").split("/")
        above = {"/".join(parts[:n]) for n in range(1, len(parts) + key.endswith("/"))}
        if above & self._objects.keys() or any(each.startswith(f"{key}/") for each in self._objects):
            raise StoreRefused(f"{key}: a directory cannot be a file")
        return super()._store(key, data, metadata)


class KilledRun(Run):
    """Checks the rows after each step, and ends a daemon whose store fell silent."""

    store: MindfulStore

    def __init__(self, root: Path) -> None:
        super().__init__(root, FOREIGN, MindfulStore())

    async def _do(self, world: Any, step: Step) -> None:
        match step:
            case ("crash_at", requests, is_answer_lost):
                self.store.fall_silent(requests, is_answer_lost=is_answer_lost)
            case ("wait", seconds):
                with trio.move_on_after(seconds):
                    await self.store.silent.wait()
            case _:
                await super()._do(world, step)
        check(world.ns)

    def _is_over(self) -> bool:
        return self.store.silent.is_set()

    def _restart(self) -> None:
        self.store.speak()


FOUND: list[list[Step]] = [
    # A directory had come back to where it is read, and left again: another name was to hide what it reads there.
    [
        ("exchange", "a/b", "b/b"), ("exchange", "a", "b"), ("mkdir", "a/a/c"), ("wait", 3.0),
        ("rename", "b/b", "a/a/c/d"), ("write", "b/b"),
    ],
    # A file was at home in a directory that was not: nothing hid its object when that directory moved on.
    [
        ("write", "a/a/d"), ("write", "c"), ("rename", "c", "a/a/c"), ("wait", 1.5), ("write", "a/c"),
        ("exchange", "a/c", "b"), ("exchange", "a/c/b", "a/a"), ("unlink", "a/c/b/c"), ("rename", "a/c/b/d", "a/a/d"),
        ("write", "a/c/d"), ("mkdir", "a/c/b/b"), ("wait", 1.5), ("rename", "a/a", "a/c/b/b/d"),
        ("rename", "a/c/d", "c"), ("rename", "c", "a/a"),
    ],
    # A marker where a file still has to go.
    [("unlink", "a/a/a"), ("mkdir", "a/a/a")],
    # A circle that only an upload could break, and did not.
    [("unlink", "a/a/a"), ("write", "a/b"), ("mkdir", "a/a/b"), ("rename", "b", "a/a/a"), ("rename", "a", "b")],
    # A directory that was renamed back, in one that was not where it is read.
    [
        ("unlink", "a/a/a"), ("rename", "b", "a/a/a"), ("rename", "a", "b"), ("unlink", "b/b"), ("rename", "b/a", "a"),
        ("rename", "a/a/b", "b/b"), ("wait", 1.5), ("rename", "b", "a/b"),
    ],
    # A directory that moved within one: it is not where the outer one's copies are.
    [
        ("rename", "a/a", "b/b/b"), ("rename", "b/b", "a/a"), ("mkdir", "b/b"), ("rename", "a/a", "b/b/a"),
        ("mkdir", "a/a"), ("rename", "b", "a/a/a"),
    ],
    # A delete whose shield changed while it was carried out, and a relocation's likewise.
    [("rename", "b/b/a", "b/b/b"), ("unlink", "b/a/b"), ("unlink", "b/b/b"), ("rename", "b/b", "b/a")],
    [
        ("unlink", "a/b"), ("mkdir", "a/b"), ("unlink", "a/a/a"), ("rename", "b", "a/b/b"), ("crash",),
        ("mkdir", "a/a/a"), ("rename", "a/a/a", "b"), ("mkdir", "b/b"), ("rename", "a/a", "b/b/a"),
        ("rename", "a", "b/b/b"),
    ],
    # A marker two levels above what came into the store.
    [
        ("rename", "a/a/a", "a/b"), ("rmdir", "a/a"), ("rename", "a/b", "b/a/b"), ("wait", 3.0), ("mkdir", "a/b"),
        ("rename", "b/b", "a/b/a"),
    ],
    # A directory opened while one above it still hid something.
    [
        ("rename", "b", "a/a/b"), ("unlink", "a/b"), ("rename", "a", "b"), ("mkdir", "b/b"), ("crash_at", 3, True),
        ("rename", "b/a/b", "b/b/b"), ("wait", 3.0), ("crash",),
    ],
    # What is still to go from where a removed directory was read.
    [
        ("unlink", "b/b/a"), ("unlink", "a/b"), ("rename", "b/b", "a/b"), ("rmdir", "a/b"), ("crash_at", 1, False),
        ("wait", 1.5), ("write", "b/b"),
    ],
    # A delete that waited for an upload that waited for a relocation that waited for the delete.
    [
        ("rename", "a/a/a", "b/b/a"), ("rename", "b/b/a", "b/b/b"), ("write", "b/b/a"), ("rmdir", "a/a/a"),
        ("rename", "b/b", "a/a"),
    ],
    # Read at home, in a directory that is not: copied by neither.
    [
        ("unlink", "a/b"), ("rename", "a/a", "a/b"), ("unlink", "a/b/a"), ("rename", "b", "a/b/a"), ("wait", 3.0),
        ("rename", "a/b", "a/a"), ("rename", "a/a/a", "a/b"), ("rename", "a/b/a", "a/a/a"), ("rename", "a/a", "a/b/a"),
    ],
    # A delete that waits is no task that can step aside: the persister died of it.
    [("pause", 0.3), ("rename", "a/b", "a/a/b"), ("wait", 1.2), ("rename", "b/b/a", "a/b"), ("wait", 3.0)],
    # A file that had another name when it was sent: a listing shows nothing under the one it has.
    [
        ("link", "a/b", "b/a/c"), ("mkdir", "b/b/c"), ("exchange", "b/a/c", "a"), ("pause", 0.3), ("write", "b/b/d"),
        ("wait", 1.2), ("exchange", "b/b/d", "b/b/c"), ("exchange", "b/b", "b/a/c/b"), ("wait", 1.2),
        ("unlink", "b/a/c/b/c"),
    ],
    # One of two names is sent; the other, which has the bytes, moves with its directory.
    [
        ("exchange", "b/a/b", "a"), ("rename", "b/a/b/a", "b/b/d"), ("rename", "b/a", "b/b/b"), ("mkdir", "b/b/c"),
        ("wait", 3.0), ("write", "b/b/b/c"), ("link", "b/b/b/c", "b/b/c/c"), ("exchange", "b/b/c", "b/b/d"),
        ("rename", "b/b/d", "b/b/c/d"), ("wait", 0.01), ("wait", 1.5), ("rename", "b/b/b", "b/b/c/d/d"), ("wait", 3.0),
    ],
    # A whiteout in a directory that left one under way.
    [
        ("mkdir", "c"), ("rename", "a/a/a", "b/d"), ("mkdir", "c/c"), ("exchange", "b/b", "a"), ("mkdir", "c/c/b"),
        ("write", "c/c/b/a"), ("crash_at", 4, False), ("write", "c/b"), ("mkdir", "b/b/a/a"), ("wait", 3.0),
        ("rename", "c/c/b/a", "b/b/a/a/d"), ("rename", "b/b/a/a/d", "b/a/b"), ("wait", 1.5),
        ("rename", "b/b/a/a", "c/c/b/a"),
    ],
    # Two names of a file step aside, each to a key of its own.
    [
        ("rename", "a/b", "b/b/a"), ("rename", "b/b/a", "a/a/a"), ("mkdir", "b/b/d"), ("exchange", "a/a/a", "b/b/d"),
        ("rename", "b", "c"), ("write", "a/a/b"), ("write", "c/b/b"), ("mkdir", "a/b"), ("mkdir", "a/a/a/b"),
        ("exchange", "c/a/b", "a/a/a"), ("rename", "c/a/b", "c/b/a"), ("link", "c/b/b", "a/b/b"),
        ("exchange", "c/b/a/b", "a/b/b"), ("wait", 1.5), ("write", "a/b/a"), ("rename", "c/b/a", "c/a/c"),
        ("write", "c/b/b"), ("exchange", "a/a", "c"), ("rename", "a/b", "a/a/a/b"), ("rename", "c/b", "d"),
        ("rename", "a/a/a/c/b", "c/a"), ("exchange", "a/a/a/b/a", "d"),
    ],
    # A whiteout whose shield went to another name, in an opaque directory below one under way.
    [
        ("rename", "a", "c"), ("mkdir", "b/b/c"), ("write", "b/a/c"), ("mkdir", "b/a/d"), ("mkdir", "b/d"),
        ("exchange", "b/b/c", "b/a"), ("mkdir", "b/a/c"), ("exchange", "c/b", "b/d"), ("write", "c/b/a"),
        ("mkdir", "b/b/b"), ("rename", "b/b/c/b", "b/b/c/d/d"), ("exchange", "c/b", "b/b/c/d/d"), ("wait", 1.2),
        ("rename", "b/b/b", "b/b/d"), ("rename", "b/b/c/c", "b/a/b"), ("exchange", "c/b", "b/b/c/d/d/a"),
        ("mkdir", "b/a/c/d"), ("write", "b/b/d/d"), ("rename", "b/a/c/d", "b/b/d/b"), ("exchange", "c", "b/b"),
        ("exchange", "c/c", "c/d/b"), ("mkdir", "c/d/c"), ("crash_at", 3, False), ("exchange", "b/a/b", "c/d/d"),
        ("wait", 3.0), ("mkdir", "d"), ("rename", "c/d/d", "c/c/c"), ("rename", "c/d/c", "c/d/b/d/d/b"),
        ("rename", "c/d/b/d/d/b", "d/c"), ("wait", 1.2), ("rename", "c/c/c", "c/d/b/c"), ("wait", 3.0),
        ("mkdir", "d/c/b"), ("rename", "c/c", "d/c/b/c"),
    ],
    # A delete that was parked in the step that ended what it waited for.
    [
        ("mkdir", "b/b/c"), ("mkdir", "a/a/c"), ("mkdir", "b/b/c/a"), ("mkdir", "a/d"), ("rename", "b/b/c/a", "b/c"),
        ("write", "c"), ("write", "b/c/d"), ("exchange", "a", "c"), ("wait", 3.0), ("rename", "b/c", "c/c"),
        ("write", "b/c"), ("exchange", "c/c/d", "b/c"), ("rename", "c/c/d", "c/d/d"), ("rename", "c/a/c", "c/c/d"),
        ("exchange", "b/c", "c/c"), ("unlink", "c/c"),
    ],
    # A copy whose answer is not known, and an upload to the same key: its own object is not somebody else's.
    [
        ("link", "b/a/b", "b/a/d"), ("mkdir", "a/c"), ("link", "b/a/d", "a/d"), ("rename", "a/c", "b/b/d"),
        ("mkdir", "b/b/d/b"), ("exchange", "b/b/d", "a/d"), ("rename", "a/d/b", "b/b/c"), ("mkdir", "b/a/c"),
        ("rename", "a", "b/a/c/d"), ("rename", "b/a/b", "b/b/c/c"), ("exchange", "b/a/c/d/d", "b/b/c/c"),
        ("rename", "b/a/c/d", "b/b/c/c/b"), ("pause", 0.3), ("rename", "b/b/c/c/b/d", "d"), ("wait", 1.5),
        ("write", "d"),
    ],
    # A link where the object of the other name still is, and its delete is not void.
    [
        ("rename", "b/a/b", "b/d"), ("pause", 0.3), ("link", "b/d", "b/a/b"), ("wait", 1.2),
        ("rename", "b/a/b", "b/c"), ("exchange", "b/a", "a"), ("rename", "b", "a/b"),
    ],
    # A file that is back where its object is, in a directory that had nothing in the store.
    [
        ("write", "a/d"), ("exchange", "b/b", "a/a/a"), ("rename", "a/b", "b/a/c"), ("exchange", "b/a/c", "a/a"),
        ("exchange", "a/d", "b"), ("rename", "a/a", "c"), ("mkdir", "a/a"), ("rename", "a/d/b", "c"),
        ("rename", "c", "a/a/a"), ("wait", 1.5), ("write", "a/a/a"), ("rename", "a/a", "a/d/c"), ("mkdir", "a/a"),
    ],
    # A directory that takes the place of one in a tree under way, where copies of a killed attempt may be.
    [
        ("mkdir", "b/d"), ("mkdir", "b/d/c"), ("rename", "b/d", "a/d"), ("rename", "a/d", "d"), ("mkdir", "b/b/b"),
        ("exchange", "b/b/b", "b/a/b"), ("rename", "b", "d/c/b"), ("rename", "d/c/b/a", "d/c/d"),
        ("exchange", "d/c/d", "d/c/b/b/a"), ("write", "d/c/b/d"), ("write", "b"), ("wait", 1.5),
        ("write", "d/c/b/b/b"), ("rename", "b", "d/c/b/b/a/d"), ("write", "a/c"), ("mkdir", "c"), ("wait", 3.0),
        ("write", "a/b"), ("mkdir", "c/b"), ("rename", "d", "c/a"), ("rename", "a/a/d", "a/a/d"), ("crash",),
        ("exchange", "c/a/c/b/b", "c/b"), ("write", "a/a/d"), ("crash_at", 6, True), ("wait", 1.5),
        ("exchange", "c/b/a", "c/a/c"),
    ],
    # A settled whiteout in an opaque directory does not vouch for what a killed attempt has copied there.
    [
        ("mkdir", "a/d"), ("rename", "b/b/a", "b/c"), ("rename", "a", "d"), ("write", "b/a/d"),
        ("exchange", "b/b", "d"), ("rename", "b/c", "a"), ("wait", 3.0), ("mkdir", "b/c"), ("mkdir", "d/b"),
        ("rename", "b", "d/a"), ("rename", "d/a/a/d", "d/a/c/a"), ("mkdir", "d/d"), ("mkdir", "d/d/a"),
        ("exchange", "d/a/b/b", "d/d/a"), ("mkdir", "d/a/c/d"), ("pause", 0.3), ("wait", 1.5), ("mkdir", "d/b/d"),
        ("mkdir", "d/a/c/b"), ("rename", "d/a/b/a", "d/a/b/d/c"), ("mkdir", "d/d/c"),
        ("rename", "d/a/c/b", "d/a/b/d/c/b"), ("rename", "d/b", "d/d/c/b"), ("rename", "d/a/c", "d/a/b/b/c"),
        ("exchange", "d/d/c/b", "d/a/b/d/c"), ("rename", "d/a/b/d/c/d", "d/d/c/b/b/a"),
        ("rename", "d/a", "d/d/c/b/b/a/d"), ("rename", "a", "d/d/c/b/b/a/d/b/b/c/d/a"),
        ("rename", "d/d/c/b/b/a/d/b/b/c/d/a", "d/d/c/b/b/a/d/b/b/c/d/d"),
        ("rename", "d/d/c/b/b/a/d/b/b/c/d/d", "d/d/c/b/b/d"), ("rename", "d/d/c/b/b/a/d/b/b", "d/d/c/b/d"),
        ("exchange", "d/d/c/b/b/a/d/b", "d/d/c/b/d/c/d"),
    ],
    # Home again, where a directory that has left still reads.
    [
        ("rename", "a/a/a", "b/a/a"), ("exchange", "a", "b"), ("wait", 1.5), ("write", "b/a/a"),
        ("rename", "b/a/a", "b/b"), ("exchange", "a/a/b", "b/a/a"),
    ],
    # One of two names back where its object is: its delete is void.
    [
        ("mkdir", "b/c"), ("write", "b/a/c"), ("exchange", "b/a/c", "b/c"), ("mkdir", "b/b/d"),
        ("rename", "a/a", "b/b/d/b"), ("mkdir", "a/d"), ("rename", "b", "a/d/a"), ("mkdir", "a/d/b"),
        ("write", "a/d/d"), ("exchange", "a/d/a/b/d/b/a", "a/d/a/a/c"), ("rename", "a/d/a", "a/d/b/b"), ("wait", 3.0),
        ("rename", "a", "d"), ("rename", "d/d/b/b", "d/d/b/c"), ("rename", "d/d/b/c/a/c", "b"),
        ("rename", "d/d/b/c/b", "d/d/b/a"), ("mkdir", "d/c"), ("rename", "d/d/b", "d/c/b"), ("wait", 1.2),
        ("exchange", "d/c", "d/b"), ("exchange", "d/c", "d/b/b/a"), ("exchange", "d/d/d", "d/c/d/b/a"),
        ("write", "d/c/d/a"), ("rename", "d/c", "c"), ("exchange", "d/d", "c/d/a"), ("link", "b", "c/d/a/d/b"),
        ("rename", "b", "c/d/b/d"), ("rename", "c/d/b/d", "b"),
    ],
    # A directory of which its parent's listing shows nothing: what is in it is at the target of a relocation.
    [
        ("write", "b/b/d"), ("mkdir", "a/d"), ("mkdir", "a/a/d"), ("mkdir", "b/c"), ("mkdir", "a/a/d/d"),
        ("rename", "a/a/d", "b/b/b"), ("rename", "a", "b/a/c"), ("mkdir", "b/c/d"), ("rename", "b/b/b", "b/a/c/d/b"),
        ("rename", "b/a/c/b", "c"), ("rename", "b/a/c/d/b", "b/a/c/c"), ("exchange", "b/a/c/c/d", "b/c"),
        ("write", "b/a/c/c/b"), ("exchange", "b/b", "b/a/c/c/d/d"), ("write", "b/c/a"),
        ("rename", "b/a/c/c/d", "b/a/a"), ("mkdir", "b/b/c"), ("write", "b/b/c/a"), ("rename", "b/a/c/c/b", "b/b/d"),
        ("exchange", "b/c/a", "b/a/c/d"), ("rename", "b/a", "b/c/a/b"), ("exchange", "b/c/a/b/a/d", "c"),
        ("mkdir", "b/c/a/d"), ("mkdir", "b/c/a/a"), ("mkdir", "c/b"), ("write", "c/b/a"),
        ("rename", "b/b/c/a", "b/c/a/d/b"), ("rename", "b/c/a/d/b", "b/c/a/a/d"), ("write", "b/d"),
        ("exchange", "c/b", "b/b/d"), ("wait", 1.5), ("rename", "b/c/a/a/d", "b/c/c"), ("rename", "b/d", "b/b/b"),
        ("rename", "b/b", "b/c/a/b/c/c/a"), ("crash_at", 6, True), ("unlink", "b/c/a/b/a/d"),
        ("write", "b/c/a/b/c/c/a/c/c"), ("pause", 0.3), ("wait", 1.5), ("rename", "b/c/a/b/c/c/a/b", "b/c/a/d/b"),
        ("rename", "b/c/a/b/c/c/a/d", "b/c/a/d/c"), ("wait", 1.2), ("exchange", "c/d", "b/c/a/b/c/c"),
        ("rename", "c/d/a", "b/c/a/d/c/c"), ("wait", 3.0), ("rename", "b/c/a", "c/d"),
        ("rename", "c/d/b/c/c", "c/d/a/a"), ("rename", "c/d/a", "b/d"), ("exchange", "b/d/a", "c/d/d/c/c/c/c"),
    ],
    # A copy of older bytes than the inode has, whose answer was lost: its size is not the inode's.
    [
        ("link", "b/b/a", "b/b/c"), ("rename", "b/a/b", "a/a/a"), ("pause", 0.3), ("wait", 1.5),
        ("link", "b/b/a", "b/c"), ("rename", "b/b", "b/a/b"), ("unlink", "a/a/a"), ("write", "b/c"), ("wait", 1.2),
    ],
    # An upload to one of two names without an answer: the other name went first, and forgot which key it may have made.
    [
        ("rename", "a/b", "a/a/b"), ("write", "a/c"), ("wait", 3.0), ("link", "a/c", "a/b"), ("write", "a/b"),
        ("pause", 0.3), ("wait", 1.5), ("wait", 0.3), ("write", "a/c"), ("write", "b/b/a"), ("wait", 3.0),
    ],
    # The marker of a directory that came to the old path of a moved one was taken along with that.
    [
        ("rename", "b/a/b", "a/c"), ("rename", "b/a", "a/a/b"), ("mkdir", "a/a/b/d"), ("exchange", "b", "a/c"),
        ("mkdir", "a/a/b/b"), ("exchange", "a/a/b/d", "b"), ("rename", "a/c", "a/a/d"), ("mkdir", "a/a/b/a"),
        ("rename", "a/a/b/b", "a/d"), ("rename", "a/a/b", "b"), ("wait", 3.0), ("exchange", "a", "b/a"),
        ("rename", "b", "a/a"), ("rename", "a/a/a/d", "a/d"), ("wait", 1.5), ("mkdir", "a/a/a/d"),
        ("exchange", "a/a/a/a", "a/a/d"), ("wait", 1.2), ("rename", "a/a/d/d", "a/a/a/d"),
    ],
]  # fmt: skip


async def test_what_was_cut_while_it_was_written_is_not_filled_from_its_old_object(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    store = RecordedStore()
    await store.foreign({"f": pattern(3 * BLOCK)})
    async with a_drained_world(tmp_path, store) as world:
        number = await world.open("f", os.O_WRONLY)
        await world.fs.write(number, 2 * BLOCK, b"in the last block")
        await world.truncate("f", 0)
        await world.fs.write(number, 0, b"new")
    async with a_drained_world(tmp_path, store) as world:
        check(world.ns)
        assert await world.read_file("f") == b"new"


async def test_what_an_interrupted_relocation_has_copied_is_not_in_the_way_of_what_that_waits_for(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It waits for a delete below its target, that for a copy, and that for the key to be free."""
    store = MindfulStore()
    await store.foreign({"d/s/x": b"1"})
    async with a_drained_world(tmp_path, store) as world:
        await world.rename("d", "e")
        await trio.sleep(0.5)
        await world.write_file("e/k", b"2")
        store.pause_s = 1.0
        await trio.sleep(0.7)
        store.pause_s = 0.0  # until the file is there, but not the answer to the copy
        await trio.sleep(0.7)
        store.pause_s = 10.0
        await trio.sleep(0.2)
        assert store.objects() == {"d/s/x": b"1", "e/s/x": b"1", "e/k": b"2"}
        await world.persister.pause("")
        store.pause_s = 0.0
        await world.rename("e/s", "g")
        await world.rename("e/k", "e/s")
        await world.persister.resume("")
        with trio.fail_after(60):
            await world.settle()
        assert store.objects() == {"g/x": b"1", "e/s": b"2"}


@pytest.mark.parametrize("steps", FOUND)
def test_what_went_wrong_once(steps: Sequence[Step]) -> None:
    play(steps)


def play(steps: Sequence[Step]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        trio.run(played, Path(root), steps, clock=MockClock(autojump_threshold=0))


async def played(root: Path, steps: Sequence[Step]) -> None:
    await KilledRun(root).play(steps)


@pytest.mark.slow
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=25))
def test_the_bucket_equals_the_tree(steps: Sequence[Step]) -> None:
    play(steps)
