"""What does an fsync cost?

Unit: ms of wall time. Each file is new: create, write 4 KiB, fsync, close; only the fsync is timed. Baseline: the same
on the bare cache disk, alternating with ours. With eight at a time, each has a thread of its own.

    python -m bench.fsync [--files 200] [--directory DIR]
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from statistics import median

import click

from bench.harness import Row, print_table, stage

BODY = os.urandom(4096)
ROUNDS = 5
QUIET = ("--persist-delay", "1h")


def one(path: str) -> float:
    """Write one file and return the seconds that its fsync takes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, BODY)
        started_at = time.perf_counter()
        os.fsync(descriptor)
        return time.perf_counter() - started_at
    finally:
        os.close(descriptor)


def alone(root: Path, name: str, count: int) -> float:
    """Return the median ms of an fsync when nobody else syncs."""
    return median(one(str(root / f"{name}-{number:05d}")) for number in range(count)) * 1e3


def together(root: Path, name: str, count: int, threads: int) -> float:
    """Return the median ms of an fsync while `threads` write and fsync, each for itself."""
    start = threading.Barrier(threads)
    took: list[float] = []

    def work(thread: int) -> None:
        start.wait()
        took.extend([one(str(root / f"{name}-{thread}-{number:05d}")) for number in range(count // threads)])

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return median(took) * 1e3


@click.command(help=__doc__)
@click.option("--files", "count", default=200, show_default=True, type=click.IntRange(min=ROUNDS * 8))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the cache is made.")
def main(count: int, directory: Path | None) -> None:
    with stage("moto", directory) as here, here.mounted("fsync", *QUIET) as (mount, _):
        bare = here.directory / "bare"
        bare.mkdir()
        places = (mount.path, bare)
        one_by_one = [[alone(place, f"a{n}", count // ROUNDS) for place in places] for n in range(ROUNDS)]
        eight = [[together(place, f"t{n}", count // ROUNDS, 8) for place in places] for n in range(ROUNDS)]
    rows = []
    for what, figures, bar in (("fsync of 4 KiB", one_by_one, "≤ 2.5"), ("the same, 8 at a time", eight, "≤ 1.5")):
        ours, baseline = (median(column) for column in zip(*figures, strict=True))
        rows.append(Row(what, ours, baseline, "ms", f"ratio {bar}"))
    print_table(f"What does an fsync cost? ({count} files)", "the bare cache disk", rows)


if __name__ == "__main__":
    main()
