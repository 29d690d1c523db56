"""How closely does a drain follow what the store accepts, and how much does it ask for in vain?

A proxy in front of the server refuses writes beyond a limit (503 SlowDown), and counts. Unit: small files a second that
arrived. Baseline: the limit, or what the same mount reaches in the same run without one if that is less.

    python -m bench.pace [--files 5000] [--trace]
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click

from bench.harness import Row, Stage, print_table, stage
from script.mounted import Mounted
from tests.faults.proxy import Record
from tests.faults.rules import Limit
from tests.faults.server import FaultServer, fault_server

STEADY_PER_S = 200.0
STAGES = ((200.0, 15.0), (50.0, 30.0), (1000.0, 20.0))
"""Limits that follow each other, and for how many seconds each holds."""
SETTLED_S = 10.0
"""How long the drain may take to find a limit, and the first one how much it may take."""
BODY = b"x" * 4096
FILES_A_DIRECTORY = 1000


def limit_of(per_s: float) -> Limit:
    return Limit(per_s=per_s, burst=per_s / 4, kinds=("write",))


def fill(root: Path, files: int) -> None:
    root.mkdir()
    for first in range(0, files, FILES_A_DIRECTORY):
        directory = root / f"{first}"
        directory.mkdir()
        for number in range(first, min(first + FILES_A_DIRECTORY, files)):
            (directory / f"{number}").write_bytes(BODY)


def puts(faults: FaultServer) -> list[Record]:
    """Return the writes since the last call, in the order in which they came."""
    return sorted(record for record in faults.news() if record.kind == "write")


def rate(records: Sequence[Record], since_s: float, until_s: float) -> float:
    """Return how many of them arrived a second."""
    return sum(each.status == 200 and since_s <= each.at_s < until_s for each in records) / (until_s - since_s)


def refused_share(records: Sequence[Record]) -> float:
    """Return which part of the requests was refused, in percent."""
    return 100 * sum(each.status == 503 for each in records) / max(1, len(records))


def trace(records: Sequence[Record]) -> None:
    """Print what arrived and what was refused in each second."""
    start_s = records[0].at_s
    for second in range(int(records[-1].at_s - start_s) + 1):
        within = [each for each in records if second <= each.at_s - start_s < second + 1]
        print(f"{second:4} s {sum(each.status == 200 for each in within):6} arrived", end=" ")
        print(f"{sum(each.status != 200 for each in within):6} refused")


def drained(mount: Mounted, faults: FaultServer, name: str, files: int) -> list[Record]:
    """Return the writes of a drain of so many files."""
    faults.news()
    fill(mount.path / name, files)
    mount.flush()
    return puts(faults)


def steady_rows(mount: Mounted, faults: FaultServer, files: int, reached: float, *, is_traced: bool) -> Iterator[Row]:
    faults.limit(limit_of(STEADY_PER_S))
    records = drained(mount, faults, "steady", files)
    if is_traced:
        trace(records)
    took_s = records[-1].at_s + records[-1].took_s - records[0].at_s
    ideal_s = files / min(STEADY_PER_S, reached)
    late = [each for each in records if each.at_s >= records[0].at_s + SETTLED_S]
    yield Row(f"{files:,} files at {STEADY_PER_S:g}/s", took_s, ideal_s, "s", "ratio ≤ 1.15")
    yield Row(f"… refused after {SETTLED_S:g} s", refused_share(late), None, "%", "≤ 5")


def changing_rows(mount: Mounted, faults: FaultServer, reached: float, *, is_traced: bool) -> Iterator[Row]:
    """Write more than can arrive, and look at what does from ten seconds after each change."""
    files = int(1.2 * sum(min(per_s, reached) * lasts_s for per_s, lasts_s in STAGES))
    faults.news()
    changes = []
    with ThreadPoolExecutor(1) as pool:
        faults.limit(limit_of(STAGES[0][0]))
        filling = pool.submit(fill, mount.path / "changing", files)
        for per_s, lasts_s in STAGES:
            faults.limit(limit_of(per_s))
            changes.append(time.monotonic())
            time.sleep(lasts_s)
        end_s = time.monotonic()
        filling.result()
    records = puts(faults)
    if is_traced:
        trace(records)
    for (per_s, _), since_s, until_s in zip(STAGES, changes, [*changes[1:], end_s], strict=True):
        within = [each for each in records if since_s + SETTLED_S <= each.at_s < until_s]
        found = rate(records, since_s + SETTLED_S, until_s)
        yield Row(f"limit {per_s:g}/s, from {SETTLED_S:g} s on", found, min(per_s, reached), "files/s", "ratio ≥ 0.8")
        yield Row("… refused", refused_share(within), None, "%")


@click.command(help=__doc__)
@click.option("--files", default=5000, show_default=True)
@click.option("--trace", "is_traced", is_flag=True, help="What arrived and what was refused, second by second.")
@click.option("--server", default="versitygw", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(files: int, is_traced: bool, server: str, directory: Path | None) -> None:
    rows: list[Row] = []
    with stage(server, directory) as bare, fault_server(bare.server) as faults:
        here: Stage = replace(bare, server=faults.server)
        with here.mounted("free", "--persist-delay", "1s") as (mount, _):
            records = drained(mount, faults, "free", files)
            last = records[-1]
            reached = len(records) / (last.at_s + last.took_s - records[0].at_s)
            rows.append(Row(f"{files:,} files without a limit", reached, None, "files/s"))
        with here.mounted("steady", "--persist-delay", "1s") as (mount, _):
            rows += steady_rows(mount, faults, files, reached, is_traced=is_traced)
        with here.mounted("changing", "--persist-delay", "1s") as (mount, _):
            rows += changing_rows(mount, faults, reached, is_traced=is_traced)
    question = "How closely does a drain follow what the store accepts, and how much does it ask for in vain?"
    print_table(question, "the limit, or what is reached without one", rows)


if __name__ == "__main__":
    main()
