"""Others change the store at every moment, answers are lost, daemons killed: no content is lost, none comes back.

What is there in the end nobody can foretell; but every content says what it is, and who may have done away with it.
"""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fusecache.errors import FileSystemError
from fusecache.namespace.records import TaskKind
from fusecache.types import HandleNo, InodeNo
from tests.amounts import examples
from tests.fs.draining import Drained, a_drained_world
from tests.fs.ending import Ending, has_lost, is_aside
from tests.fs.foreign import LOST, Account, ForeignStore, Hook
from tests.fs.harness import MEMORY
from tests.fs.test_persister_model import BELIEVED_S, Step
from tests.unit.builders import check

DIRECTORIES = ("d", "e", "d/s", "e/s", "d/_temporary", "d/_temporary/s")
FILES = ("f", "g", "d/f", "d/g", "e/f", "e/g", "d/s/f", "e/s/f", "d/_SUCCESS", "e/_SUCCESS")
STAGED = ("d/_temporary/f", "d/_temporary/s/f", "d/.f.tmp")
EITHER = ("k", "d/k", "e/k")
"""Now a file, now a directory: nobody else puts anything there, as a store may have both at once."""
OURS = (*FILES, *FILES, *STAGED, *EITHER, "k/f", "e/k/f")

CALLS: dict[str, tuple[Sequence[Any], ...]] = {
    "write": (OURS,),
    "open": (OURS,),
    "close": (),
    "unlink": (OURS,),
    "chmod": (OURS,),
    "read": (OURS,),
    "link": (OURS, OURS),
    "mkdir": ((*DIRECTORIES, *EITHER),),
    "rmdir": ((*DIRECTORIES, *EITHER),),
    "ls": ((*DIRECTORIES, *EITHER),),
    "rename": (OURS, OURS),
    "move": ((*DIRECTORIES, *EITHER), (*DIRECTORIES, *EITHER)),
    "exchange": ((*FILES, *DIRECTORIES, *EITHER),) * 2,
}
OTHERS: dict[str, tuple[Sequence[Any], ...]] = {
    "their_put": (FILES,),
    "their_delete": ((*FILES, *EITHER),),
    "their_copy": (FILES, FILES),
    "put_at": (FILES, range(1, 9)),
    "delete_at": (FILES, range(1, 9)),
}
MOMENTS: dict[str, tuple[Sequence[Any], ...]] = {
    "wait": ((0.3, 1.2, 1.26, 1.5, 3.0, 70.0),),
    "ticks": (range(1, 31),),
    "pause": ((0.0, 0.01, 0.3),),
    "drain": (),
    "crash": (),
    "crash_at": (range(1, 9), (False, True)),
    "lose": (tuple(LOST),),
}
COMMON = ("write", "close", "rename", "move", "move", "their_put", "put_at", "put_at", "wait", "wait", "lose", "crash")
STEPS = {**CALLS, **OTHERS, **MOMENTS}
THERE_BEFORE = ("d/f", "e/s/f", "g")


def drawn(kind: str) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), *map(st.sampled_from, STEPS[kind]))


steps = st.one_of([drawn(kind) for kind in (*STEPS, *COMMON)])


class Run:
    """One sequence of steps. `account` knows what was written; `check` and the end tell whether it was kept."""

    world: Drained

    def __init__(self, root: Path, *, ttl_s: float) -> None:
        self._root = root
        self._ttl_s = ttl_s
        self._number = itertools.count(1)
        self._handles: list[tuple[HandleNo, InodeNo]] = []
        self.store = ForeignStore()
        self.account = Account()
        self.was_killed = False

    async def play(self, steps: Sequence[Step]) -> None:
        for key in THERE_BEFORE:
            self.their_put(key)
        todo = list(steps)
        while todo:
            async with self._daemon() as self.world:
                while todo and not self.store.silent.is_set() and (step := todo.pop(0)) != ("crash",):
                    await self._do(step)
                    check(self.world.ns)
                self.was_killed = self.was_killed or bool(todo)
        async with self._daemon() as self.world:
            for _ in range(3):
                await self.drain()
                await trio.sleep(70)  # what was believed is asked for again, what was refused is tried again
            check(self.world.ns)
            await Ending(self.world, self.store, self.account, was_killed=self.was_killed).check()

    @asynccontextmanager
    async def _daemon(self) -> AsyncIterator[Drained]:
        """One that is started where the last one was killed."""
        self.store.speak()
        self._handles.clear()
        async with a_drained_world(self._root, self.store, ttl_s=self._ttl_s) as world:
            yield world

    async def _do(self, step: Step) -> None:
        kind, *arguments = step
        if kind in CALLS:
            self.store.is_quiet = True
            try:
                await getattr(self, kind)(*arguments)
            except FileSystemError:
                pass  # no such name, not empty …: nothing has changed
            finally:
                self.store.is_quiet = False
        elif kind in ("their_put", "their_delete", "their_copy"):
            getattr(self, kind)(*arguments)
        else:
            await getattr(self, kind)(*arguments)

    # --- moments ---

    async def wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.store.silent.wait()

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    async def pause(self, seconds: float) -> None:
        self.store.pause_s = seconds

    async def drain(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_silent, nursery.cancel_scope)
            try:
                await self.world.settle()
            except trio.TooSlowError:
                # Rightly: what is needed is gone, or a commit marker waits for what is open.
                assert has_lost(self.world) or self._handles, f"never drained: {self.store.objects()}"
            nursery.cancel_scope.cancel()

    async def _until_silent(self, scope: trio.CancelScope) -> None:
        await self.store.silent.wait()
        scope.cancel()

    async def crash_at(self, requests: int, is_answer_lost: bool) -> None:
        self.was_killed = True
        self.store.fall_silent(requests, is_answer_lost=is_answer_lost)

    async def lose(self, what: str) -> None:
        self.was_killed = True
        self.store.fates = list(LOST[what])

    # --- somebody else ---

    def their_put(self, key: str, metadata: dict[str, str] | None = None) -> None:
        """Not where a copy is about to arrive: a store has no condition on a copy's target."""
        if self._is_copied_to(key):
            return
        old = self.store.objects().get(key)
        data = b"theirs %d %s" % (next(self._number), key.encode())
        if self.store.put_by_another(key, data, metadata or {}):
            self.account.theirs.add(data)
            self.account.overwritten |= {old} if old else set()

    def their_delete(self, key: str) -> None:
        if (old := self.store.objects().get(key)) is not None:
            self.account.overwritten.add(old)
            self.store.delete_by_another(key)

    def their_copy(self, source: str, key: str) -> None:
        """They change what they copy, and keep its metadata, as s3fs does."""
        if source in self.store.objects():
            self.their_put(key, dict(self.store.metadata(source)))

    async def put_at(self, key: str, requests: int) -> None:
        self.store.hooks.append(Hook(requests, functools.partial(self.their_put, key)))

    async def delete_at(self, key: str, requests: int) -> None:
        self.store.hooks.append(Hook(requests, functools.partial(self.their_delete, key)))

    def _is_copied_to(self, key: str) -> bool:
        if not hasattr(self, "world"):
            return False
        jobs = self.world.persister._jobs.values()
        now = [(job, self.world.ns.tables.tasks.get(job.task.task) or job.task) for job in jobs]
        return any(
            (task.kind == TaskKind.RELOCATE and key.startswith(task.key or job.key))
            or (task.kind == TaskKind.COPY and key in (task.key, job.key))
            for job, task in now
        )

    # --- applications ---

    async def write(self, path: str) -> None:
        old = await self._shown(path)
        data = self._new(path)
        await self.world.write_file(path, data)
        self._written((await self.world.stat(path)).ino, data, old)

    async def open(self, path: str) -> None:
        """Open a file to write it, and leave it open."""
        old = await self._shown(path)
        number = await self.world.open(path, os.O_WRONLY)
        data = self._new(path).ljust(60, b".")
        await self.world.fs.write(number, 0, data)
        self._handles.append((number, self.world.kernel[number]))
        self._written(self.world.kernel[number], data, old)

    async def close(self) -> None:
        if not self._handles:
            return
        number, ino = self._handles.pop()
        data = self._new("closed").ljust(60, b".")
        await self.world.fs.write(number, 0, data)
        is_named = bool(self.world.ns.tables.dentries.of_inode(ino))
        await self.world.close(number)
        self._written(ino, data, {self.account.held[ino]})
        if not is_named:
            self.account.replaced.add(data)

    async def unlink(self, path: str) -> None:
        old = await self._last(path)
        await self.world.unlink(path)
        self.account.replaced |= old

    async def chmod(self, path: str) -> None:
        await self.world.setattr(path, mode=0o600)

    async def read(self, path: str) -> None:
        await self.world.read_file(path)

    async def link(self, old: str, new: str) -> None:
        await self.world.link(old, new)

    async def mkdir(self, path: str) -> None:
        await self.world.mkdir(path)

    async def rmdir(self, path: str) -> None:
        await self.world.rmdir(path)

    async def ls(self, path: str) -> None:
        await self.world.ls(path)

    async def rename(self, old: str, new: str) -> None:
        """A file; a directory is moved, to where one may be."""
        inode = await self.world.stat(old)
        if inode.is_dir:
            return
        replaced = await self._last(new)
        if await self._ino(new) == inode.ino:
            replaced = set()  # two names of one file: nothing happens
        await self.world.rename(old, new)
        self.account.replaced |= replaced

    async def move(self, old: str, new: str) -> None:
        if (await self.world.stat(old)).is_dir:
            await self.world.rename(old, new)

    async def exchange(self, one: str, other: str) -> None:
        kinds = {(await self.world.stat(each)).is_dir for each in (one, other)}
        if len(kinds) == 1 or {one, other} <= set(EITHER):
            await self.world.exchange(one, other)

    def _new(self, path: str) -> bytes:
        return b"ours %d %s" % (next(self._number), path.encode())

    def _written(self, ino: InodeNo, data: bytes, old: set[bytes]) -> None:
        self.account.replaced |= old
        self.account.ours.add(data)
        self.account.held[ino] = data

    async def _ino(self, path: str) -> InodeNo | None:
        try:
            return (await self.world.stat(path)).ino
        except FileSystemError:
            return None

    async def _shown(self, path: str) -> set[bytes]:
        """What a file that is there holds: as it was written here, and as the store had it before."""
        if (ino := await self._ino(path)) is None:
            return set()
        rows = self.world.ns.tables.dentries.of_inode(ino)
        told = {self.store.told[row.etag] for row in rows if row.etag is not None}
        return told | ({self.account.held[ino]} if ino in self.account.held else set())

    async def _last(self, path: str) -> set[bytes]:
        """What goes with this name: nothing, if the file has another."""
        ino = await self._ino(path)
        if ino is None or self.world.ns.tables.inodes.get(ino).nlink != 1:
            return set()
        return await self._shown(path)


FOUND: list[list[Step]] = [
    # A link in a staging directory: its copy was forgotten, and the directory is renamed out whole.
    [
        ("mkdir", "d/_temporary"), ("mkdir", "d/_temporary/s"), ("link", "e/s/f", "d/_temporary/s/f"), ("wait", 3.0),
        ("move", "d/_temporary/s", "d/s"),
    ],
    # A link below a staging name that goes: what was parked for it stayed for ever.
    [("link", "d/f", "d/.f.tmp"), ("write", "d/f"), ("wait", 3.0), ("unlink", "d/.f.tmp")],
    [("link", "d/f", "d/.f.tmp"), ("wait", 3.0), ("write", "f"), ("rename", "f", "d/.f.tmp"), ("rename", "g", "d/f")],
    # An empty directory that leaves staging has no marker yet.
    [("mkdir", "d/_temporary"), ("wait", 1.2), ("move", "d/_temporary", "e/k")],
    # Truncated while it is open, and then what it was before did count for nothing any more.
    [("open", "e/s/f"), ("write", "e/s/f")],
    # A commit marker that waits for a delete of its key, which waits for what replaces it.
    [("their_put", "d/_SUCCESS"), ("exchange", "d/_SUCCESS", "e/s/f"), ("open", "e/s/f")],
]  # fmt: skip


@pytest.mark.parametrize("steps", FOUND)
@pytest.mark.parametrize("ttl_s", [0.0, BELIEVED_S])
def test_what_went_wrong_once(steps: Sequence[Step], ttl_s: float) -> None:
    play(steps, ttl_s=ttl_s)


async def test_a_barrier_does_not_wait_for_a_marker_that_waits_for_an_open_file(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with a_drained_world(tmp_path, ForeignStore()) as world:
        await world.mkdir("d")
        await world.create("d/f")
        await world.write_file("d/_SUCCESS", b"")
        with trio.move_on_after(3600) as scope:
            await world.persister.drain()
    assert not scope.cancelled_caught


async def test_a_foreign_version_is_kept_aside_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    run = Run(tmp_path, ttl_s=BELIEVED_S)
    await run.play([("link", "e/s/f", "f"), ("their_put", "f"), ("lose", "answer"), ("wait", 3.0)])
    assert len([key for key in run.store.objects() if is_aside(key)]) == 1


def play(steps: Sequence[Step], *, ttl_s: float) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        run = Run(Path(root), ttl_s=ttl_s)
        trio.run(run.play, steps, clock=MockClock(autojump_threshold=0))


_any = given(st.lists(steps, min_size=1, max_size=25))
_model = settings(suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@settings(_model, max_examples=examples(45))
@_any
def test_nothing_is_lost_and_nothing_comes_back(steps: Sequence[Step]) -> None:
    play(steps, ttl_s=0.0)


@pytest.mark.slow
@settings(_model, max_examples=examples(45))
@_any
def test_nor_while_listings_are_believed(steps: Sequence[Step]) -> None:
    play(steps, ttl_s=BELIEVED_S)
