"""What the benchmarks share: a stage with a server, mounts to compare, CPU and memory of a process, a table."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from script import leftovers, s3_server
from script.mounted import Mounted, detach, environment, mount_store
from tests.servers import S3Server

BUCKET = "bench"
SETTLE_S = 0.05
CPUCLOCK_SCHED = 2
START_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A directory, a server with an empty bucket, and the environment of the commands."""

    directory: Path
    server: S3Server
    environ: dict[str, str]

    @contextmanager
    def mounted(self, name: str, *options: str) -> Iterator[tuple[Mounted, int]]:
        """Mount the bucket's prefix `name`; give the mount and its daemon's pid. Unmounted without a drain."""
        where = ["--endpoint-url", self.server.endpoint_url, "--cache-dir", str(self.directory / f"cache-{name}")]
        mount = mount_store(f"s3://{BUCKET}/{name}", self.directory / name, [*where, *options], self.environ)
        try:
            yield mount, int(mount.stat()["pid"])
        except BaseException:
            detach(mount.path)
            raise
        mount.unmount("--no-flush")

    @contextmanager
    def passthrough(self) -> Iterator[tuple[Path, int]]:
        """Mount the minimal pass-through; give its mount point and its process's pid."""
        store, path = self.directory / "passthrough-store", self.directory / "passthrough"
        store.mkdir()
        path.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "bench.passthrough_min", str(store), str(path)]
        process = subprocess.Popen(
            command, cwd=s3_server.ROOT, env=self.environ, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("the minimal pass-through did not start")
            yield path, process.pid
        finally:
            detach(path)
            process.wait(timeout=START_TIMEOUT_S)
            process.stdout.close()
            shutil.rmtree(store)


@contextmanager
def stage(server_name: str, directory: Path | None) -> Iterator[Stage]:
    """Give a stage below `directory` (the temporary directory if None), and leave nothing of it behind."""
    here = Path(tempfile.mkdtemp(prefix="fusecache-bench.", dir=directory))
    marked = environment({leftovers.MARK: str(here), "TMPDIR": str(here)})
    try:
        with s3_server.running(server_name, here / "s3.log", marked) as server:
            server.create_bucket(BUCKET)
            yield Stage(here, server, marked | server.env)
    finally:
        for line in leftovers.clean(here):
            print(f"left behind: {line}", file=sys.stderr)
        shutil.rmtree(here, ignore_errors=True)


def cpu_s(pid: int) -> float:
    """Return user and system time of a process so far, in seconds, to the nanosecond.

    /proc/PID/stat counts in ticks of 10 ms, which is 4 % of what 5,000 stat(2) cost. The clock of another
    process is named by its pid as clock_getcpuclockid(3) does it (MAKE_PROCESS_CPUCLOCK, CPUCLOCK_SCHED in Linux).
    """
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)


def rss_bytes(pid: int, name: str = "VmRSS") -> int:
    """Return the resident memory of a process; `VmHWM` is its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def cpu_of(pid: int, work: Callable[[], object]) -> float:
    """Return the CPU seconds that process `pid` spends on `work`, late RELEASEs included."""
    before = cpu_s(pid)
    work()
    time.sleep(SETTLE_S)  # RELEASE is sent after close(2) has returned
    return cpu_s(pid) - before


def elapsed_s(work: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at


@dataclass(frozen=True, slots=True)
class Row:
    """One figure with what it is held against. `bar` is what was promised, as text."""

    what: str
    value: float
    baseline: float | None
    unit: str
    bar: str = ""

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.value / self.baseline:.2f}" if self.baseline else "–"
        baseline = _figure(self.baseline) if self.baseline is not None else "–"
        return self.what, _figure(self.value), baseline, ratio, self.unit, self.bar


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"


def print_table(question: str, baseline: str, rows: Sequence[Row]) -> None:
    """Print question, baseline and figures, aligned."""
    head = ("", "fusecache", "baseline", "ratio", "unit", "bar")
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{question}\nbaseline: {baseline}\n")
    for line in lines:
        cells = [
            cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
