"""A cache disk that fills while nothing drains: applications are slowed, wait, are refused, and lose nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

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
WORKERS = 99
"""As many as pyfuse3 has unless told."""
WRITERS = 120


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


def fill(mount: Mount, path: Path, told: list[dict[str, Any]] | None = None) -> int:
    """Write until there is no room; return how many MiB went in, and into `told` what was said of the mount then."""
    written = 0
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(pattern(MIB, written))
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
                if told is not None:
                    told.append(mount.facts()["pressure"])
                file.truncate(written * MIB)
                return written
            written += 1


@pytest.mark.usefixtures("disk")
def test_writers_are_refused_at_last_and_go_on_after_a_drain(mounts: Mounts, directory_store: Store) -> None:
    mount = idle(mounts, directory_store, patience="2s")
    told: list[dict[str, Any]] = []
    first = fill(mount, mount.path / "full", told)
    assert first > 40
    assert [(each["state"], each["by"]) for each in told] == [("full", "disk")]
    assert mount.facts()["pressure"]["dirty"] == first * MIB
    assert "the cache disk has" in mount.run("stat", mount.path).stdout
    (mount.path / "d").mkdir()
    (mount.path / "d/empty").touch()
    (mount.path / "full").rename(mount.path / "d/full")
    mount.flush()
    second = fill(mount, mount.path / "second")
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
    sizes = {mount.path / "full": 45 * MIB} | {mount.path / f"w{n}": 80 << 10 for n in range(WRITERS)}
    files = [(path.open("wb", buffering=0), size) for path, size in sizes.items()]
    threads = [threading.Thread(target=write, args=each, daemon=True) for each in files]
    threads[0].start()
    soon(lambda: waiting(mount) == 1, "there is no room")
    for thread in threads[1:]:
        thread.start()
    soon(lambda: waiting(mount) > WORKERS, "but for the few who come to their end in what is spare, all wait")
    assert {"big", "small"} <= set(os.listdir(mount.path))
    assert (mount.path / "small").read_bytes() == b"bytes"
    (mount.path / "d").mkdir()
    (mount.path / "small").rename(mount.path / "d/small")
    (mount.path / "new").touch()
    assert waiting(mount) > WORKERS, "none of that waited for a writer"
    (mount.path / "big").unlink()
    for thread in threads:
        thread.join()  # cut off when it takes too long
    assert {path: path.stat().st_size for path in sizes} == sizes


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("copies_of_descriptors_close", [False, True])
def test_more_than_fits_is_written_at_once(
    mounts: Mounts, directory_store: Store, *, copies_of_descriptors_close: bool
) -> None:
    """No file can be drained before it is closed: so they come to their end one after the other."""
    mount = mounts(directory_store, "--persist-delay", "100ms", "--space-patience", "60s")
    expected = {f"w{n}": pattern(MIB, n) for n in range(WRITERS)}
    files = {name: (mount.path / name).open("wb", buffering=0) for name in expected}
    for name, file in files.items():
        file.write(expected[name][: 2 * MIB // 5])  # together what fits, nearly
    if copies_of_descriptors_close:  # as those that a child has
        for file in files.values():
            os.close(os.dup(file.fileno()))
        mount.flush()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(finish, files.values(), expected.values()))
    mount.flush()
    assert directory_store.objects() == expected
    assert mount.facts()["pressure"]["writers_waiting"] == 0


def finish(file: BinaryIO, data: bytes) -> None:
    with file:
        while (at := file.tell()) < len(data):
            file.write(data[at : at + (128 << 10)])


def write(file: BinaryIO, size: int) -> None:
    with file:
        while size:
            size -= file.write(bytes(min(size, MIB)))


def waiting(mount: Mount) -> int:
    """How many writers wait for room."""
    count: int = mount.facts()["pressure"]["writers_waiting"]
    return count
