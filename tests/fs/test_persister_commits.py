"""Commit markers and staging names among the names: the bucket equals the tree, and no reader sees a false commit.

Nobody else writes: what the tree must be is known. Answers are lost, and daemons killed at requests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.amounts import examples
from tests.fs.commits import Commits, ReadStore, is_marker
from tests.fs.draining import Drained, a_drained_world
from tests.fs.ending import is_local, state_of, tasks_of
from tests.fs.foreign import LOST
from tests.fs.harness import MEMORY
from tests.fs.test_persister_model import BELIEVED_S, Run, Step
from tests.unit.builders import check

DIRECTORIES = ("t", "u", "t/p", "u/p", "t/_temporary", "t/_temporary/p")
FILES = ("t/a", "t/b", "u/a", "t/p/a", "u/p/a", "t/_SUCCESS", "u/_SUCCESS", "t/p/_SUCCESS")
STAGED = ("t/_temporary/a", "t/_temporary/p/a", "t/.a.tmp", "u/.a.tmp")
ANY = (*DIRECTORIES, *FILES, *FILES, *STAGED)
FOREIGN = {"t/a": b"foreign 1", "t/_SUCCESS": b"foreign 2", "t/p/a": b"foreign 3"}
"""A table that somebody else has finished."""

STEPS: dict[str, tuple[Sequence[Any], ...]] = {
    "write": ((*FILES, *STAGED),),
    "unlink": ((*FILES, *STAGED),),
    "chmod": (ANY,),
    "link": (ANY, ANY),
    "mkdir": (DIRECTORIES,),
    "rmdir": (DIRECTORIES,),
    "rename": (ANY, ANY),
    "exchange": (ANY, ANY),
    "wait": ((0.3, 1.2, 1.26, 1.5, 3.0),),
    "ticks": (range(1, 31),),
    "pause": ((0.0, 0.01, 0.3),),
    "drain": (),
    "crash": (),
    "crash_at": (range(1, 9), (False, True)),
    "lose": (tuple(LOST),),
}
COMMON = ("write", "write", "unlink", "rename", "rename", "wait", "pause")


def drawn(kind: str) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), *map(st.sampled_from, STEPS[kind]))


steps = st.one_of([drawn(kind) for kind in (*STEPS, *COMMON)])


class CommitRun(Run):
    """Checks the rows after each step, and what readers believe after each request."""

    store: ReadStore

    def __init__(self, root: Path, *, ttl_s: float) -> None:
        self.commits = Commits()
        super().__init__(root, FOREIGN, ReadStore(self.commits), ttl_s=ttl_s)
        self._acknowledge()

    async def play(self, steps: Sequence[Step]) -> None:
        for key, data in self.foreign.items():
            self.store.put_by_another(key, data, {})
        todo = list(steps)
        while todo:
            self.store.speak()
            async with a_drained_world(self.root, self.store, ttl_s=self.ttl_s) as world:
                while todo and not self.store.silent.is_set() and (step := todo.pop(0)) != ("crash",):
                    await self._do(world, step)
        self.store.speak()
        async with a_drained_world(self.root, self.store, ttl_s=self.ttl_s) as world:
            await world.settle()
            await self._check_end(world)  # what a barrier promises
            await trio.sleep(60)
            await self._check_end(world)
            check(world.ns)
            assert not [task for task in tasks_of(world) if not task.staged], tasks_of(world)
        self._check_readers()

    async def _check_end(self, world: Drained) -> None:
        """The tree is the model's; the bucket is the tree, but for what is local."""
        files = self._files()
        assert {path: await world.read_file(path) for path in files} == files
        local = {path for path in files if is_local(path) and await state_of(world, path) == b"local"}
        expected = {key: data for key, data in self.model.bucket().items() if key not in local}
        # Of a directory that has nothing but what is local, a marker is neither needed nor wrong.
        either = {f"{path}/" for path in self.model.tree if self._is_all_local(path)}
        found = {key: data for key, data in self.store.objects().items() if key not in local}
        assert {key: found[key] for key in found.keys() - either} == {
            key: expected[key] for key in expected.keys() - either
        }

    def _is_all_local(self, path: str) -> bool:
        if not self.model.is_dir(path):
            return False
        below = self.model.below(path)
        return is_local(f"{path}/") or (any(map(is_local, below)) and all(map(self._is_kept_out, below)))

    def _is_kept_out(self, path: str) -> bool:
        return is_local(f"{path}/" if self.model.is_dir(path) else path)

    def _files(self) -> dict[str, bytes]:
        return {path: file.data for path, file in self.model.tree.items() if file is not None}

    def _check_readers(self) -> None:
        assert not self.store.broken, "\n".join(self.store.broken[:3])

    async def _do(self, world: Any, step: Step) -> None:
        match step:
            case ("crash_at", requests, is_answer_lost):
                self.store.fall_silent(requests, is_answer_lost=is_answer_lost)
            case ("lose", what):
                self.store.fates = list(LOST[what])
            case ("wait", seconds):
                with trio.move_on_after(seconds):
                    await self.store.silent.wait()
            case ("drain",):
                with trio.move_on_after(600):
                    await world.settle()
            case ("exchange" | "link", one, other) if is_marker(one) != is_marker(other):
                pass  # data and a marker in one acknowledgement: which goes first, nobody has said
            case _:
                await super()._do(world, step)
                self._acknowledge()
        check(world.ns)
        self._check_readers()

    def _acknowledge(self) -> None:
        self.commits.acknowledge(self._files(), is_local)


FOUND: list[list[Step]] = [
    # The new marker waited for the delete of the old one, which waited for the new one.
    [("unlink", "t/_SUCCESS"), ("write", "t/_SUCCESS")],
    # The marker became data while its old key was still there.
    [("rename", "t/_SUCCESS", "t/a")],
    # What was written elsewhere, and renamed after the marker had gone, was there before that; below a directory, too.
    [("pause", 0.3), ("mkdir", "u"), ("write", "u/a"), ("unlink", "t/_SUCCESS"), ("rename", "u/a", "t/a")],
    [
        ("pause", 0.3), ("mkdir", "u"), ("mkdir", "u/p"), ("write", "u/p/a"), ("unlink", "t/_SUCCESS"),
        ("unlink", "t/p/a"), ("rename", "u/p", "t/p"),
    ],
    # The marker moved with its directory, and was there before the rest was.
    [("write", "t/p/a"), ("rename", "t", "u")],
    # What was removed from it then was missing below the marker that was still to go.
    [("rename", "t", "u"), ("unlink", "u/a")],
    # An emptied directory that the store had shown vanished below a staging name.
    [("unlink", "t/p/a"), ("rename", "t/p", "t/.a.tmp"), ("drain",), ("chmod", "t/.a.tmp")],
]  # fmt: skip


@pytest.mark.parametrize("steps", FOUND)
@pytest.mark.parametrize("ttl_s", [0.0, BELIEVED_S])
def test_what_went_wrong_once(steps: Sequence[Step], ttl_s: float) -> None:
    play(steps, ttl_s=ttl_s)


def play(steps: Sequence[Step], *, ttl_s: float) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        run = CommitRun(Path(root), ttl_s=ttl_s)
        trio.run(run.play, steps, clock=MockClock(autojump_threshold=0))


_any = given(st.lists(steps, min_size=1, max_size=25))
_model = settings(suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@settings(_model, max_examples=examples(45))
@_any
def test_no_reader_sees_a_false_commit(steps: Sequence[Step]) -> None:
    play(steps, ttl_s=0.0)
