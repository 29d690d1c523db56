"""How fast does a backlog reach the store, and what does an application notice of it?

Unit: MiB/s of large files and small files a second, from `flush` to its end; p99 in ms of stat and of
create + write + close on the mount while small files are drained. Baseline: `rclone copy` or s3transfer, whichever is
faster, of the same files from a local directory; for the p99, the same mount with nothing to drain, beside processes
that burn as much CPU as the whole machine did during the drain.

    python -m bench.drain [--large-files 32] [--small-files 10000] [--probe 15]
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import click
from boto3 import client
from botocore.config import Config
from s3transfer.manager import TransferConfig, TransferManager

from bench.harness import BUCKET, Row, Stage, elapsed_s, print_table, stage

MIB = 1 << 20
LARGE_BYTES, SMALL_BYTES = 64 * MIB, 4096
FILES_A_DIRECTORY = 1000
HELD = ("--persist-delay", "1h")
"""Nothing is sent before the flush."""
CONCURRENCY = 16
"""As many requests at a time as `max-uploads`."""
RCLONE = Path(sys.executable).parent / "rclone"
ROUNDS = 3
PROBE_GAP_S = 0.002
TICK_S = 0.01


def fill(root: Path, files: int, size: int) -> None:
    """Make files of random bytes."""
    body = os.urandom(min(size, MIB))
    for number in range(files):
        directory = root / f"d{number // FILES_A_DIRECTORY}"
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"f{number}").open("wb") as file:
            for _ in range(size // len(body)):
                file.write(body)


def rclone_s(here: Stage, source: Path, prefix: str) -> float:
    """Copy with rclone, as many files and parts at a time as ours, and return how long it took."""
    remote = f":s3,provider=Other,env_auth,endpoint='{here.server.endpoint_url}':{BUCKET}/{prefix}"
    command = [
        str(RCLONE), "copy", str(source), remote, "--transfers", str(CONCURRENCY), "--checkers", str(CONCURRENCY),
        "--s3-upload-concurrency", "4", "--s3-no-check-bucket", "--no-check-dest", "--config", os.devnull,
    ]  # fmt: skip
    return elapsed_s(lambda: subprocess.run(command, env=here.environ, check=True, capture_output=True))


def s3transfer_s(here: Stage, source: Path, prefix: str) -> float:
    """Upload with s3transfer, and return how long it took."""
    os.environ.update(here.server.env)
    config = Config(max_pool_connections=CONCURRENCY, s3={"addressing_style": "path"})
    s3 = client("s3", endpoint_url=here.server.endpoint_url, config=config)

    def work() -> None:
        with TransferManager(s3, TransferConfig(max_request_concurrency=CONCURRENCY)) as manager:
            for path in source.rglob("f*"):
                manager.upload(str(path), BUCKET, f"{prefix}/{path.relative_to(source)}")

    return elapsed_s(work)


def drain_s(here: Stage, name: str, files: int, size: int) -> float:
    """Write the files into a mount that holds them back, and return how long their flush took."""
    with here.mounted(name, *HELD) as (mount, _):
        fill(mount.path, files, size)
        os.sync()  # what was written is on its way to the same disk that the server writes to
        return elapsed_s(mount.flush)


def rows_of(here: Stage, name: str, files: int, size: int, rounds: int) -> Iterator[Row]:
    """Alternate, and compare medians."""
    source = here.directory / f"{name}-source"
    fill(source, files, size)
    spent: dict[str, list[float]] = {"ours": [], "rclone": [], "s3transfer": []}
    for number in range(rounds):
        spent["ours"].append(drain_s(here, f"{name}-{number}", files, size))
        os.sync()
        spent["s3transfer"].append(s3transfer_s(here, source, f"{name}-s3transfer-{number}"))
        os.sync()
        if size > MIB:
            spent["rclone"].append(rclone_s(here, source, f"{name}-rclone-{number}"))
    scale, unit = (files * size / MIB, "MiB/s") if size > MIB else (files, "files/s")
    ours, others = median(spent["ours"]), {each: median(values) for each, values in spent.items() if values}
    del others["ours"]
    fastest = min(others, key=others.__getitem__)
    bar = "ratio ≥ 0.9" if size > MIB else "ratio ≥ 1.5"
    yield Row(f"{files:,} × {size >> 10:,} KiB ({fastest})", scale / ours, scale / others[fastest], unit, bar)


# --- what an application notices ---


def probes(root: Path, until: Callable[[], bool]) -> tuple[list[float], list[float]]:
    """Return how long each stat, and each create + write + close, took."""
    stats, creates = [], []
    known = root / "known"
    known.write_bytes(b"x")
    number = 0
    while not until():
        number += 1
        stats.append(elapsed_s(known.stat))
        creates.append(elapsed_s(lambda: (root / f"probe{number}").write_bytes(b"x" * 100)))  # noqa: B023 - called here
        time.sleep(PROBE_GAP_S)
    return stats, creates


def busy_s() -> float:
    """Return the CPU seconds that the whole machine has spent so far."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def burn(share: float) -> None:
    """Use that share of a CPU, for ever."""
    while True:
        end_s = time.perf_counter() + share * TICK_S
        while time.perf_counter() < end_s:
            pass
        time.sleep((1 - share) * TICK_S)


@contextmanager
def burning(cores: float) -> Iterator[None]:
    """Keep that many CPUs busy."""
    count = os.cpu_count() or 1
    processes = [
        multiprocessing.Process(target=burn, args=(min(1.0, cores / count),), daemon=True) for _ in range(count)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def notice_rows(here: Stage, files: int, probe_s: float) -> Iterator[Row]:
    """Probe during a drain, then beside what burns the same CPU."""
    with here.mounted("noticed", *HELD) as (mount, _):
        fill(mount.path / "backlog", files, SMALL_BYTES)
        before, started = busy_s(), time.perf_counter()
        flushing = mount.flushing()
        (mount.path / "probes").mkdir()
        end = time.perf_counter() + probe_s
        draining = probes(mount.path / "probes", lambda: flushing.poll() is not None or time.perf_counter() > end)
        cores = (busy_s() - before) / (time.perf_counter() - started)
        flushing.kill()
        flushing.communicate()
    with here.mounted("quiet", *HELD) as (mount, _), burning(cores):
        end = time.perf_counter() + probe_s
        alone = probes(mount.path, lambda: time.perf_counter() > end)
    for what, ours, baseline in zip(("stat", "create + write + close"), draining, alone, strict=True):
        yield Row(f"p99 of {what} ({cores:.1f} CPUs busy)", p99_ms(ours), p99_ms(baseline), "ms", "ratio ≤ 3")


def p99_ms(values: list[float]) -> float:
    return 1000 * quantiles(values, n=100)[-1]


@click.command(help=__doc__)
@click.option("--large-files", default=32, show_default=True, help="Files of 64 MiB.")
@click.option("--small-files", default=10_000, show_default=True, help="Files of 4 KiB.")
@click.option("--probe", "probe_s", default=15.0, show_default=True, help="Seconds.")
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--server", default="versitygw", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where files and caches are made.")
def main(large_files: int, small_files: int, probe_s: float, rounds: int, server: str, directory: Path | None) -> None:
    rows: list[Row] = []
    with stage(server, directory) as here:
        if large_files:
            rows += rows_of(here, "large", large_files, LARGE_BYTES, rounds)
        if small_files:
            rows += rows_of(here, "small", small_files, SMALL_BYTES, rounds)
        if probe_s:
            rows += notice_rows(here, 3 * small_files, probe_s)
    question = "How fast does a backlog reach the store, and what does an application notice of it?"
    print_table(question, "rclone or s3transfer, whichever is faster; for p99, the same CPU burnt beside", rows)


if __name__ == "__main__":
    main()
