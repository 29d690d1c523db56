"""Any calls, drained at any moments and interrupted by crashes: the bucket equals the tree."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fusecache.errors import FileSystemError
from tests.amounts import examples
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.harness import MEMORY

NAMES = ("a", "b", "c")
PATHS = [*NAMES, *(f"{x}/{y}" for x in NAMES for y in NAMES), *(f"a/{x}/{y}" for x in NAMES[:2] for y in NAMES[:2])]
FOREIGN = {"a/a": b"foreign 1", "a/b/a": b"foreign 2", "b/a": b"foreign 3", "b/c": b"foreign 4", "c": b"foreign 5"}

BELIEVED_S = 60.0
"""Longer than nearly every run: what a listing told is outdated by what we did ourselves."""

Step = tuple[Any, ...]


@dataclass(eq=False)
class File:
    """What one or several names stand for."""

    data: bytes
    is_fifo: bool = False


Tree = dict[str, File | None]
"""Paths to files; None: a directory."""

paths = st.sampled_from(PATHS)
steps = st.one_of(
    st.tuples(st.just("write"), paths),
    st.tuples(st.just("unlink"), paths),
    st.tuples(st.just("mkdir"), paths),
    st.tuples(st.just("rmdir"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("exchange"), paths, paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("mkfifo"), paths),
    st.tuples(st.just("chmod"), paths),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.2, 1.26, 1.5, 3.0])),
    st.tuples(st.just("ticks"), st.integers(1, 30)),
    st.tuples(st.just("pause"), st.sampled_from([0.0, 0.01, 0.3])),
    st.tuples(st.just("drain")),
    st.tuples(st.just("crash")),
)


class Model:
    """What the tree should be, by the rules of POSIX."""

    def __init__(self, foreign: Mapping[str, bytes]) -> None:
        self.tree: Tree = {}
        for key, data in foreign.items():
            self.tree[key] = File(data)
            self.tree.update({"/".join(key.split("/")[:n]): None for n in range(1, key.count("/") + 1)})
        self.count = 0

    def bucket(self) -> dict[str, bytes]:
        found = {path: file.data for path, file in self.tree.items() if file is not None and not file.is_fifo}
        empty = [path for path in self.tree if self.is_dir(path) and not self._is_kept_below(path)]
        return found | {f"{path}/": b"" for path in empty}

    def _is_kept_below(self, path: str) -> bool:
        return any((file := self.tree[each]) is None or not file.is_fifo for each in self.below(path))

    def fifos(self) -> set[File]:
        return {file for file in self.tree.values() if file is not None and file.is_fifo}

    def is_dir(self, path: str) -> bool:
        return not path or (path in self.tree and self.tree[path] is None)

    def below(self, path: str) -> list[str]:
        return [each for each in self.tree if each.startswith(f"{path}/")]

    def apply(self, step: Step) -> bool:
        """Change the tree; False if the call must fail."""
        kind, *arguments = step
        if not self.is_dir(arguments[-1].rpartition("/")[0]):
            return False
        return bool(getattr(self, kind)(*arguments))

    def write(self, path: str) -> bool:
        if self.is_dir(path) or self.tree.get(path) in self.fifos():
            return False
        self.count += 1
        data = f"{path} {self.count}".encode()
        if (file := self.tree.get(path)) is not None:
            file.data = data
        else:
            self.tree[path] = File(data)
        return True

    def link(self, old: str, new: str) -> bool:
        if self.tree.get(old) is None or new in self.tree:
            return False
        self.tree[new] = self.tree[old]
        return True

    def mkfifo(self, path: str) -> bool:
        if path in self.tree:
            return False
        self.tree[path] = File(b"", is_fifo=True)
        return True

    def chmod(self, path: str) -> bool:
        return path in self.tree

    def unlink(self, path: str) -> bool:
        return path in self.tree and not self.is_dir(path) and self.tree.pop(path) is not None

    def mkdir(self, path: str) -> bool:
        if path in self.tree:
            return False
        self.tree[path] = None
        return True

    def rmdir(self, path: str) -> bool:
        if not self.is_dir(path) or self.below(path):
            return False
        del self.tree[path]
        return True

    def exchange(self, one: str, other: str) -> bool:
        if not self.is_dir(one.rpartition("/")[0]) or one not in self.tree or other not in self.tree:
            return False
        if one.startswith(f"{other}/") or other.startswith(f"{one}/"):
            return False
        if one == other:
            return True
        for path, to in ((one, "1"), (other, one), ("1", other)):
            moved = {each: self.tree.pop(each) for each in [path, *self.below(path)]}
            self.tree.update({to + each[len(path) :]: data for each, data in moved.items()})
        return True

    def rename(self, old: str, new: str) -> bool:
        if old not in self.tree or new == old or new.startswith(f"{old}/") or old.startswith(f"{new}/"):
            return new == old and old in self.tree
        if new in self.tree and (self.is_dir(new) != self.is_dir(old) or self.below(new)):
            return False
        if self.tree[old] is not None and self.tree.get(new) is self.tree[old]:
            return True  # two names of one file: nothing happens
        moved = {each: self.tree.pop(each) for each in [old, *self.below(old)]}
        self.tree.update({new + each[len(old) :]: data for each, data in moved.items()})
        return True


class Run:
    """One sequence of steps against the model."""

    def __init__(self, root: Path, foreign: Mapping[str, bytes], store: RecordedStore, *, ttl_s: float = 0.0) -> None:
        self.root = root
        self.foreign = foreign
        self.store = store
        self.ttl_s = ttl_s
        self.model = Model(foreign)

    async def play(self, steps: Sequence[Step]) -> None:
        await self.store.foreign(dict(self.foreign))
        todo = list(steps)
        while todo:
            self._restart()
            async with a_drained_world(self.root, self.store, ttl_s=self.ttl_s) as world:
                while todo and not self._is_over() and (step := todo.pop(0)) != ("crash",):
                    await self._do(world, step)
        self._restart()
        async with a_drained_world(self.root, self.store, ttl_s=self.ttl_s) as world:
            await world.settle()
            assert self.store.objects() == self.model.bucket()  # what a barrier promises
            await trio.sleep(60)
            assert world.tasks_left() == len(self.model.fifos())
            assert self.store.objects() == self.model.bucket()
            for path, file in self.model.tree.items():
                if file is not None and file.is_fifo:
                    assert stat.S_ISFIFO((await world.stat(path)).mode)
                elif file is not None:
                    assert await world.read_file(path) == file.data
                    names = list(self.model.tree.values()).count(file)
                    assert (await world.stat(path)).nlink == names

    def _is_over(self) -> bool:
        """Whether the daemon is to be killed now."""
        return False

    def _restart(self) -> None:
        """Another one is started."""

    async def _do(self, world: Any, step: Step) -> None:
        match step:
            case ("wait", seconds):
                await trio.sleep(seconds)
            case ("ticks", count):
                for _ in range(count):
                    await trio.lowlevel.checkpoint()
            case ("pause", seconds):
                self.store.pause_s = seconds
            case ("drain",):
                await world.settle()
            case _:
                await self._call(world, step)

    async def _call(self, world: Any, step: Step) -> None:
        before = dict(self.model.tree)
        expected = self.model.apply(step)
        kind, *arguments = step
        try:
            if kind == "write":
                file = self.model.tree[arguments[0]] if expected else None
                await world.write_file(arguments[0], b"x" if file is None else file.data)
            elif kind == "chmod":
                await world.setattr(*arguments, mode=0o600)
            else:
                await getattr(world, kind)(*arguments)
        except FileSystemError as exc:
            if expected:
                raise AssertionError(f"{step} in {before}") from exc
        else:
            assert expected, f"{step} in {before} should fail"


FOUND: list[list[Step]] = [
    # Back to where its object is: the delete that waited for it to arrive elsewhere goes without a request.
    [("rename", "c", "b/b"), ("rename", "b/b", "c")],
    [("exchange", "c", "a/a"), ("rename", "c", "a/a")],
    # A marker in flight when the daemon died; the directory has a child then.
    [("pause", 0.3), ("unlink", "a/b/a"), ("wait", 1.26), ("mkdir", "a/b/b"), ("wait", 0.3)],
    # A file where a directory was that is still being moved away.
    [("pause", 0.01), ("rename", "a/b", "a/c"), ("write", "a/b"), ("wait", 1.2), ("unlink", "a/b/a")],
    # A key that is still to be deleted, below the old prefix of a directory that is read elsewhere by now.
    [("rename", "b", "a/c"), ("rename", "a/a", "a/b/a"), ("rename", "a", "b"), ("wait", 1.86), ("unlink", "a/a/a")],
    # The marker of a directory that moved, and got a child before it was moved.
    [("mkdir", "b/b"), ("unlink", "a/b/a"), ("wait", 1.2), ("rename", "b/b", "a/b"), ("mkdir", "a/b/b")],
]


@pytest.mark.parametrize("steps", FOUND)
@pytest.mark.parametrize("ttl_s", [0.0, BELIEVED_S])
def test_what_went_wrong_once(steps: Sequence[Step], ttl_s: float) -> None:
    play(steps, ttl_s=ttl_s)


def play(steps: Sequence[Step], *, ttl_s: float) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        run = Run(Path(root), FOREIGN, RecordedStore(is_versioned=True), ttl_s=ttl_s)
        trio.run(run.play, steps, clock=MockClock(autojump_threshold=0))


_any = given(st.lists(steps, min_size=1, max_size=25))
_model = settings(suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@settings(_model, max_examples=examples(45))
@_any
def test_the_bucket_equals_the_tree(steps: Sequence[Step]) -> None:
    play(steps, ttl_s=0.0)


@pytest.mark.slow
@settings(_model, max_examples=examples(15))
@_any
def test_it_does_while_listings_are_believed(steps: Sequence[Step]) -> None:
    play(steps, ttl_s=BELIEVED_S)
