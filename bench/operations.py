"""What does one operation cost the daemon?

Unit: µs of the daemon's CPU a file (user + system, from /proc/PID/stat), FLUSH and RELEASE included; for rename(2)
of a directory ms of wall time. Baseline: the minimal pass-through of bench/passthrough_min.py in the same run
(for the rename: the same one with 100 objects).

    python -m bench.operations [--files 5000] [--objects 10000] [--server moto]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from bench.harness import BUCKET, Row, Stage, cpu_of, elapsed_s, print_table, stage

BODY = os.urandom(4096)
FEW_OBJECTS = 100
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


def costs(root: Path, pid: int, count: int) -> list[float]:
    """Return µs of CPU a file of process `pid`, for each of OPERATIONS in order."""
    paths = [str(root / f"file-{number:06d}") for number in range(count)]
    return [cpu_of(pid, lambda each=each: _for_all(each.work, paths)) / count * 1e6 for each in OPERATIONS]


def stat_cost(root: Path, pid: int, count: int) -> float:
    """Return µs of CPU of one stat(2) that reaches the daemon: of a descriptor, so that no lookup comes with it."""
    path = root / "one"
    create(str(path))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return cpu_of(pid, lambda: _for_all(lambda _: os.fstat(descriptor), [""] * count)) / count * 1e6
    finally:
        os.close(descriptor)


def rename_ms(stage: Stage, objects: int) -> float:
    """Return ms of a rename(2) of a directory in which `objects` persisted objects were listed."""
    name = f"rename-{objects}"
    client = stage.server.client()
    for number in range(objects):
        client.put_object(Bucket=BUCKET, Key=f"{name}/table/part-{number:06d}", Body=b"")
    client.close()
    with stage.mounted(name, *QUIET) as (mount, _):
        found = len(os.listdir(mount.path / "table"))
        assert found == objects, f"{found} of {objects} objects are listed"
        return elapsed_s(lambda: (mount.path / "table").rename(mount.path / "renamed")) * 1e3


def _for_all(work: Callable[[str], object], paths: list[str]) -> None:
    for path in paths:
        work(path)


@click.command(help=__doc__)
@click.option("--files", "count", default=5000, show_default=True)
@click.option("--objects", default=10_000, show_default=True)
@click.option("--server", default="moto", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(count: int, objects: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here:
        with here.passthrough() as (path, pid):
            baselines = costs(path, pid, count)
        with here.mounted("operations", *QUIET) as (mount, pid):
            ours = costs(mount.path, pid, count)
        with here.mounted("stat", *QUIET, *UNCACHED) as (mount, pid):
            stat = stat_cost(mount.path, pid, count)
        rows = [
            Row(each.name, our, baseline, "µs", each.bar)
            for each, our, baseline in zip(OPERATIONS, ours, baselines, strict=True)
        ]
        rows.append(Row("stat that reaches us", stat, None, "µs", "≤ 60"))
        few, many = rename_ms(here, FEW_OBJECTS), rename_ms(here, objects)
        rows.append(Row(f"rename a directory of {objects:,} objects", many, few, "ms", "≤ 5, ratio 1"))
    print_table(
        f"What does one operation cost the daemon? ({count:,} files)", "minimal pass-through; 100 objects", rows
    )


if __name__ == "__main__":
    main()
