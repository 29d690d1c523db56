"""How long does nobody answer when a daemon is killed, with many known inodes?

Unit: s of wall time, from SIGKILL to the first answered request, medians of five. Baseline: a Python that imports what
the daemon does. So it needs the direct transport, and Linux 6.9.

    python -m bench.takeover [--files 100000] [--server moto]
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import click

from bench.harness import Row, Stage, elapsed_s, print_table, stage
from script.mounted import Mounted

KILLS = 5
_IMPORTS = [sys.executable, "-c", "import fusecache.daemon.runner"]


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


def measure(here: Stage, files: int) -> list[Row]:
    imports_s = statistics.median(elapsed_s(lambda: subprocess.run(_IMPORTS, check=True)) for _ in range(KILLS))
    rows = []
    for what, count in (("no files", 0), (f"{files:,} files", files)):
        with here.mounted(f"m{count}", "--transport", "direct", "--persist-delay", "1h") as (mount, _):
            fill(mount.path, count)
            found_s = statistics.median(first_answer_s(mount) for _ in range(KILLS))
            rows.append(Row(what, found_s, imports_s, "s", "≤ 1"))
    return rows


@click.command(help=__doc__)
@click.option("--files", default=100_000, show_default=True)
@click.option("--server", default="moto", show_default=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the state is made.")
def main(files: int, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here:
        rows = measure(here, files)
    print_table("How long until the next daemon answers?", "the imports alone", rows)


if __name__ == "__main__":
    main()
