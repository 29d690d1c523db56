"""Files that the kernel reads and writes by itself: what the daemon is not told is right all the same."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.mount.calls import pattern
from tests.mount.cli import TIMEOUT_S
from tests.mount.harness import Mount, Mounts, Store, open_directory, soon, tree, watched

NEEDS = (6, 9)


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may register files with the kernel"),
    pytest.mark.skipif(_kernel() < NEEDS, reason="NOT TESTED: passthrough came with Linux 6.9"),
]

MIB = 1 << 20
DIRECT = ("--transport", "direct")
AT_ONCE = ("--persist-delay", "0s")
LATER = ("--persist-delay", "1h")
WRITER = """
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for number in range(1_000_000):
    os.write(file, number.to_bytes(8, "little"))
    os.write(1, b".")
"""


@pytest.fixture
def mount(mounts: Mounts, directory_store: Store) -> Mount:
    return mounts(directory_store, *DIRECT, *AT_ONCE)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def endless(file: BinaryIO) -> None:
    while True:
        file.write(pattern(MIB, file.tell()))


def is_same(mount: Mount, store: Store) -> None:
    """Drain; the store has the tree."""
    told = mount.flush()
    assert (told["files_left"], told["stuck"], told["open_files"]) == (0, [], []), told
    assert store.objects() == tree(mount.path)


def test_the_daemon_has_no_part_in_the_bytes(mount: Mount, directory_store: Store) -> None:
    """No request a megabyte: 256 MiB by 4 KiB calls would be 65,536 of them, and seconds of the daemon."""
    data = pattern(MIB, 1)
    before = cpu_s(mount.pid)
    with (mount.path / "f").open("wb", buffering=4096) as file:
        for _ in range(256):
            file.write(data)
        assert (mount.path / "f").stat().st_size == 256 * MIB
        assert cpu_s(mount.pid) - before < 0.5
    is_same(mount, directory_store)


def test_size_and_times_of_what_is_being_written(mount: Mount) -> None:
    path = mount.path / "f"
    with path.open("wb", buffering=0) as file:
        for count in range(1, 20):
            file.write(b"x" * 1000)
            assert path.stat().st_size == os.fstat(file.fileno()).st_size == 1000 * count
        before = path.stat().st_mtime_ns
        time.sleep(0.05)
        file.write(b"y")
        assert path.stat().st_mtime_ns > before
        os.utime(path, ns=(1, 2))
        assert path.stat().st_mtime_ns == 2
    assert path.stat().st_mtime_ns == 2
    assert path.stat().st_size == 19001


def test_several_have_it_open(mount: Mount, directory_store: Store) -> None:
    """Readers, writers, one who empties it and one who cuts it, each as the kernel's own."""
    path = mount.path / "f"
    path.write_bytes(b"0123456789")
    with path.open("rb", buffering=0) as reader, path.open("r+b", buffering=0) as writer:
        writer.seek(5)
        writer.write(b"five!")
        assert reader.read() == b"01234five!"
        with path.open("ab", buffering=0) as appender:
            appender.write(b"end")
        assert reader.read() == b"end"
        os.truncate(path, 4)
        reader.seek(0)
        assert reader.read() == b"0123"
        with path.open("wb", buffering=0) as emptier:
            assert path.stat().st_size == 0
            emptier.write(b"new")
            reader.seek(0)
            assert reader.read() == b"new"
    is_same(mount, directory_store)
    assert directory_store.objects() == {"f": b"new"}


def test_what_came_from_the_store_is_read_and_then_written(mount: Mount, directory_store: Store) -> None:
    """The first open asks for the bytes; when all are here the kernel reads them, also beside a writer."""
    data = pattern(3 * MIB + 5, 1)
    directory_store.put("theirs", data)
    path = mount.path / "theirs"
    assert path.read_bytes() == data
    with path.open("rb", buffering=0) as reader, path.open("r+b", buffering=0) as writer:
        assert reader.read(10) == data[:10]
        writer.write(b"changed")
        assert os.pread(reader.fileno(), 7, 0) == b"changed"
    assert path.read_bytes() == b"changed" + data[7:]
    is_same(mount, directory_store)


def test_a_mapping_outlives_its_file(mount: Mount, directory_store: Store) -> None:
    """Bytes that are stored after the close, and after every attempt to send the file."""
    path = mount.path / "mapped"
    with path.open("w+b") as file:
        file.truncate(4 * MIB)
        mapped = mmap.mmap(file.fileno(), 4 * MIB)
    for number in range(4):
        mapped[number * MIB : number * MIB + 4] = b"%04d" % number
        time.sleep(0.4)  # an upload would begin at once
    assert "mapped" not in directory_store.objects()
    mapped.close()
    is_same(mount, directory_store)
    assert directory_store.objects()["mapped"][3 * MIB :][:4] == b"0003"


def test_what_a_killed_daemon_was_not_told(mount: Mount, directory_store: Store) -> None:
    """It dies while somebody writes: what write(2) returned is there."""
    path = mount.path / "f"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = len(os.read(writer.stdout.fileno(), 1 << 16))
        soon(lambda: path.stat().st_size > 1000, "nothing is written")
        mount.kill()
        writer.kill()
        while piece := os.read(writer.stdout.fileno(), 1 << 16):
            acknowledged += len(piece)
        writer.wait(TIMEOUT_S)
    mount.mount()
    data = path.read_bytes()
    count = len(data) // 8
    assert count >= acknowledged
    assert data[: 8 * count] == b"".join(number.to_bytes(8, "little") for number in range(count))
    is_same(mount, directory_store)


def test_who_goes_on_writing_after_somebody_else_closed(mount: Mount, directory_store: Store) -> None:
    """A child that has the same open file closes it, and its parent goes on: no close tells of that."""
    path = mount.path / "f"
    with path.open("wb", buffering=0) as file:
        file.write(b"one")
        subprocess.run(
            [sys.executable, "-c", f"import os; os.close({file.fileno()})"], pass_fds=[file.fileno()], check=True
        )
        mount.flush()
        file.write(b"two")
        os.fsync(file.fileno())
        file.write(b"three")
        mount.kill()
    mount.mount()
    assert path.read_bytes() == b"onetwothree"
    is_same(mount, directory_store)


@pytest.fixture
def shrinking(mounts: Mounts) -> Iterator[Path]:
    """A cache directory on a disk that has plenty of room, for now."""
    cache = mounts.root / "cache-m"
    cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "none", cache], check=True)
    try:
        yield cache
        mounts.cut_off()
    finally:
        subprocess.run(["umount", "-l", cache], check=True)


def test_who_goes_on_writing_meets_the_end_of_the_disk(shrinking: Path, mounts: Mounts, directory_store: Store) -> None:
    """He cannot be slowed any more. All others are, nothing that he wrote is lost, and the daemon goes on."""
    mount = mounts(directory_store, *DIRECT, *LATER, "--space-patience", "1s")
    with (mount.path / "full").open("wb", buffering=0) as file:
        subprocess.run(["mount", "-o", "remount,size=96m", shrinking], check=True)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            endless(file)
        size = file.tell()
        assert size > 40 * MIB
        soon(lambda: mount.facts()["pressure"]["dirty"] == size, "what he wrote is seen")
        assert mount.facts()["pressure"]["state"] == "waiting"
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (mount.path / "other").write_bytes(b"x")
        (mount.path / "d").mkdir()
        (mount.path / "full").rename(mount.path / "d/full")
    mount.flush()
    # Not read by way of the mount: once what is clean goes, there may be no room to have all of it again.
    full = b"".join(pattern(MIB, at) for at in range(0, size, MIB))[:size]
    assert directory_store.objects() == {"d/full": full, "other": b""}
    soon(lambda: mount.facts()["pressure"]["state"] == "free", "what is clean goes", within_s=30)
    (mount.path / "other").write_bytes(b"x")
    mount.flush()
    assert directory_store.objects() == {"d/full": full, "other": b"x"}


@pytest.fixture
def stacked(mounts: Mounts) -> Iterator[Path]:
    """A cache directory on a file system that is on another: the kernel does not take its files."""
    parts = {name: mounts.root / name for name in ("low", "up", "work", "cache-m")}
    for part in parts.values():
        part.mkdir()
    layers = f"lowerdir={parts['low']},upperdir={parts['up']},workdir={parts['work']}"
    made = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, parts["cache-m"]], check=False)
    if made.returncode:
        pytest.skip("NOT TESTED: there is no overlayfs here")
    try:
        yield parts["cache-m"]
        mounts.cut_off()
    finally:
        subprocess.run(["umount", "-l", parts["cache-m"]], check=True)


def test_a_cache_that_the_kernel_does_not_take(stacked: Path, mounts: Mounts, directory_store: Store) -> None:
    mount = mounts(directory_store, *DIRECT, *AT_ONCE)
    for name in ("a", "b"):
        (mount.path / name).write_bytes(pattern(MIB, 1))
    is_same(mount, directory_store)
    log = (stacked / "state" / "daemon.log").read_text()
    assert log.count("the kernel does not read the cache's files by itself") == 1


def test_bits_that_nobody_else_may_keep(directory_store: Store) -> None:
    """Somebody else writes to a set-user-ID program by the kernel's own hand."""
    with open_directory() as root, watched(Mounts(root)) as mounts:
        path = mounts(directory_store, *DIRECT, *AT_ONCE).path / "program"
        path.write_bytes(b"#!")
        os.chmod(path, 0o6777)
        shell = ["sh", "-c", 'printf x >> "$0"', path]
        subprocess.run(shell, user=1234, group=1234, extra_groups=[], check=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
