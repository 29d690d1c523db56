"""A cache disk that fills while nothing drains: applications are slowed, wait, are refused, and lose nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.mount.calls import pattern
from tests.mount.harness import Mount, Mounts, Store, soon, tree

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can mount a small disk"),
]

MIB = 1 << 20
DISK = "96m"
"""Less the namespace's reserve some 60 MiB, of which 6 are the soft mark and 3 the hard one."""
WRITERS = 120
"""More than pyfuse3 has workers unless told."""


@pytest.fixture
def disk(mounts: Mounts) -> Iterator[Path]:
    """The cache directory of the mount is a disk of its own."""
    cache = mounts.root / "cache-m"
    cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", cache], check=True)
    try:
        yield cache
        mounts.cut_off()
    finally:
        subprocess.run(["umount", "-l", cache], check=True)


def idle(mounts: Mounts, store: Store, *, patience: str) -> Mount:
    """Nothing drains until it is flushed."""
    return mounts(store, "--persist-delay", "1h", "--space-patience", patience)


def fill(path: Path) -> int:
    """Write until there is no room; return how many MiB went in."""
    written = 0
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(pattern(MIB, written))
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
                file.truncate(written * MIB)
                return written
            written += 1


@pytest.mark.usefixtures("disk")
def test_writers_are_refused_at_last_and_go_on_after_a_drain(mounts: Mounts, directory_store: Store) -> None:
    mount = idle(mounts, directory_store, patience="2s")
    first = fill(mount.path / "full")
    assert first > 40
    told = mount.facts()["pressure"]
    assert (told["by"], told["dirty"]) == ("disk", first * MIB)
    assert "the cache disk has" in mount.run("stat", mount.path).stdout
    (mount.path / "d").mkdir()
    (mount.path / "d/empty").touch()
    (mount.path / "full").rename(mount.path / "d/full")
    mount.flush()
    second = fill(mount.path / "second")
    assert second > 40, "what is clean has to go"
    mount.flush()
    soon(lambda: mount.facts()["pressure"]["state"] == "free", "what is clean goes")
    wrote = {"d/full": first, "second": second}
    expected = {name: b"".join(pattern(MIB, n) for n in range(count)) for name, count in wrote.items()}
    assert directory_store.objects() == expected | {"d/empty": b""}
    assert tree(mount.path) == expected | {"d/empty": b""}


@pytest.mark.usefixtures("disk")
def test_many_who_wait_hold_up_nobody_and_go_on_when_something_is_removed(
    mounts: Mounts, directory_store: Store
) -> None:
    mount = idle(mounts, directory_store, patience="80s")
    (mount.path / "big").write_bytes(bytes(20 * MIB))
    (mount.path / "small").write_bytes(b"bytes")
    sizes = {mount.path / "full": 45 * MIB} | {mount.path / f"w{n}": 4096 for n in range(WRITERS)}
    files = [(path.open("wb", buffering=0), size) for path, size in sizes.items()]
    threads = [threading.Thread(target=write, args=each, daemon=True) for each in files]
    threads[0].start()
    soon(lambda: waiting(mount) == 1, "there is no room")
    for thread in threads[1:]:
        thread.start()
    soon(lambda: waiting(mount) == len(threads), "all wait")
    assert {"big", "small"} <= set(os.listdir(mount.path))
    assert (mount.path / "small").read_bytes() == b"bytes"
    (mount.path / "d").mkdir()
    (mount.path / "small").rename(mount.path / "d/small")
    (mount.path / "new").touch()
    assert waiting(mount) == len(threads), "none of that waited for a writer"
    (mount.path / "big").unlink()
    for thread in threads:
        thread.join()  # cut off when it takes too long
    assert {path: path.stat().st_size for path in sizes} == sizes


def write(file: BinaryIO, size: int) -> None:
    with file:
        while size:
            size -= file.write(bytes(min(size, MIB)))


def waiting(mount: Mount) -> int:
    """How many writers wait for room."""
    count: int = mount.facts()["pressure"]["writers_waiting"]
    return count
