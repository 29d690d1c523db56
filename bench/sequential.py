"""How fast are bytes written one after the other, and how much memory does that take?

Unit: MiB/s of write(2) until close(2) has returned, by size of the call; MiB of resident memory of the daemon at its
peak (VmHWM). Baseline: the minimal pass-through of bench/passthrough_min.py in the same run, alternating with ours;
for memory the daemon just after its mount.

    python -m bench.sequential [--size 1024] [--memory-size 4096] [--keys 100000] [--server moto]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import click

from bench.harness import BUCKET, Row, Stage, elapsed_s, print_table, rss_bytes, stage

MIB = 1 << 20
CALLS = {"1 MiB": 1 << 20, "64 KiB": 64 << 10, "8 KiB": 8 << 10, "4 KiB": 4 << 10}
ROUNDS = 3
"""The machine's mood changes from second to second: the median of three."""
QUIET = ("--persist-delay", "1h")
PUTTERS = 8


def write_mib_s(path: Path, size: int, call: int) -> float:
    """Write `size` bytes to a new file in calls of `call` bytes, remove it, and return MiB/s."""
    body = os.urandom(call)

    def work() -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        for _ in range(size // call):
            os.write(descriptor, body)
        os.close(descriptor)

    spent_s = elapsed_s(work)
    path.unlink()
    return size / MIB / spent_s


def speed_rows(here: Stage, size: int) -> Iterator[Row]:
    """Small calls are slower by far: they get a smaller file, so that a run stays short."""
    with here.passthrough() as (minimal, _), here.mounted("speed", *QUIET) as (mount, _):
        for name, call in CALLS.items():
            part = size if call >= 64 << 10 else size // 8
            pairs = [
                (write_mib_s(mount.path / "file", part, call), write_mib_s(minimal / "file", part, call))
                for _ in range(ROUNDS)
            ]
            ours, baseline = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
            yield Row(f"write, {name} calls", ours, baseline, "MiB/s", "ratio ≥ 0.5" if call == MIB else "")


def memory_rows(here: Stage, size: int, keys: int) -> Iterator[Row]:
    """Write one big file and list one big directory, and look at the daemon after each."""
    put_keys(here, keys)
    with here.mounted("memory", *QUIET) as (mount, pid):
        start = rss_bytes(pid) / MIB
        write_mib_s(mount.path / "big", size, MIB)
        yield Row(f"peak RSS, {size // MIB:,} MiB written", rss_bytes(pid, "VmHWM") / MIB, start, "MiB", "≤ 250")
        found = sum(1 for _ in os.scandir(mount.path / "keys"))
        assert found == keys, f"{found} of {keys} keys are listed"
        yield Row(f"peak RSS, and {keys:,} keys listed", rss_bytes(pid, "VmHWM") / MIB, start, "MiB", "≤ 250")


def put_keys(here: Stage, keys: int) -> None:
    """Fill the bucket from a few threads, each with a client of its own."""

    def put(first: int) -> None:
        client = here.server.client()
        for number in range(first, keys, PUTTERS):
            client.put_object(Bucket=BUCKET, Key=f"memory/keys/key-{number:08d}", Body=b"x")
        client.close()

    with ThreadPoolExecutor(PUTTERS) as pool:
        list(pool.map(put, range(PUTTERS)))


@click.command(help=__doc__)
@click.option("--size", default=1024, show_default=True, help="MiB of the file for the speed.")
@click.option("--memory-size", default=4096, show_default=True, help="MiB of the file for the memory.")
@click.option("--keys", default=100_000, show_default=True)
@click.option("--server", default="moto", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(size: int, memory_size: int, keys: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here:
        rows = [*speed_rows(here, size * MIB), *memory_rows(here, memory_size * MIB, keys)]
    question = "How fast are bytes written one after the other, and how much memory does that take?"
    print_table(question, "minimal pass-through; the daemon just after its mount", rows)


if __name__ == "__main__":
    main()
