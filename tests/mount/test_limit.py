"""A cache far smaller than what is read, by many at once, or whose directory is deleted: every byte is right."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.amounts import SEED, amount
from tests.mount.calls import pattern
from tests.mount.harness import Mount, Mounts, Store, soon, watched

pytestmark = [pytest.mark.mount, pytest.mark.slow]

MIB = 1 << 20
LIMIT = 32 * MIB
SIZES = {f"f{n:02}": 2 * MIB for n in range(36)} | {"large": 24 * MIB}
"""Three times the cache."""
READERS = 64
READ_S = amount("FUSECACHE_READ_S", usual=2, soak=300)
TRANSPORTS = ("pyfuse3", "direct")


@pytest.fixture
def patient_mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path), deadline_s=90 + 2 * READ_S) as made:
        yield made


def taken(mount: Mount) -> int:
    """Blocks of the disk."""
    found = 0
    for path in (mount.cache / "contents").glob("*/*"):
        with suppress(FileNotFoundError):
            found += path.stat().st_blocks * 512
    return found


def descriptors(mount: Mount) -> int:
    return len(os.listdir(f"/proc/{mount.pid}/fd"))


def resident(mount: Mount) -> int:
    status = Path(f"/proc/{mount.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


def read(mount: Mount, bodies: dict[str, bytes], seed: int, until: float) -> int:
    """Read at random, without the kernel's pages of the last time; return how often that was done."""
    rng, count = random.Random(seed), 0
    while time.monotonic() < until:
        name = rng.choice(sorted(bodies))
        fd = os.open(mount.path / name, os.O_RDONLY)
        try:
            for _ in range(3):
                offset, length = rng.randrange(len(bodies[name])), rng.choice((1, 4096, 70_000, MIB))
                assert os.pread(fd, length, offset) == bodies[name][offset : offset + length], (name, offset, length)
                count += 1
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    return count


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_64_readers_of_three_times_the_cache(patient_mounts: Mounts, directory_store: Store, transport: str) -> None:
    """It keeps to its size, and nothing is left of them: no descriptor, and no memory that grows."""
    bodies = {name: pattern(size, nth) for nth, (name, size) in enumerate(SIZES.items())}
    for name, body in bodies.items():
        directory_store.put(name, body)
    mount = patient_mounts(directory_store, "--cache-size", "32M", "--transport", transport)
    before, began = descriptors(mount), time.monotonic()
    most, memory = 0, 0
    with ThreadPoolExecutor(READERS) as pool:
        readers: list[Future[int]] = [
            pool.submit(read, mount, bodies, SEED * 1000 + n, began + READ_S) for n in range(READERS)
        ]
        while not all(each.done() for each in readers):
            most = max(most, taken(mount))
            if not memory and time.monotonic() - began > READ_S / 2:
                memory = resident(mount)
            time.sleep(0.1)
        assert sum(each.result() for each in readers) >= READERS
    assert LIMIT // 2 < most <= LIMIT + READERS * MIB
    assert resident(mount) < memory + 100 * MIB
    soon(lambda: descriptors(mount) <= before + 16, "descriptors are left")
    soon(lambda: taken(mount) <= LIMIT, "it is too large")
    facts = mount.facts()["cache"]
    assert facts["limit"] == LIMIT
    assert facts["evictions"] > 0
    assert facts["bytes_from_store"] > LIMIT


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_directory_of_the_cache_is_deleted(mounts: Mounts, directory_store: Store, transport: str) -> None:
    """Whoever reads goes on, from the store."""
    bodies = {f"f{n}": pattern(3 * MIB, n) for n in range(4)} | {"large": pattern(20 * MIB, 9)}
    for name, body in bodies.items():
        directory_store.put(name, body)
    mount = mounts(directory_store, "--transport", transport)
    assert (mount.path / "f0").read_bytes() == bodies["f0"]
    shutil.rmtree(mount.cache / "contents")
    for _ in range(2):
        for name, body in bodies.items():
            assert (mount.path / name).read_bytes() == body
    with pytest.raises(OSError, match="Input/output error"):
        (mount.path / "new").write_bytes(b"x")
    assert sorted(os.listdir(mount.path))[:5] == sorted(bodies)
