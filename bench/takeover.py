"""How long does nobody answer when a daemon is killed, with many known inodes?

Unit: s of wall time, from SIGKILL to the first answered request, medians of five. Baseline: a Python that imports what
the daemon needs for that. So it needs the direct transport, and Linux 6.9.

    python -m bench.takeover [--files 100000] [--server moto]
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bench.harness import Row, Stage, elapsed_s, print_table, stage
from script.mounted import Mounted, mounted

KILLS = 5
OPTIONS = ("--transport", "direct", "--persist-delay", "1h")
_IMPORTS = [sys.executable, "-c", "import fusecache.daemon.__main__, fusecache.daemon.runner"]
_PAUSE_S = 1.0
"""Nobody is killed who is still opening the store for the one before."""
_NOT_COMPILED = "PYTHONDONTWRITEBYTECODE"
"""What is installed is compiled, so that compiling is no part of the figures."""


def first_answer_s(mount: Mounted) -> float:
    pid = int(mount.stat()["pid"])

    def killed() -> None:
        os.kill(pid, signal.SIGKILL)
        os.statvfs(mount.path)  # which the kernel never answers by itself

    return elapsed_s(killed)


def fill(root: Path, files: int) -> None:
    for number in range(files):
        if not number % 1000:
            here = root / f"d{number // 1000}"
            here.mkdir()
        (here / f"f{number}").touch()


@contextmanager
def mounted_directory(here: Stage, name: str) -> Iterator[Mounted]:
    """Mount a directory of the disk, with no server."""
    store = here.directory / f"store-{name}"
    store.mkdir()
    options = [*OPTIONS, "--cache-dir", str(here.directory / f"cache-{name}")]
    with mounted(f"file://{store}", here.directory / name, options, here.environ, drain=False) as mount:
        yield mount


@contextmanager
def mounted_bucket(here: Stage, name: str) -> Iterator[Mounted]:
    with here.mounted(name, *OPTIONS) as (mount, _):
        yield mount


def measure(here: Stage, files: int) -> list[Row]:
    imports_s = statistics.median(
        elapsed_s(lambda: subprocess.run(_IMPORTS, check=True, env=here.environ)) for _ in range(KILLS)
    )
    rows = []
    for kind, way in (("file", mounted_directory), ("s3", mounted_bucket)):
        for count in (0, files):
            with way(here, f"{kind}{count}") as mount:
                fill(mount.path, count)
                found_s = statistics.median(first_answer_s(mount) for _ in range(KILLS))
                rows.append(Row(f"{kind}://, {count:,} files", found_s, imports_s, "s", "≤ 1"))
    return rows


@click.command(help=__doc__)
@click.option("--files", default=100_000, show_default=True)
@click.option("--server", default="moto", show_default=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the state is made.")
def main(files: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here:
        here.environ.pop(_NOT_COMPILED, None)
        rows = measure(here, files)
    print_table("How long until the next daemon answers?", "the imports alone", rows)


if __name__ == "__main__":
    main()
