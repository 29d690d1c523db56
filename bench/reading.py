"""How fast are bytes read that are not here yet, and what does a small read of those that are cost?

Unit: MiB/s of a cold read, in calls of 1 MiB, of one object; with a delay before each request, too, as a store that is
far away has. Baseline: obstore getting the same object in the same run, in ranges of 8 MiB, sixteen in flight, thrown
away, or written to a file as a cache has to. And µs of the daemon's CPU for a read of what is here, if the kernel has
to ask. The server, one process, and whoever reads share this machine's processors.

    python -m bench.reading [--size 1024] [--delay 0.05] [--server versitygw]
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile, TemporaryDirectory

import click
import obstore
from obstore.store import S3Store

from bench.harness import BUCKET, Row, Stage, cpu_s, elapsed_s, print_table, stage
from script.mounted import detach, mount_store
from tests.faults.rules import Do, Fault
from tests.faults.server import fault_server
from tests.servers import ACCESS_KEY, REGION, SECRET_KEY, S3Server

MIB = 1 << 20
RANGE = 8 * MIB
IN_FLIGHT = 16
ROUNDS = 3
RANDOM_READS = 1000
CALL = 64 << 10
"""As the cache writes what it fetches."""


def put(server: S3Server, key: str, size: int) -> None:
    """Put an object of random bytes, the same ones in each of its parts."""
    store = obstore_of(server)
    obstore.put(store, key, os.urandom(min(size, 64 * MIB)) * (size // min(size, 64 * MIB)), chunk_size=64 * MIB)


def obstore_of(server: S3Server) -> S3Store:
    return S3Store(
        BUCKET, endpoint=server.endpoint_url, region=REGION, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY,
        client_options={"allow_http": True}, virtual_hosted_style_request=False,
    )  # fmt: skip


def obstore_s(server: S3Server, key: str, size: int, *, into: int | None = None) -> float:
    store = obstore_of(server)

    def get(start: int) -> None:
        body = obstore.get_range(store, key, start=start, length=RANGE)
        if into is not None:
            view = memoryview(body)
            for at in range(0, len(view), CALL):
                os.pwrite(into, view[at : at + CALL], start + at)

    def work() -> None:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            list(pool.map(get, range(0, size, RANGE)))

    return elapsed_s(work)


def read_all(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    buffer = bytearray(MIB)
    while os.readv(descriptor, [buffer]):
        pass
    os.close(descriptor)


@contextmanager
def cold(here: Stage, server: S3Server, *options: str) -> Iterator[tuple[Path, int]]:
    """Mount what is in the bucket with a cache that is new; give the mount point and the daemon's pid."""
    with TemporaryDirectory(dir=here.directory) as work:
        where = ["--endpoint-url", server.endpoint_url, "--cache-dir", f"{work}/cache", "--state-dir", f"{work}/state"]
        mount = mount_store(f"s3://{BUCKET}", Path(work, "mount"), [*where, *options], here.environ)
        try:
            yield mount.path, int(mount.stat()["pid"])
        except BaseException:
            detach(mount.path)
            raise
        mount.unmount("--no-flush")


def cold_rows(here: Stage, server: S3Server, size: int, what: str, bar: str) -> Iterator[Row]:
    """Each round has a cache of its own: nothing is here. A second baseline keeps the bytes, as a cache has to."""
    ours, theirs, kept, cpus = [], [], [], []
    for _ in range(ROUNDS):
        theirs.append(size / MIB / obstore_s(server, "object", size))
        with NamedTemporaryFile(dir=here.directory) as file:
            kept.append(size / MIB / obstore_s(server, "object", size, into=file.fileno()))
        with cold(here, server) as (path, pid):
            before_s = cpu_s(pid)
            ours.append(size / MIB / elapsed_s(lambda path=path: read_all(path / "object")))
            cpus.append(1e6 * (cpu_s(pid) - before_s) / (size / MIB))
    yield Row(f"cold read{what}", median(ours), median(theirs), "MiB/s", bar)
    yield Row(f"cold read{what}, beside obstore into a file", median(ours), median(kept), "MiB/s")
    yield Row(f"cold read{what}, the daemon", median(cpus), None, "µs CPU/MiB")


def random_rows(here: Stage, size: int) -> Iterator[Row]:
    """Reads of what is here, at places that the kernel has not read: each is a request."""
    for transport in ("direct", "pyfuse3"):
        with cold(here, here.server, "--transport", transport, "--no-passthrough") as (path, pid):
            read_all(path / "object")
            descriptor = os.open(path / "object", os.O_RDONLY)
            for name, length in (("4 KiB", 4 << 10), ("64 KiB", 64 << 10)):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                places = random.Random(3).sample(range(2, size // length), RANDOM_READS)
                before_s = cpu_s(pid)
                for place in places:
                    os.pread(descriptor, length, place * length)
                spent = 1e6 * (cpu_s(pid) - before_s) / RANDOM_READS
                yield Row(f"{name} at random, cached, {transport}", spent, None, "µs CPU a read", "≤ 120")
            os.close(descriptor)


@click.command(help=__doc__)
@click.option("--size", default=1024, show_default=True, help="MiB of the object.")
@click.option("--delay", "delay_s", default=0.05, show_default=True, help="Seconds before each request.")
@click.option("--server", default="versitygw", show_default=True, type=click.Choice(["moto", "rclone", "versitygw"]))
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the caches are made.")
def main(size: int, delay_s: float, server: str, directory: Path | None) -> None:
    with stage(server, directory) as here, fault_server(here.server) as faults:
        put(here.server, "object", size * MIB)
        rows = [*random_rows(here, size * MIB), *cold_rows(here, here.server, size * MIB, "", "ratio ≥ 0.7")]
        if delay_s:
            faults.fail(Fault(do=Do.DELAY, delay_s=delay_s))
            rows += cold_rows(here, faults.server, size * MIB, f", {delay_s:g} s later", "ratio ≥ 0.8")
    print_table("How fast are bytes read that are not here yet?", "obstore, ranges of 8 MiB, 16 in flight", rows)


if __name__ == "__main__":
    main()
