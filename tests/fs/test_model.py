"""Random calls against a dict: whatever was done, names, types, sizes and bytes are those of the model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fusecache.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileSystemError,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotFound,
)
from fusecache.types import HandleNo
from tests.amounts import examples
from tests.fs.harness import BLOCK, MEMORY, CountedStore, World, a_world, pattern

NAMES = ("a", "b", "c")
FOREIGN = {
    "a": pattern(3 * BLOCK + 17, 1),
    "b/a": b"",
    "b/b": pattern(BLOCK, 2),
    "b/c/a": pattern(2 * BLOCK, 3),
}
"""What was in the store before: reads, copy-up and whiteouts have something to meet."""


@dataclass
class Model:
    """Paths to bytes; None for a directory. Raises what the file system should raise."""

    tree: dict[str, bytearray | None] = field(default_factory=dict)

    def get(self, path: str) -> bytearray | None:
        self._walk(path)
        if path not in self.tree:
            raise NotFound(path)
        return self.tree[path]

    def file(self, path: str) -> bytearray:
        data = self.get(path)
        if data is None:
            raise IsADirectory(path)
        return data

    def children(self, path: str) -> list[str]:
        prefix = f"{path}/" if path else ""
        return [each for each in self.tree if each.startswith(prefix) and "/" not in each[len(prefix) :]]

    def mkdir(self, path: str) -> None:
        self._walk(path)
        if path in self.tree:
            raise AlreadyExists(path)
        self.tree[path] = None

    def write_file(self, path: str, data: bytes) -> None:
        self._walk(path)
        if path in self.tree:
            self.file(path)[:] = data
        else:
            self.tree[path] = bytearray(data)

    def write_at(self, path: str, offset: int, data: bytes) -> None:
        content = self.file(path)
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data

    def truncate(self, path: str, size: int) -> None:
        content = self.file(path)
        content.extend(bytes(max(0, size - len(content))))
        del content[size:]

    def unlink(self, path: str) -> bytearray:
        data = self.file(path)
        del self.tree[path]
        return data

    def rmdir(self, path: str) -> None:
        if self.get(path) is not None:
            raise NotADirectory(path)
        if self.children(path):
            raise DirectoryNotEmpty(path)
        del self.tree[path]

    def rename(self, old: str, new: str) -> None:
        self._walk(old)
        self._walk(new)
        moved = self.get(old)
        if old == new:
            return
        if new in self.tree:
            self._check_replaceable(moved, new)
        if new.startswith(f"{old}/"):
            raise InvalidArgument(new)
        self.tree.pop(new, None)
        for path in [each for each in self.tree if each == old or each.startswith(f"{old}/")]:
            self.tree[new + path.removeprefix(old)] = self.tree.pop(path)

    def _check_replaceable(self, moved: bytearray | None, new: str) -> None:
        if self.tree[new] is not None:
            if moved is None:
                raise NotADirectory(new)
        elif moved is not None:
            raise IsADirectory(new)
        elif self.children(new):
            raise DirectoryNotEmpty(new)

    def _walk(self, path: str) -> None:
        *above, _ = path.split("/")
        for depth in range(1, len(above) + 1):
            directory = "/".join(above[:depth])
            if directory not in self.tree:
                raise NotFound(directory)
            if self.tree[directory] is not None:
                raise NotADirectory(directory)


@dataclass
class Both:
    """Does everything twice and compares: what comes out, and what is raised."""

    world: World
    model: Model
    clock: MockClock
    open: list[tuple[HandleNo, bytearray]] = field(default_factory=list)

    async def step(self, action: str, path: str, other: str, offset: int, size: int) -> None:
        await getattr(self, action)(path, other, offset, size)

    async def mkdir(self, path: str, other: str, offset: int, size: int) -> None:
        await self._same(lambda: self.world.mkdir(path), lambda: self.model.mkdir(path))

    async def write_file(self, path: str, other: str, offset: int, size: int) -> None:
        data = pattern(size, offset)
        await self._same(lambda: self.world.write_file(path, data), lambda: self.model.write_file(path, data))

    async def write_at(self, path: str, other: str, offset: int, size: int) -> None:
        data = pattern(size, 7)
        await self._same(
            lambda: self.world.write_at(path, offset, data), lambda: self.model.write_at(path, offset, data)
        )

    async def truncate(self, path: str, other: str, offset: int, size: int) -> None:
        await self._same(lambda: self.world.truncate(path, offset), lambda: self.model.truncate(path, offset))

    async def unlink(self, path: str, other: str, offset: int, size: int) -> None:
        await self._same(lambda: self.world.unlink(path), lambda: self.model.unlink(path))

    async def rmdir(self, path: str, other: str, offset: int, size: int) -> None:
        await self._same(lambda: self.world.rmdir(path), lambda: self.model.rmdir(path))

    async def rename(self, path: str, other: str, offset: int, size: int) -> None:
        await self._same(lambda: self.world.rename(path, other), lambda: self.model.rename(path, other))

    async def read(self, path: str, other: str, offset: int, size: int) -> None:
        try:
            expected = bytes(self.model.file(path)[offset : offset + size])
        except FileSystemError:
            return
        number = await self.world.open(path)
        assert await self.world.read(number, offset, size) == expected
        await self.world.close(number)

    async def hold(self, path: str, other: str, offset: int, size: int) -> None:
        """Open a file and keep it open, whatever becomes of its name."""
        data = self.model.tree.get(path)
        if data is not None:
            self.open.append((await self.world.open(path, os.O_RDWR), data))

    async def write_held(self, path: str, other: str, offset: int, size: int) -> None:
        if self.open:
            number, content = self.open[offset % len(self.open)]
            data = pattern(size, 11)
            await self.world.fs.write(number, offset, data)
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + size] = data

    async def read_held(self, path: str, other: str, offset: int, size: int) -> None:
        if self.open:
            number, content = self.open[offset % len(self.open)]
            assert await self.world.read(number, offset, size) == content[offset : offset + size]

    async def let_go(self, path: str, other: str, offset: int, size: int) -> None:
        if self.open:
            number, content = self.open.pop(offset % len(self.open))
            assert await self.world.read(number) == content
            await self.world.close(number)

    async def later(self, path: str, other: str, offset: int, size: int) -> None:
        """What the store told is not believed any more."""
        self.clock.jump(100.0)

    async def look(self) -> None:
        """Compare everything there is."""
        for path, data in self.model.tree.items():
            inode = await self.world.stat(path)
            assert inode.is_dir == (data is None), path
            if data is not None:
                assert inode.size == len(data), path
                assert await self.world.read_file(path) == data, path
        for directory in ["", *(path for path, data in self.model.tree.items() if data is None)]:
            names = sorted(name.rstrip("/") for name in await self.world.ls(directory))
            assert names == sorted(path.rpartition("/")[2] for path in self.model.children(directory)), directory

    async def _same(self, real: Callable[[], Awaitable[object]], model: Callable[[], object]) -> None:
        expected = got = None
        try:
            model()
        except FileSystemError as exc:
            expected = exc
        try:
            await real()
        except FileSystemError as exc:
            got = exc
        assert type(got) is type(expected), f"{got!r}, not {expected!r}"


ACTIONS = (
    "mkdir", "write_file", "write_at", "truncate", "unlink", "rmdir", "rename", "rename", "read",
    "hold", "write_held", "read_held", "let_go", "later",
)  # fmt: skip
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
OFFSETS = st.one_of(st.integers(0, 20), st.sampled_from([BLOCK - 3, BLOCK, 2 * BLOCK + 5, 4 * BLOCK]))
SIZES = st.sampled_from([1, 10, BLOCK, BLOCK + 9])
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), PATHS, PATHS, OFFSETS, SIZES), min_size=1, max_size=25)


@pytest.mark.slow
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, every=st.booleans(), over_foreign=st.booleans())
def test_any_calls_have_the_effect_of_the_model(
    steps: list[tuple[str, str, str, int, int]], every: bool, over_foreign: bool
) -> None:
    """`every`: compare after each step, which also warms what the next one finds in memory; else at the end."""
    clock = MockClock()
    trio.run(_run, steps, every, FOREIGN if over_foreign else {}, clock, clock=clock)


async def _run(
    steps: list[tuple[str, str, str, int, int]], every: bool, foreign: dict[str, bytes], clock: MockClock
) -> None:
    store = CountedStore()
    await store.foreign(foreign)
    model = Model({path: bytearray(data) for path, data in foreign.items()})
    model.tree |= {"b": None, "b/c": None} if foreign else {}
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        async with a_world(Path(root), store) as world:
            both = Both(world, model, clock)
            for step in steps:
                await both.step(*step)
                if every:
                    await both.look()
            while both.open:
                await both.let_go("", "", 0, 0)
            await both.look()
            assert "0 on 0" in repr(world.fs._files)
