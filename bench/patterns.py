"""How many bytes are fetched for each byte that is read, by the order in which an object is read?

Unit: bytes that the store sent for one that an application used; and how long the reads take, each with 20 ms before
its request. Baseline: one. The object is not here at the beginning; counted is at a proxy in front of the store.

    python -m bench.patterns [--size 256] [--server versitygw]
"""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import obstore

from bench.harness import Row, Stage, print_table, stage
from bench.reading import cold, obstore_of, put
from tests.faults.rules import Do, Fault
from tests.faults.server import FaultServer, fault_server

KIB, MIB = 1 << 10, 1 << 20
DELAY_S = 0.02
PARQUET_COLUMNS, PARQUET_ROWS = 20, 400_000

Reads = Callable[[Path, int], int]
"""Read some of an object of so many bytes, and return how many."""


def at(path: Path, offsets: Iterator[int], length: int) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    used = sum(len(os.pread(descriptor, length, offset)) for offset in offsets)
    os.close(descriptor)
    return used


def at_random(length: int, count: int) -> Reads:
    def reads(path: Path, size: int) -> int:
        rng = random.Random(7)
        return at(path, (rng.randrange(1, size // length) * length for _ in range(count)), length)

    return reads


def forwards(path: Path, size: int) -> int:
    return at(path, iter(range(0, size, 128 * KIB)), 128 * KIB)


def backwards(path: Path, size: int) -> int:
    return at(path, iter(range(size - 128 * KIB, -1, -128 * KIB)), 128 * KIB)


def strided(path: Path, size: int) -> int:
    return at(path, iter(range(MIB, size, 2 * MIB)), 64 * KIB)


def interleaved(path: Path, size: int) -> int:
    """Four readers in turns, in one descriptor, each a quarter of the object."""
    quarter = size // 4
    return at(path, (n * quarter + at for at in range(0, quarter, 128 * KIB) for n in range(4)), 128 * KIB)


def columns(path: Path, size: int) -> int:
    """Two of twenty columns, as pyarrow reads them; used are their chunks and the footer."""
    import pyarrow.parquet as pq

    with ExitStack() as opened:
        table = opened.enter_context(pq.ParquetFile(path.parent / "table.parquet"))
        table.read(["c3", "c11"])
        groups = [table.metadata.row_group(n) for n in range(table.metadata.num_row_groups)]
        used = sum(group.column(n).total_compressed_size for group in groups for n in (3, 11))
        return int(used) + table.metadata.serialized_size


PATTERNS: dict[str, tuple[Reads, str]] = {
    "forwards": (forwards, ""),
    "backwards": (backwards, ""),
    "64 KiB every 2 MiB": (strided, ""),
    "four readers in turns": (interleaved, ""),
    "4 KiB at random": (at_random(4 * KIB, 500), "≤ 1.1"),
    "64 KiB at random": (at_random(64 * KIB, 200), "≤ 1.1"),
    "2 of 20 columns": (columns, "≤ 1.1"),
}


def put_table(here: Stage) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column() -> pa.Array:
        return pa.Array.from_buffers(pa.int64(), PARQUET_ROWS, [None, pa.py_buffer(os.urandom(8 * PARQUET_ROWS))])

    body = io.BytesIO()
    table = pa.table({f"c{n}": column() for n in range(PARQUET_COLUMNS)})
    pq.write_table(table, body, row_group_size=PARQUET_ROWS // 4, use_dictionary=False)
    obstore.put(obstore_of(here.server), "table.parquet", body.getvalue())


def rows(here: Stage, faults: FaultServer, size: int) -> Iterator[Row]:
    for name, (reads, bar) in PATTERNS.items():
        with cold(here, faults.server) as (path, _):
            (path / "object").stat()
            faults.news()
            began_s = time.perf_counter()
            used = reads(path / "object", size)
            spent_s = time.perf_counter() - began_s
        gets = [record for record in faults.news() if record.operation == "GetObject"]
        fetched = sum(record.received_bytes for record in gets)
        yield Row(name, round(fetched / used, 3), 1.0, f"bytes; {len(gets)} GETs, {spent_s:.1f} s", bar)


@click.command(help=__doc__)
@click.option("--size", default=256, show_default=True, help="MiB of the object.")
@click.option("--server", default="versitygw", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(size: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here, fault_server(here.server) as faults:
        put(here.server, "object", size * MIB)
        put_table(here)
        faults.fail(Fault(do=Do.DELAY, delay_s=DELAY_S, kinds=("read",)))
        found = list(rows(here, faults, size * MIB))
    print_table("How many bytes are fetched for each byte that is read?", "what was read", found)


if __name__ == "__main__":
    main()
