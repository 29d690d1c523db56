"""How near to the local disk is a mount with the direct transport?

Unit: thousands of operations or MiB a second; and of the daemon's CPU (user + system, late RELEASEs included) µs for
an operation, or its share of a core. Baseline: plain files on the disk of the cache, in the same run and by turns with
ours, each round in new directories. Every figure is the median of five rounds.

First and cold is what the kernel has to fetch from the disk, as after a start: its caches are dropped, which takes
root, and disturbs whatever else runs on the machine.

    python -m bench.direct [--files 5000] [--size 1024] [--server moto] [--directory DIR] [--option=…] [--no-cold]
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click

from bench.harness import SETTLE_S, Row, Stage, cpu_of, elapsed_s, print_table, stage

MIB = 1 << 20
BODY = os.urandom(4096)
ROUNDS = 5
"""The machine's mood changes from second to second."""
DIRECT = ("--persist-delay", "1h", "--transport", "direct")
UNCACHED = ("-o", "attr_timeout=0,entry_timeout=0")
RANDOM_BYTES = 64 << 10
CALLS = {"1 MiB": MIB, "64 KiB": 64 << 10, "8 KiB": 8 << 10}

Work = Callable[[Path], object]


class Where(NamedTuple):
    """A directory and the daemon behind it, if there is one."""

    path: Path
    pid: int | None = None

    def spent(self, work: Work) -> tuple[float, float]:
        """Return how many seconds some work took, and how many of its CPU the daemon."""
        if self.pid is None:
            return elapsed_s(lambda: work(self.path)), 0.0
        took: list[float] = []
        used_s = cpu_of(self.pid, lambda: took.append(elapsed_s(lambda: work(self.path))))
        return took[0], used_s


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that is done to all files of a directory. `least` is its share of the disk's speed; `is_first`: that
    of a kernel that knows nothing of them."""

    what: str
    work: Callable[[list[str]], object]
    least: float | None = None
    most_us: float | None = None
    is_first: bool = False


def create(paths: list[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, BODY)
        os.close(descriptor)


def read(paths: list[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, len(BODY))
        os.close(descriptor)


def look(paths: list[str]) -> None:
    for path in paths:
        os.stat(path)


def list_names(paths: list[str]) -> None:
    found = len(os.listdir(os.path.dirname(paths[0])))
    assert found == len(paths), f"{found} of {len(paths)} names are listed"


def rename(paths: list[str]) -> None:
    for path in paths:
        os.rename(path, f"{path}.renamed")


def rename_back(paths: list[str]) -> None:
    for path in paths:
        os.rename(f"{path}.renamed", path)


def unlink(paths: list[str]) -> None:
    for path in paths:
        os.unlink(path)


OPERATIONS = (
    Operation("create + write 4 KiB + close", create, 0.3, 250),
    Operation("stat, first", look, is_first=True),
    Operation("stat, repeated", look, 0.8),
    Operation("readdir, first", list_names, 0.6, is_first=True),
    Operation("readdir, repeated", list_names),
    Operation("open + read + close, first", read, 0.5, is_first=True),
    Operation("open + read + close, repeated", read, None, 100),
    Operation("rename one by one", rename, 0.12),
    Operation("rename back", rename_back),
    Operation("unlink", unlink, 0.5, 100),
)


def name_rows(here: Stage, count: int, options: tuple[str, ...], *, with_cold: bool) -> Iterator[Row]:
    """Do OPERATIONS to `count` files, on the disk and in the mount, and again in other directories."""
    rounds: list[list[tuple[float, float, float]]] = []
    with here.mounted("names", *DIRECT, *options) as (mount, pid):
        for number in range(ROUNDS):
            places = [Where(here.directory / f"disk-{number}"), Where(mount.path / f"mount-{number}", pid)]
            for place in places:
                place.path.mkdir()
            rounds.append([_compared(each, places, count, with_cold=with_cold) for each in OPERATIONS])
            shutil.rmtree(places[0].path)
    for each, figures in zip(OPERATIONS, zip(*rounds, strict=True), strict=True):
        disk_s, ours_s, used_s = (median(column) for column in zip(*figures, strict=True))
        yield Row(each.what, count / ours_s / 1e3, count / disk_s / 1e3, "k/s", _at_least(each.least))
        yield Row(f"{each.what}, CPU", used_s / count * 1e6, None, "µs", f"≤ {each.most_us:g}" if each.most_us else "")


def _compared(operation: Operation, places: list[Where], count: int, *, with_cold: bool) -> tuple[float, float, float]:
    """Return how long some work takes on the disk, how long in the mount, and what the daemon used for it."""

    def all_of(path: Path) -> None:
        operation.work([f"{path}/file-{number:06d}" for number in range(count)])

    def spent(place: Where) -> tuple[float, float]:
        if operation.is_first and with_cold:
            drop_caches()
        return place.spent(all_of)

    (disk_s, _), (ours_s, used_s) = map(spent, places)
    return disk_s, ours_s, used_s


def drop_caches() -> None:
    """Have the kernel let go of pages, names and inodes that it can read from the disk again."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def stat_rows(here: Stage, count: int, options: tuple[str, ...]) -> Iterator[Row]:
    """What one stat(2) that reaches us costs: of a descriptor, so that no lookup comes with it."""
    with here.mounted("stat", *DIRECT, *UNCACHED, *options) as (mount, pid):
        path = mount.path / "one"
        create([str(path)])
        descriptor = os.open(path, os.O_RDONLY)

        def stats() -> None:
            for _ in range(count):
                os.fstat(descriptor)

        used_s = median(cpu_of(pid, stats) for _ in range(ROUNDS))
        os.close(descriptor)
    yield Row("stat that reaches us, CPU", used_s / count * 1e6, None, "µs", "≤ 40")


# --- bytes ---


def write(path: Path, size: int, call: int) -> None:
    """Write a new file from its beginning to its end."""
    body = os.urandom(call)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    for _ in range(size // call):
        os.write(descriptor, body)
    os.close(descriptor)


def read_in_order(path: Path) -> None:
    buffer = bytearray(MIB)
    descriptor = os.open(path, os.O_RDONLY)
    while os.readv(descriptor, [buffer]):
        pass
    os.close(descriptor)


def read_anywhere(path: Path) -> None:
    """Read as much as a quarter of the file has, at places that are the same each time."""
    buffer, chosen = bytearray(RANDOM_BYTES), random.Random(7)
    descriptor = os.open(path, os.O_RDONLY)
    count = os.fstat(descriptor).st_size // RANDOM_BYTES
    for _ in range(count // 4):
        os.preadv(descriptor, [buffer], chosen.randrange(count) * RANDOM_BYTES)
    os.close(descriptor)


def read_mapped(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped:
        for offset in range(0, len(mapped), MIB):
            len(mapped[offset : offset + MIB])
    os.close(descriptor)


READS: dict[str, Work] = {"in order": read_in_order, "of 64 KiB anywhere": read_anywhere, "mapped": read_mapped}


def byte_rows(here: Stage, size: int, options: tuple[str, ...], *, with_cold: bool) -> Iterator[Row]:
    """Write and read one large file, on the disk and in the mount."""
    with here.mounted("bytes", *DIRECT, *options) as (mount, pid):
        places = [Where(here.directory), Where(mount.path, pid)]
        for name, call in CALLS.items():
            yield from _speed(f"write, {name} calls", size, [_writes(each, size, call) for each in places])
        yield Row("requests per 1,000 writes", _requests(Where(mount.path, pid)), None, "", "≤ 2")
        for each in places:
            write(each.path / "read", size, MIB)
        for name, work in READS.items():
            part = size // 4 if work is read_anywhere else size
            yield from _speed(f"read {name}, warm", part, [_reads(each, work) for each in places])
            if with_cold:
                yield from _speed(f"read {name}, cold", part, [_reads(each, work, is_cold=True) for each in places])


def _speed(what: str, size: int, timed: list[Callable[[], tuple[float, float]]]) -> Iterator[Row]:
    rounds = [[each() for each in timed] for _ in range(ROUNDS)]
    disk_s, ours_s = (median(each[number][0] for each in rounds) for number in range(2))
    share = median(used_s / (took_s + SETTLE_S) for _, (took_s, used_s) in rounds)
    yield Row(what, size / MIB / ours_s, size / MIB / disk_s, "MiB/s", "ratio ≥ 0.9")
    yield Row(f"{what}, CPU", share * 100, None, "% of a core", "≤ 1")


def _writes(where: Where, size: int, call: int) -> Callable[[], tuple[float, float]]:
    def work() -> tuple[float, float]:
        spent = where.spent(lambda path: write(path / "written", size, call))
        (where.path / "written").unlink()
        return spent

    return work


def _reads(where: Where, work: Work, *, is_cold: bool = False) -> Callable[[], tuple[float, float]]:
    def timed() -> tuple[float, float]:
        if is_cold:
            drop_caches()
        else:
            work(where.path / "read")
        return where.spent(lambda path: work(path / "read"))

    return timed


def _requests(where: Where) -> float:
    """Return how often the daemon calls read(2), for what it reads from the kernel and else, in 1,000 writes."""
    assert where.pid is not None
    descriptor = os.open(where.path / "counted", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    before = _calls_of_read(where.pid)
    for _ in range(1000):
        os.write(descriptor, BODY)
    made = _calls_of_read(where.pid) - before
    os.close(descriptor)
    return made


def _calls_of_read(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("syscr:"))


def _at_least(least: float | None) -> str:
    return f"ratio ≥ {least:g}" if least else ""


# --- the other ways to be mounted ---

WAYS = {
    "direct": ("--transport", "direct"),
    "direct, every byte asked for": ("--transport", "direct", "--no-passthrough"),
    "pyfuse3": ("--transport", "pyfuse3"),
}


def way_rows(here: Stage, count: int, size: int) -> Iterator[Row]:
    """What the transports take for the same, in turns; the baseline is pyfuse3."""
    with ExitStack() as stack:
        places = []
        for number, options in enumerate(WAYS.values()):
            mount, pid = stack.enter_context(here.mounted(f"way-{number}", "--persist-delay", "1h", *options))
            places.append(Where(mount.path, pid))
        for each in (each for each in OPERATIONS if not each.is_first and each.work is not list_names):
            rounds = [[_part_of(each.work, place, range(n, count, ROUNDS)) for place in places] for n in range(ROUNDS)]
            yield from _beside_pyfuse3(f"{each.what}, CPU", rounds, "µs")
        for name, call in CALLS.items():
            part = size if call >= 64 << 10 else size // 8
            rounds = [[part / MIB / _writes(place, part, call)()[0] for place in places] for _ in range(ROUNDS)]
            yield from _beside_pyfuse3(f"write, {name} calls", rounds, "MiB/s")


def _part_of(work: Callable[[list[str]], object], place: Where, numbers: range) -> float:
    """Return µs of CPU a file, for the files of these numbers."""
    paths = [f"{place.path}/file-{number:06d}" for number in numbers]
    return place.spent(lambda _: work(paths))[1] / len(paths) * 1e6


def _beside_pyfuse3(what: str, rounds: list[list[float]], unit: str) -> Iterator[Row]:
    *others, baseline = (median(column) for column in zip(*rounds, strict=True))
    for way, value in zip(WAYS, others, strict=False):
        yield Row(f"{what}: {way}", value, baseline, unit)


@click.command(help=__doc__)
@click.option("--files", "count", default=5000, show_default=True, help="Names in each directory; 0: none.")
@click.option("--size", default=1024, show_default=True, help="MiB of the file that is written and read; 0: none.")
@click.option("--server", default="moto", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where files and caches are made.")
@click.option("--option", "options", multiple=True, help="One more word for `fusecache mount`, say --verbose.")
@click.option("--cold/--no-cold", "with_cold", default=True, help="Whether to drop the kernel's caches before some.")
def main(
    count: int, size: int, server: str, directory: Path | None, options: tuple[str, ...], *, with_cold: bool
) -> None:
    rows: list[Row] = []
    ways: list[Row] = []
    with stage(server, directory) as here:
        if count:
            rows += name_rows(here, count, options, with_cold=with_cold)
            rows += stat_rows(here, count, options)
        if size:
            rows += byte_rows(here, size * MIB, options, with_cold=with_cold)
        if count and size:
            ways += way_rows(here, count, size * MIB)
    print_table("How near to the local disk is a mount with the direct transport?", "plain files on its disk", rows)
    if ways:
        print_table("What does each way to be mounted take?", "pyfuse3", ways)


if __name__ == "__main__":
    main()
