"""The power goes at any moment: what was synced is there, the rest is old or new, and the drain goes on."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.contents import ContentLost, Contents
from fusecache.cache.folders import Folders
from fusecache.cache.remains import Remains
from fusecache.cache.sparse import SparseFile
from fusecache.errors import NotFound
from fusecache.fs.pressure import Limits
from fusecache.fs.release import Releaser
from fusecache.namespace import database
from fusecache.namespace.records import Inode
from fusecache.namespace.salvage import Salvage
from fusecache.types import InodeNo
from tests.amounts import SEED, amount
from tests.fs.draining import Drained, a_drained_world
from tests.fs.harness import MEMORY
from tests.fs.room import Disk as SmallDisk
from tests.fs.room import Room
from tests.power.disk import FATES, Disk, Record, read_log
from tests.power.model import Application, Found, SnapshotStore, State, false_alarms, objections

pytestmark = [pytest.mark.mount, pytest.mark.slow]

CUTS = amount("FUSECACHE_POWER_CUTS", usual=100, soak=2000)
STEPS = 40
BASES = {"base-1": b"one " * 50_000, "base-2": b"two " * 20_000}
ROOT = Path(__file__).resolve().parents[2]
SHORTLY = 8
"""Changes of the disk."""
RESERVE_BYTES = 64 << 10
"""So little, that the journal often comes to the end of what was laid out for it."""


@contextmanager
def recorded(root: Path) -> Iterator[tuple[Path, Path]]:
    """Give a directory on a disk whose changes are logged, and the log."""
    backing, mountpoint, log = root / "backing", root / "disk", root / "log"
    for path in (backing, mountpoint):
        path.mkdir()
    command = [sys.executable, "-m", "tests.power.recorder", str(backing), str(mountpoint), str(log)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        yield mountpoint, log
    finally:
        subprocess.run(["fusermount3", "-uz", mountpoint], check=False)
        process.wait(timeout=30)
        process.stdout.close()


async def run_application(
    root: Path, seed: int, *, is_backed: bool = False
) -> tuple[list[State], list[Record], SnapshotStore]:
    """Let an application work on a recorded disk; return what it did, what the disk did, and the store's history.

    `is_backed`: the kernel writes by itself what it may.
    """
    with recorded(root) as (cache, log):

        def log_end() -> int:
            return log.stat().st_size if log.exists() else 0

        store = SnapshotStore(log_end)
        await store.foreign(BASES)
        size = 64 << 30 if is_backed else 1 << 30  # the kernel gets nothing where room is short
        room = Room(SmallDisk(size), Limits(free_space_ratio=0.8))  # when others fill it, nothing clean may stay
        async with a_drained_world(cache, store, boot_id="before", reserve_bytes=RESERVE_BYTES, room=room) as world:
            if is_backed:
                world.fs.back_files()
            await world.mkdir("d")
            await world.fs.fsyncdir()
            application = Application(world, room.disk, random.Random(seed), log_end, BASES)
            for _ in range(STEPS):
                await application.step()
            states = application.states
    return states, read_log(log), store


@asynccontextmanager
async def after_the_cut(root: Path, store: SnapshotStore, end: int) -> AsyncIterator[Drained]:
    async with a_drained_world(root, store.as_of(end), boot_id="after") as world:
        yield world


async def seen(world: Drained) -> Found:
    paths = [name for name in await world.ls() if not name.endswith("/")]
    paths += [f"d/{name}" for name in await world.ls("d")]
    return {path: await world.read_file(path) for path in paths}


def aside(world: Drained) -> list[str]:
    """The paths of which `stat` tells that their bytes did not outlive it."""
    salvage = Salvage(world.ns.tables, world.ns.policies, delay_ns=0)
    return [each.path.decode() for each in salvage.asides()]


def short(found: Found) -> dict[str, tuple[int, bytes]]:
    """What can be read in a failure."""
    return {path: (len(data), data[:10]) for path, data in found.items()}


async def check_cut(
    root: Path, disk: Disk, end: int, states: list[State], store: SnapshotStore, fate: str, seed: int
) -> None:
    """Let the power go where the log has `end` bytes, start again, and compare."""
    disk.leave(root, random.Random(seed), fate)
    number = next(n for n, state in enumerate(states) if state.end >= end)
    stored = store.as_of(end).objects()
    where = f"seed {SEED}, cut at {end} in or before «{states[number].told}», {fate} {seed}"
    async with after_the_cut(root, store, end) as world:
        found = await seen(world)
        told = objections(states, number, found, stored) or false_alarms(states, number, aside(world))
        assert not told, f"{where}:\n" + "\n".join(told)
        await all_done(world)
        found = await seen(world)  # what the store has of a name may have been hidden by a delete under way
        told = objections(states, number, found, stored)
        assert not told, f"{where}, drained:\n" + "\n".join(told)
        objects = {key: data for key, data in world.store.objects().items() if key != "d/"}
        assert short(objects) == short(found), where


async def all_done(world: Drained) -> None:
    """Drain, also what that has left to do: the marker of a directory whose deletes found somebody else's objects."""
    with trio.fail_after(3600):
        await world.settle()
        while world.ns.database.connection.execute("SELECT 1 FROM task").fetchone() is not None:
            await world.settle()
            await trio.sleep(0.1)


async def cut_everywhere(
    root: Path, seed: int, count: int, fates: Sequence[str], *, is_backed: bool = False, after: str = ""
) -> None:
    """Run the application once, and let the power go at `count` moments of it, or only shortly after such a change."""
    states, records, store = await run_application(root, seed, is_backed=is_backed)
    if is_backed:
        assert any("by the kernel" in state.told for state in states)
    rng = random.Random(seed)
    records_of_it = [record for record in records if states[0].end < record.end <= states[-1].end]
    ends = [
        record.end
        for number, record in enumerate(records_of_it)
        if not after or any(each.kind == after for each in records_of_it[max(0, number - SHORTLY) : number])
    ]
    disk, done = Disk(), 0
    for end in sorted(rng.choice(ends) for _ in range(count)):
        while done < len(records) and records[done].end <= end:
            disk.apply(records[done])
            done += 1
        with tempfile.TemporaryDirectory(dir=MEMORY) as after:  # it is not cut off once more
            path = Path(after, "after")
            await check_cut(path, disk, end, states, store, rng.choice(fates), rng.randrange(1 << 30))


@pytest.mark.parametrize("is_backed", [False, True], ids=["asked", "backed"])
async def test_a_power_loss_at_any_moment(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, is_backed: bool
) -> None:
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 256 << 10)  # so that the journal is moved now and then
    await cut_everywhere(tmp_path, SEED, CUTS, list(FATES), is_backed=is_backed)


@pytest.mark.parametrize(
    "forgotten",
    [
        "the bytes",
        "their name",
        "the rows",
        "what the rows carry",
        "that the store has it",
        pytest.param("what goes late", marks=pytest.mark.skipif(CUTS < 500, reason="it takes a while to be found")),
    ],
)
async def test_a_forgotten_sync_is_found(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """Without it, this file would prove nothing."""

    def unsynced(self: database.Database) -> None:
        self.synced_seq = self.seq

    def at_once(self: Contents, ino: InodeNo) -> None:
        self.remove(ino)

    async def unsettled(self: Releaser, numbers: Sequence[InodeNo]) -> list[Inode]:
        await trio.lowlevel.checkpoint()
        return [inode for inode in map(self._expendable, numbers) if inode is not None]

    match forgotten:
        case "the bytes":
            monkeypatch.setattr(SparseFile, "sync", lambda self: None)
        case "their name":
            monkeypatch.setattr(Folders, "sync", lambda self, path: None)
        case "the rows":
            monkeypatch.setattr(database.Database, "sync", unsynced)
        case "that the store has it":
            monkeypatch.setattr(Releaser, "_settled", unsettled)
        case "what the rows carry":
            monkeypatch.setattr(Remains, "rewrite", lambda self, ino, data: None)
        case _:
            monkeypatch.setattr(Contents, "drop", at_once)
    seeds, after = iter(range(1, 10)), "unlink" if forgotten == "that the store has it" else ""
    with pytest.RaisesGroup(pytest.RaisesExc((AssertionError, NotFound, ContentLost)), flatten_subgroups=True):
        for seed in seeds:
            (tmp_path / str(seed)).mkdir()
            await cut_everywhere(tmp_path / str(seed), seed, 40, ["dropped", "mixed"], after=after)
