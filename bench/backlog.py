"""Does a large backlog cost anything while it waits?

A store that is away for an hour leaves many dirty files: what the daemon does meanwhile must not take longer for them.
Unit: µs of CPU (of a create + write 4 KiB + close; of a step of the plan that finds 16 jobs; of what `stat` tells; of a
page of 250 that a flush counts), and MiB resident. Baseline: the same with a hundredth of the files.

    python -m bench.backlog [--files 100000]
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import trio

from bench.harness import Row, print_table, rss_bytes
from fusecache.config import Config
from fusecache.namespace.records import Place
from fusecache.namespace.tree import Owner
from fusecache.types import ROOT_INO, Seq
from fusecache.volume import Volume, open_volume

BODY = os.urandom(4096)
FILE = Owner(stat.S_IFREG | 0o644, 0, 0)
JOBS = 16
PAGE = 250
ROUNDS = 50
FEWER = 100
UNITS = {"create": "µs", "plan": "µs", "stat": "µs", "flush": "µs", "resident": "MiB"}
BARS = dict.fromkeys(UNITS, "ratio 1") | {"resident": "< 300"}


async def fill(volume: Volume, files: int) -> float:
    """Make the files, a thousand to a directory; return µs of CPU for each of the last tenth."""
    fs, parent, costs = volume.filesystem, ROOT_INO, []
    for n in range(files):
        if n % 1000 == 0:
            entry = await fs.mkdir(Place(ROOT_INO, b"d%d" % n), Owner(stat.S_IFDIR | 0o755, 0, 0))
            parent = entry.inode.ino
            await trio.lowlevel.checkpoint()
        began = time.process_time()
        number, _ = await fs.create(Place(parent, b"part-%06d" % n), FILE, os.O_WRONLY)
        await fs.write(number, 0, BODY)
        fs.flush(number)
        fs.release(number)
        costs.append(time.process_time() - began)
    return median(costs[-max(1, files // 10) :]) * 1e6


def cost_us(work: Callable[[], object]) -> float:
    """Return the median of what some rounds of `work` take."""
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        costs.append(time.process_time() - began)
    return median(costs) * 1e6


def plan_us(volume: Volume) -> float:
    """One step, whose jobs are given back."""
    persister = volume._parts.persister
    database = volume._parts.namespace.database

    def step() -> None:
        plan = persister._planner.plan(
            now_ns=time.time_ns() + 10**13, synced_seq=database.seq, capacity=JOBS, may_delete=True
        )
        assert len(plan.jobs) == JOBS, plan
        for job in plan.jobs:
            persister._inflight.release(job.task.task)

    return cost_us(step)


def page_us(volume: Volume, files: int) -> float:
    """One page in the middle of what a flush counts."""
    tasks, paths = volume._parts.namespace.tables.tasks, volume._parts.persister._paths
    seq = volume._parts.namespace.database.seq
    middle = tasks.since(Seq(seq), after_task=0, count=files)[files // 2].task

    def page() -> None:
        found = tasks.since(seq, after_task=middle, count=PAGE)
        assert all(paths.is_within(task, ROOT_INO) for task in found)

    return cost_us(page)


async def measured(files: int, here: Path) -> dict[str, float]:
    (here / "store").mkdir()
    config = Config(
        store=f"file://{here}/store",
        mountpoint=here / "mnt",
        cache_dirs=(here / "cache",),
        state_dir=here / "state",
        persist_delay_s=3600.0,
    )
    for directory in (*config.cache_dirs, config.state_dir):
        directory.mkdir()
    async with open_volume(config, stale=lambda _: None) as volume, trio.open_nursery() as nursery:
        nursery.start_soon(volume.run)
        create = await fill(volume, files)
        figures = {"create": create, "plan": plan_us(volume), "stat": cost_us(volume.stat_mount)}
        figures["resident"] = rss_bytes(os.getpid()) / (1 << 20)  # before the list that is made below
        figures["flush"] = page_us(volume, files)
        nursery.cancel_scope.cancel()
    return figures


def in_a_process(files: int, directory: Path | None) -> dict[str, float]:
    """Measure in a process of its own, as memory that was given back stays resident."""
    here = Path(tempfile.mkdtemp(prefix="fusecache-bench.", dir=directory))
    command = [sys.executable, "-m", "bench.backlog", "--files", str(files), "--once", str(here)]
    try:
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        figures: dict[str, float] = json.loads(told)
        return figures
    finally:
        shutil.rmtree(here, ignore_errors=True)


@click.command(help=__doc__)
@click.option("--files", default=100_000, show_default=True, type=click.IntRange(min=JOBS))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the state is made.")
@click.option("--once", type=click.Path(path_type=Path, file_okay=False), hidden=True)
def main(files: int, directory: Path | None, once: Path | None) -> None:
    if once is not None:
        click.echo(json.dumps(trio.run(measured, files, once)))
        return
    few, many = in_a_process(files // FEWER, directory), in_a_process(files, directory)
    rows = [Row(name, many[name], few[name], unit, BARS[name]) for name, unit in UNITS.items()]
    print_table(f"Does a backlog of {files:,} files cost anything?", f"{files // FEWER:,} files", rows)


if __name__ == "__main__":
    main()
