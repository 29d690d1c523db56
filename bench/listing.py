"""How fast is a tree of objects that others have put into the bucket listed, the first time and again?

Unit: seconds of wall time of `ls -lR` and `find` over the mount. Baseline: the LISTs of the same directories by a plain
client, one after the other. The server is one process on the same CPUs.

    python -m bench.listing [--directories 200] [--files 100] [--server rclone]
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from bench.harness import BUCKET, Row, Stage, cpu_s, elapsed_s, print_table, stage

TIMEOUT_S = 300


def fill(client: Any, directories: int, files: int) -> None:
    """Put the objects: of one byte, as a list tells of all of them alike."""

    def put(directory: int) -> None:
        for file in range(files):
            client.put_object(Bucket=BUCKET, Key=f"tree/d{directory:04d}/part-{file:05d}.parquet", Body=b"x")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(directories)))


def listed(client: Any, directories: int) -> None:
    """List each directory, as a client without a cache would."""
    for number in (None, *range(directories)):
        prefix = "tree/" if number is None else f"tree/d{number:04d}/"
        client.list_objects_v2(Bucket=BUCKET, Prefix=prefix, Delimiter="/")


def walk(command: list[str], root: Path, expected: int) -> float:
    """Return how long a command takes to show all of a tree."""
    found: list[int] = []

    def run() -> None:
        done = subprocess.run(
            [*command, str(root)], check=True, capture_output=True, text=True, timeout=TIMEOUT_S, env=os.environ
        )
        found.append(sum("part-" in line for line in done.stdout.splitlines()))

    seconds = elapsed_s(run)
    assert found == [expected], f"{found} of {expected} files are shown"
    return seconds


def rows(here: Stage, directories: int, files: int) -> list[Row]:
    client = here.server.client()
    fill(client, directories, files)
    plain_s = elapsed_s(lambda: listed(client, directories))
    client.close()
    count = directories * files
    with here.mounted("tree", "--ttl", "1h") as (mount, pid):
        before = cpu_s(pid)
        first_s = walk(["ls", "-lR"], mount.path, count)
        first_cpu_s = cpu_s(pid) - before
        again_s = walk(["ls", "-lR"], mount.path, count)
        find_s = walk(["find"], mount.path, count)
        Path("/proc/sys/vm/drop_caches").write_text("2")
        cold_s = walk(["ls", "-lR"], mount.path, count)
    return [
        Row("first ls -lR", first_s, plain_s, "s", "≤ 0.6 for 20,000 in 200"),
        Row("the daemon's CPU of that", first_cpu_s, None, "s"),
        Row("second ls -lR", count / again_s, None, "entries/s", "≥ 20,000"),
        Row("find", count / find_s, None, "entries/s", "≥ 20,000"),
        Row("ls -lR, the kernel has forgotten", count / cold_s, None, "entries/s"),
    ]


@click.command(help=__doc__)
@click.option("--directories", default=200, show_default=True)
@click.option("--files", default=100, show_default=True, help="In each of them.")
@click.option("--server", default="rclone", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(directories: int, files: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here:
        found = rows(here, directories, files)
    question = f"How fast are {directories * files:,} foreign objects in {directories} directories listed?"
    print_table(question, f"{directories + 1} LISTs by botocore, one after the other; {server}", found)


if __name__ == "__main__":
    main()
