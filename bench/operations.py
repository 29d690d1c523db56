"""What does one operation cost the daemon?

Unit: µs of the daemon's CPU a file (user + system), FLUSH and RELEASE included; for rename(2) of a directory ms of
wall time. Baseline: the minimal pass-through of bench/passthrough_min.py in the same run, alternating with ours
(for the rename: the same one with a hundredth of the objects).

Once with application and daemon on one CPU: what the daemon uses then is its own work. And once on all: in a virtual
machine whose other CPUs are idle, each answer is also charged with waking one of them by way of the host, and
a CPU that polls while it has nothing to do slows its sibling down.

    python -m bench.operations [--files 5000] [--objects 10000] [--server moto]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from bench.harness import BUCKET, Row, Stage, cpu_of, elapsed_s, print_table, stage

BODY = os.urandom(4096)
FEWER = 100
"""A rename that costs the same for a hundredth of the objects doesn't look at each."""
ROUNDS = 5
"""The machine's mood changes from second to second: the median of so many parts of the files."""
QUIET = ("--persist-delay", "1h")
UNCACHED = ("-o", "attr_timeout=0,entry_timeout=0")


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that is done to each file, and what it may cost."""

    name: str
    work: Callable[[str], None]
    bar: str = ""


def create(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, BODY)
    os.close(descriptor)


def read(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, len(BODY))
    os.close(descriptor)


OPERATIONS = (
    Operation("create + write 4 KiB + close", create, "≤ 500"),
    Operation("open + read + close, cached", read, "≤ 200"),
    Operation("stat, after the read", os.stat),
    Operation("stat, warm", os.stat, "no request"),
    Operation("unlink", os.unlink, "≤ 200"),
)


def operation_rows(here: Stage, name: str, count: int) -> list[Row]:
    """Do all of OPERATIONS to `count` files here and there, all files before the next operation."""
    with here.passthrough() as minimal, here.mounted(name, *QUIET) as (mount, pid):
        mounts = ((mount.path, pid), minimal)
        rows = []
        for each in OPERATIONS:
            rounds = [[cost(each, *it, range(n, count, ROUNDS)) for it in mounts] for n in range(ROUNDS)]
            ours, baseline = (median(column) for column in zip(*rounds, strict=True))
            rows.append(Row(each.name, ours, baseline, "µs", each.bar))
    with here.mounted(f"{name}-stat", *QUIET, *UNCACHED) as (mount, pid):
        rows.append(Row("stat that reaches us", stat_cost(mount.path, pid, count), None, "µs", "≤ 60"))
    return rows


def cost(operation: Operation, root: Path, pid: int, numbers: range) -> float:
    """Return µs of CPU a file of process `pid`, for the files of these numbers."""
    paths = [str(root / f"file-{number:06d}") for number in numbers]
    return cpu_of(pid, lambda: _for_all(operation.work, paths)) / len(paths) * 1e6


def stat_cost(root: Path, pid: int, count: int) -> float:
    """Return µs of CPU of one stat(2) that reaches the daemon: of a descriptor, so that no lookup comes with it."""
    path = root / "one"
    create(str(path))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return cpu_of(pid, lambda: _for_all(lambda _: os.fstat(descriptor), [""] * count)) / count * 1e6
    finally:
        os.close(descriptor)


def rename_ms(stage: Stage, name: str, objects: int) -> float:
    """Return ms of a rename(2) of a directory in which `objects` persisted objects were listed; `name` is ours only."""
    client = stage.server.client()
    for number in range(objects):
        client.put_object(Bucket=BUCKET, Key=f"{name}/table/part-{number:06d}", Body=b"")
    client.close()
    with stage.mounted(name, *QUIET) as (mount, _):
        found = len(os.listdir(mount.path / "table"))
        assert found == objects, f"{found} of {objects} objects are listed"
        return elapsed_s(lambda: (mount.path / "table").rename(mount.path / "renamed")) * 1e3


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep this process, and all that it starts in the block, on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _for_all(work: Callable[[str], object], paths: list[str]) -> None:
    for path in paths:
        work(path)


@click.command(help=__doc__)
@click.option("--files", "count", default=5000, show_default=True)
@click.option("--objects", default=10_000, show_default=True, type=click.IntRange(min=FEWER))
@click.option("--server", default="moto", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(count: int, objects: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here:
        with on_one_cpu():
            alone = operation_rows(here, "one", count)
        spread = operation_rows(here, "all", count)
        few, many = rename_ms(here, "few", objects // FEWER), rename_ms(here, "many", objects)
    alone.append(Row(f"rename a directory of {objects:,} objects", many, few, "ms", "≤ 5, ratio 1"))
    question, minimal = f"What does one operation cost the daemon? ({count:,} files)", "minimal pass-through"
    print_table(f"{question} On one CPU", f"{minimal}; {objects // FEWER:,} objects", alone)
    print_table(f"{question} On all {os.cpu_count()}", minimal, spread)


if __name__ == "__main__":
    main()
