"""What applications did on a recorded disk, what was acknowledged, and what may be found after a power loss."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio

from fusecache.types import ROOT_INO, HandleNo
from tests.fs.draining import Drained, RecordedStore
from tests.fs.handing import Handed
from tests.fs.room import Disk
from tests.power.disk import PAGE

Found = dict[str, bytes]
PATHS = ("a", "b", "c", "d/e", "d/f", "base-1", "base-2")
SIZES = (0, 10, PAGE, 3 * PAGE + 17, 20 * PAGE, 50 * PAGE + 1)


def fill(number: int, version: int, offset: int, size: int) -> bytes:
    """Bytes that tell whose they are: of which file, from which write, at which offset."""
    first = offset // 16
    units = (f"{number:04d}.{version:04d}.{n:05x}\n".encode() for n in range(first, (offset + size) // 16 + 1))
    return b"".join(units)[offset - first * 16 :][:size]


@dataclass
class File:
    """A file under whatever name: every version of its bytes, and the last that was synced."""

    number: int
    versions: list[bytes] = field(default_factory=lambda: [b""])
    edges: set[int] = field(default_factory=set)
    """Where a write began or ended: of two to one page, a power loss may spare any."""
    synced: int | None = None

    @property
    def now(self) -> bytes:
        return self.versions[-1]


@dataclass(frozen=True)
class State:
    """After an operation: names, what of each file was acknowledged as synced, and how much was logged."""

    end: int
    tree: dict[str, File]
    synced: dict[int, int]
    held: frozenset[int]
    """Files that are what their content was at a sync, whoever asked for it: often nobody but the upkeep."""
    latest: dict[int, int]
    names_synced: int
    told: str


class SnapshotStore(RecordedStore):
    """Remembers what it held at which moment of the disk's log."""

    def __init__(self, log_end: Callable[[], int]) -> None:
        self.history: list[tuple[int, dict[str, object]]] = []
        self._log_end = log_end
        super().__init__()

    def note(self) -> None:
        self.history.append((self._log_end(), dict(self._objects)))

    async def delete(self, keys, *, if_match=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        outcomes = await super().delete(keys, if_match=if_match)
        self.note()
        return outcomes

    def _store(self, key, data, metadata):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        etag = super()._store(key, data, metadata)
        self.note()
        return etag

    def as_of(self, end: int) -> RecordedStore:
        """Return a store as this one was then."""
        store = RecordedStore()
        store._objects = dict(next(objects for at, objects in reversed(self.history) if at <= end))  # type: ignore[arg-type]  # plain
        return store


class Application:
    """Does random things, and keeps the model of them."""

    def __init__(
        self,
        world: Drained,
        disk: Disk,
        rng: random.Random,
        log_end: Callable[[], int],
        bases: dict[str, bytes],
    ) -> None:
        """Where the world gives files to the kernel, that is who writes."""
        self._world = world
        self._disk = disk
        self._rng = rng
        self._log_end = log_end
        self._count = 0
        self._tree: dict[str, File] = {}
        self._files: list[File] = []
        self._names_synced = 0
        for path, data in bases.items():
            file = self._tree[path] = self._new()
            file.versions, file.synced = [data], 0
        self.states: list[State] = []
        self._note("the beginning")

    def _new(self) -> File:
        self._files.append(File(len(self._files)))
        return self._files[-1]

    def _note(self, told: str) -> None:
        synced = {file.number: file.synced for file in self._files if file.synced is not None}
        latest = {file.number: len(file.versions) - 1 for file in self._files}
        tree, held = dict(self._tree), frozenset(self._held())
        self.states.append(State(self._log_end(), tree, synced, held, latest, self._names_synced, told))

    def _held(self) -> Iterator[int]:
        t = self._world.ns.tables
        directory = t.dentries.get(ROOT_INO, b"d")
        assert directory is not None
        for path, file in self._tree.items():
            above, _, name = path.rpartition("/")
            row = t.dentries.get(directory.inode_no if above else ROOT_INO, name.encode())
            if row is None:  # nobody has asked the store for it
                continue
            if t.seals.get(row.inode_no).held() is not None and t.seals.carried(row.inode_no) is None:
                yield file.number

    async def step(self) -> None:
        """Do one thing, and note what it was."""
        kinds = ["write", "replace", "append", "patch", "unlink", "rename", "fsyncdir", "upkeep", "settle", "truncate"]
        kind = self._rng.choice([*kinds, "write", "replace", "append", "patch", "evict"])
        path = self._rng.choice(PATHS)
        if kind in ("append", "patch", "unlink", "rename", "truncate") and path not in self._tree:
            kind = "write"
        told = await getattr(self, f"_{kind}")(path)
        self._note(f"{kind} {path} {told or ''}")

    # --- operations ---

    async def _write(self, path: str) -> str:
        file = self._tree.get(path)
        if file is None:
            file = self._tree[path] = self._new()
        else:
            file.versions.append(b"")
        number = await self._world.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        return await self._fill(file, number, 0, self._rng.choice(SIZES))

    async def _replace(self, path: str) -> str:
        file = self._new()
        self._tree["tmp"] = file
        number = await self._world.open("tmp", os.O_WRONLY | os.O_CREAT)
        told = await self._fill(file, number, 0, self._rng.choice(SIZES))
        self._note(f"write tmp for {path} {told}")
        await self._world.rename("tmp", path)
        self._tree[path] = self._tree.pop("tmp")
        return told

    async def _append(self, path: str) -> str:
        file = self._tree[path]
        number = await self._world.open(path, os.O_WRONLY)
        return await self._fill(file, number, len(file.now), self._rng.choice(SIZES))

    async def _patch(self, path: str) -> str:
        file = self._tree[path]
        number = await self._world.open(path, os.O_WRONLY)
        return await self._fill(file, number, self._rng.randrange(len(file.now) + 1), self._rng.choice(SIZES))

    async def _fill(self, file: File, number: HandleNo, offset: int, size: int) -> str:
        """Write in a few pieces, perhaps fsync in between or at the end, and close."""
        left, fsyncs = size, []
        self._count += 1
        by = Handed(self._world, number) if self._world.fs.backing(number) is not None else None
        if by is not None:
            file.versions.append(file.now)  # after a power loss nobody knows that it was not changed
        while left:
            piece = min(left, self._rng.choice((PAGE, 5 * PAGE, left)))
            data = fill(file.number, self._count, offset, piece)
            file.versions.append(file.now[:offset].ljust(offset, b"\0") + data + file.now[offset + piece :])
            file.edges |= {offset, offset + piece}
            if by is None:
                await self._world.fs.write(number, offset, data)
            else:
                os.pwrite(by.fd, data, offset)
            offset, left = offset + piece, left - piece
            if self._rng.random() < 0.2:
                await self._fsync(file, number)
                fsyncs.append(offset)
        await (self._world.close(number) if by is None else by.close())
        return f"{size} bytes{' by the kernel' if by else ''}, fsync at {fsyncs}"

    async def _fsync(self, file: File, number: HandleNo) -> None:
        await self._world.fs.fsync(number)
        file.synced = len(file.versions) - 1
        self._names_synced = len(self.states) - 1
        self._note("fsync")

    async def _truncate(self, path: str) -> str:
        file = self._tree[path]
        size = self._rng.choice((len(file.now) // 2, len(file.now) + 100))
        file.versions.append(file.now[:size].ljust(size, b"\0"))
        await self._world.truncate(path, size)
        return f"to {size}"

    async def _unlink(self, path: str) -> None:
        await self._world.unlink(path)
        del self._tree[path]

    async def _rename(self, path: str) -> str:
        target = self._rng.choice(PATHS)
        await self._world.rename(path, target)
        self._tree[target] = self._tree.pop(path)
        return f"to {target}"

    async def _fsyncdir(self, path: str) -> None:
        await self._world.fs.fsyncdir()
        self._names_synced = len(self.states) - 1

    async def _upkeep(self, path: str) -> None:
        await self._world.upkeep.seal()
        await self._world.upkeep.sweep()
        self._world.contents.flush_index()

    async def _settle(self, path: str) -> None:
        await self._world.settle()

    async def _evict(self, path: str) -> str:
        """Others fill the disk the moment that the store has everything, also what was synced just now: it goes."""
        told = await self._write(path)
        number = await self._world.open(path, os.O_WRONLY)
        await self._fsync(self._tree[path], number)
        await self._world.close(number)
        with trio.fail_after(3600):
            while self._world.tasks_left():  # noqa: ASYNC110 - a flush would end later, with what it left synced
                await trio.sleep(0.01)
        self._disk.others = self._disk.size
        freed = await self._world.releaser.make_room()
        self._disk.others = 0
        return f"{told}; {freed} bytes are given up"


def objections(states: list[State], number: int, found: Found, stored: Found) -> list[str]:
    """Return why `found` cannot be, after a power loss before state `number` was reached; empty if it may.

    The names must be those of some moment since they were synced; each file must have bytes that it has had.
    """
    before, after = states[number - 1], states[number]
    told: list[str] = []
    possible = range(before.names_synced, number + 1)
    held = frozenset[int]().union(*(states[k].held for k in possible))
    for k in possible:
        told = list(_against(states[k].tree, before, after, held, found, stored))
        if not told:
            return []
    return told


def false_alarms(states: list[State], number: int, aside: list[str]) -> list[str]:
    """Return what was put `aside` though it was synced, and not changed since, whenever the names may be of."""
    before, after = states[number - 1], states[number]
    trees = [states[k].tree for k in range(before.names_synced, number + 1)]
    unchanged = {n for n, synced in before.synced.items() if synced == after.latest[n]}
    return [path for path in aside if all(path in tree and tree[path].number in unchanged for tree in trees)]


def _against(
    tree: dict[str, File], before: State, after: State, held: frozenset[int], found: Found, stored: Found
) -> list[str]:
    told = [f"{path} is there, and was not then" for path in found if path not in tree]
    for path, file in tree.items():
        synced, latest = before.synced.get(file.number), after.latest[file.number]
        data = found.get(path)
        if data is None:
            if synced is not None:
                told.append(f"{path} (file {file.number}) is gone, though its version {synced} was synced")
            continue
        if synced is None and stored.get(path) == data:
            continue  # its last good version
        versions = file.versions[synced or 0 : latest + 1]
        if data in versions or (file.number in held and _is_mixed(data, versions, file)):
            continue
        told.append(f"{path} (file {file.number}, synced {synced} of {latest}) has {len(data)} bytes: {_shown(data)}")
    return told


def _is_mixed(data: bytes, versions: list[bytes], file: File) -> bool:
    """Overwritten in place and not synced: each page, or part of one, is old or new, as far as the file went then.

    What counts of the version in the store may end within a page, too. And a file that was cut and extended again may
    end wherever the pages that have reached the disk do.
    """
    size, sizes = len(data), [len(version) for version in versions]
    is_cut = any(0 < later < earlier for earlier, later in itertools.pairwise(sizes))
    if size not in sizes and not (is_cut and min(sizes) <= size <= max(sizes)):
        return False
    edges = (edge for edge in (*file.edges, *map(len, file.versions)) if edge < size)
    bounds = sorted({*range(0, size, PAGE), *edges, size})
    parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
    extended = [version.ljust(size, b"\0") for version in versions]
    return all(any(version[part] == data[part] for version in extended) for part in parts)


def _shown(data: bytes) -> str:
    pages = [data[start : start + 10].decode(errors="replace") for start in range(0, len(data), PAGE)]
    return " ".join(repr(page) for page in pages[:60])
