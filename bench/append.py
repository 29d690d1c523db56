"""What does it cost to change a little of a large object?

Unit: MiB that the store is sent and asked for, and seconds from the write to the end of the flush. Baseline: the same
file sent as a whole, which is what a program that knows only PUT has to do.

    python -m bench.append [--size 1024]
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click

from bench.harness import Row, Stage, elapsed_s, print_table, stage
from script.mounted import Mounted
from tests.faults.server import FaultServer, fault_server

MIB = 1 << 20
NAME = "large"


def cost(mount: Mounted, faults: FaultServer, work: Callable[[Path], None]) -> tuple[float, float]:
    """Return the MiB that went over the wire, in bodies either way, and the seconds that it took."""
    faults.news()

    def drained() -> None:
        work(mount.path / NAME)
        mount.flush()

    spent_s = elapsed_s(drained)
    return sum(record.sent_bytes + record.received_bytes for record in faults.news()) / MIB, spent_s


def rows_of(here: Stage, faults: FaultServer, what: str, offset: int, size: int) -> Iterator[Row]:
    """Change a MiB of an object that is cached, and then of the one that it became, in another mount's place."""
    body = os.urandom(MIB)

    def fill(path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(size // MIB):
                file.write(body)

    def change(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(body)

    with here.mounted(what) as (mount, _):
        whole_mib, whole_s = cost(mount, faults, fill)
        cached = cost(mount, faults, change)
    shutil.rmtree(here.directory / f"cache-{what}")
    with here.mounted(what) as (mount, _):
        fetched = cost(mount, faults, change)
    for how, (moved_mib, spent_s) in (("cached", cached), ("not cached", fetched)):
        yield Row(f"1 MiB {what}, {how}", moved_mib, whole_mib, "MiB")
        yield Row("", spent_s, whole_s, "s")


@click.command(help=__doc__)
@click.option("--size", "size_mib", default=1024, show_default=True, help="MiB of the object.")
@click.option("--server", default="versitygw", show_default=True, type=click.Choice(["moto", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where files and caches are made.")
def main(size_mib: int, server: str, directory: Path | None) -> None:
    found: list[Row] = []
    with stage(server, directory) as bare, fault_server(bare.server) as faults:
        here = replace(bare, server=faults.server)
        for name, offset in (("appended", size_mib * MIB), ("middle", size_mib * MIB // 2)):
            found += rows_of(here, faults, name, offset, size_mib * MIB)
    print_table("What does it cost to change a little of a large object?", "the same file sent as a whole", found)


if __name__ == "__main__":
    main()
