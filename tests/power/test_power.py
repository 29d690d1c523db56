"""The power goes at any moment: what was synced is there, the rest is old or new, and the drain goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from trio.testing import MockClock

from fusecache.namespace import database
from tests.fs.draining import Drained, a_drained_world
from tests.power.disk import FATES, Disk, Record, read_log
from tests.power.model import Application, Found, SnapshotStore, State, objections

pytestmark = [pytest.mark.mount, pytest.mark.slow]

CUTS = int(os.environ.get("FUSECACHE_POWER_CUTS", "50"))
SEED = int(os.environ.get("FUSECACHE_SEED", "0")) or random.SystemRandom().randrange(1 << 20)
STEPS = 40
BASES = {"base-1": b"one " * 50_000, "base-2": b"two " * 20_000}
ROOT = Path(__file__).resolve().parents[2]


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


async def run_application(root: Path, seed: int) -> tuple[list[State], list[Record], SnapshotStore]:
    """Let an application work on a recorded disk; return what it did, what the disk did, and the store's history."""
    with recorded(root) as (cache, log):

        def log_end() -> int:
            return log.stat().st_size if log.exists() else 0

        store = SnapshotStore(log_end)
        await store.foreign(BASES)
        async with a_drained_world(cache, store, boot_id="before") as world:
            await world.mkdir("d")
            await world.fs.fsyncdir()
            application = Application(world, random.Random(seed), log_end, BASES)
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
        told = objections(states, number, found, stored)
        assert not told, f"{where}:\n" + "\n".join(told)
        await world.settle()
        found = await seen(world)  # what the store has of a name may have been hidden by a delete under way
        told = objections(states, number, found, stored)
        assert not told, f"{where}, drained:\n" + "\n".join(told)
        objects = {key: data for key, data in world.store.objects().items() if key != "d/"}
        assert short(objects) == short(found), where


async def test_a_power_loss_at_any_moment(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 256 << 10)  # so that the journal is moved now and then
    states, records, store = await run_application(tmp_path, SEED)
    rng = random.Random(SEED)
    ends = [record.end for record in records if states[0].end < record.end <= states[-1].end]
    wanted = sorted(rng.choice(ends) for _ in range(CUTS))
    disk, done = Disk(), 0
    for end in wanted:
        while done < len(records) and records[done].end <= end:
            disk.apply(records[done])
            done += 1
        fate = rng.choice(list(FATES))
        root = tmp_path / "after"
        await check_cut(root, disk, end, states, store, fate, rng.randrange(1 << 30))
        shutil.rmtree(root)
