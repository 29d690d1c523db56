"""The two ways in which the kernel gets at a file's bytes, by requests and by itself: nobody sees a difference."""

from __future__ import annotations

import mmap
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.calls import pattern
from tests.mount.harness import Mount, Mounts, Store, open_directory, tree, watched
from tests.mount.test_passthrough import AT_ONCE, DIRECT, MIB, NEEDS, is_same
from tests.mount.test_passthrough import _kernel as kernel

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may register files with the kernel"),
    pytest.mark.skipif(kernel() < NEEDS, reason="NOT TESTED: passthrough came with Linux 6.9"),
]

LARGE = pattern(12 * MIB + 5, 1)
"""More than an open makes whole: until somebody has read it all, it is asked for."""
PAGE = mmap.PAGESIZE
ASKED = (*DIRECT, "--no-passthrough")


@pytest.fixture
def mount(mounts: Mounts, directory_store: Store) -> Mount:
    directory_store.put("large", LARGE)
    return mounts(directory_store, *DIRECT, *AT_ONCE)


def is_whole(mount: Mount, name: str) -> bool:
    return bool(mount.facts(name)["cached_bytes"] == len(LARGE))


def requests_of(mount: Mount, act: Callable[[], object]) -> int:
    """Return how often the daemon has read a request meanwhile, about (/proc/PID/io: each is one read)."""

    def read_calls() -> int:
        lines = Path(f"/proc/{mount.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["syscr"])

    before = read_calls()
    act()
    return read_calls() - before


def read_by_pages(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return b"".join(os.pread(file.fileno(), PAGE, offset) for offset in range(0, len(LARGE), PAGE))


def test_two_opens_of_an_inode_at_the_same_time(mount: Mount, directory_store: Store) -> None:
    """Sixteen at a time, of what is not here, of what is, and of what is being written."""
    path = mount.path / "large"
    gate = threading.Barrier(16)

    def visit(number: int) -> None:
        rng = random.Random(number)
        gate.wait()
        for _ in range(20):
            with path.open("r+b" if rng.random() < 0.3 else "rb", buffering=0) as file:
                offset = rng.randrange(len(LARGE))
                assert os.pread(file.fileno(), 100, offset) == LARGE[offset : offset + 100]
                if file.writable():
                    os.pwrite(file.fileno(), LARGE[offset : offset + 50], offset)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, range(16)))
    assert path.read_bytes() == LARGE
    is_same(mount, directory_store)


def test_cached_and_then_passthrough(mount: Mount, directory_store: Store) -> None:
    """What the page cache has from the requests is not what is read after the kernel has written by itself."""
    path = mount.path / "large"
    with path.open("r+b", buffering=0) as asked:
        assert asked.read(MIB) == LARGE[:MIB]
        with path.open("r+b", buffering=0) as second:  # asked for, too, as long as the first is open
            second.write(b"second")
        assert os.pread(asked.fileno(), 6, 0) == b"second"
        assert read_by_pages(path)[6:] == LARGE[6:]
    assert is_whole(mount, "large")
    with path.open("r+b", buffering=0) as file:
        fd = file.fileno()
        assert requests_of(mount, lambda: [os.pwrite(fd, b"x" * 100, offset) for offset in range(0, MIB, 1000)]) < 500
        assert os.pread(fd, 7, 0) == b"x" * 7
    expected = bytearray(LARGE)
    for offset in range(0, MIB, 1000):
        expected[offset : offset + 100] = b"x" * 100
    expected[:6] = b"x" * 6
    assert path.read_bytes() == expected
    is_same(mount, directory_store)


def test_passthrough_and_then_cached(mounts: Mounts, directory_store: Store) -> None:
    """The next daemon asks for it, of which the pages of the last one's kernel are gone; and so does a third one."""
    mount = mounts(directory_store, *DIRECT, *AT_ONCE)
    path = mount.path / "f"
    path.write_bytes(LARGE)
    for options, data in ((ASKED, b"asked"), (DIRECT, b"not asked"), (ASKED, b"asked again")):
        mount.umount()
        mount.options = (*directory_store.options, *options, *AT_ONCE)
        mount.mount()
        assert path.read_bytes()[20:] == LARGE[20:]
        with path.open("r+b", buffering=0) as file:
            file.write(data)
            assert os.pread(file.fileno(), len(data), 0) == data
        assert path.read_bytes()[: len(data)] == data
        is_same(mount, directory_store)


@pytest.mark.parametrize("options", [DIRECT, ASKED], ids=["by itself", "by requests"])
def test_past_the_page_cache_and_through_it(mounts: Mounts, directory_store: Store, options: tuple[str, ...]) -> None:
    """O_DIRECT beside an ordinary handle and a mapping: each sees what the others have written."""
    mount = mounts(directory_store, *options, *AT_ONCE)
    path = mount.path / "f"
    path.write_bytes(LARGE[: 4 * MIB])
    with mmap.mmap(-1, PAGE) as buffer, path.open("r+b", buffering=0) as ordinary:
        direct = os.open(path, os.O_RDWR | os.O_DIRECT)
        try:
            for number in range(8):
                offset = number * 100 * PAGE
                buffer[:] = b"%04d" % number * (PAGE // 4)
                assert os.pwrite(direct, buffer, offset) == PAGE
                assert os.pread(ordinary.fileno(), 8, offset + 4) == b"%04d" % number * 2
                os.pwrite(ordinary.fileno(), b"through", offset + PAGE)
                assert os.preadv(direct, [buffer], offset + PAGE) == PAGE
                assert buffer[:7] == b"through"
            with mmap.mmap(ordinary.fileno(), PAGE) as mapping:
                assert mapping[:8] == b"00000000"
                os.pwrite(ordinary.fileno(), b"seen", 0)
                assert mapping[:4] == b"seen"
        finally:
            os.close(direct)
    is_same(mount, directory_store)


def test_a_file_that_is_replaced_in_the_store_while_it_is_open(mounts: Mounts, directory_store: Store) -> None:
    """Who has it open reads on in what he opened, by himself; who opens it later gets the newer version."""
    directory_store.put("large", LARGE)
    mount = mounts(directory_store, *DIRECT, "--ttl", "0s")
    path = mount.path / "large"
    assert read_by_pages(path) == LARGE
    with path.open("rb", buffering=0) as file:
        directory_store.put("large", b"newer")
        assert os.pread(file.fileno(), len(LARGE), 0) == LARGE
        assert path.read_bytes() == b"newer"
        assert os.pread(file.fileno(), 5, MIB) == LARGE[MIB : MIB + 5]


def test_a_directory_that_moves_with_what_is_open_in_it(mount: Mount, directory_store: Store) -> None:
    directory_store.put("d/large", LARGE)
    assert (mount.path / "d" / "large").read_bytes() == LARGE
    with (mount.path / "d" / "large").open("r+b", buffering=0) as file:
        (mount.path / "d").rename(mount.path / "e")
        file.write(b"moved")
        os.fsync(file.fileno())
        mount.run("flush", mount.path, "--deadline", "5s")
        file.write(b"on")
        assert os.pread(file.fileno(), 7, 0) == b"movedon"
    is_same(mount, directory_store)
    assert tree(mount.path)["e/large"] == b"movedon" + LARGE[7:]


WRITES = {
    "append": "os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b'y')",
    "overwrite": "os.pwrite(os.open(path, os.O_WRONLY), b'y', 0)",
    "truncate": "os.truncate(path, 1)",
    "ftruncate": "os.ftruncate(os.open(path, os.O_WRONLY), 1)",
    "O_TRUNC": "os.open(path, os.O_WRONLY | os.O_TRUNC)",
    "fallocate": "os.posix_fallocate(os.open(path, os.O_WRONLY), 0, 100)",
    "copy": "fd = os.open(path, os.O_RDWR); os.copy_file_range(fd, fd, 1, 0, 5)",
}


@pytest.mark.parametrize("options", [DIRECT, ASKED], ids=["by itself", "by requests"])
def test_bits_that_nobody_else_may_keep(directory_store: Store, options: tuple[str, ...]) -> None:
    """Not who may not give them; root keeps them, and so does a set-group-ID bit that asks for mandatory locks."""
    with open_directory() as root, watched(Mounts(root)) as mounts:
        directory = mounts(directory_store, *options, *AT_ONCE).path
        for name, act in WRITES.items():
            for mode, left, user in ((0o6777, 0o777, 1234), (0o6767, 0o2767, 1234), (0o6777, 0o6777, 0)):
                path = directory / f"{name}-{mode:o}-{user}"
                path.write_bytes(b"x" * 10)
                os.chmod(path, mode)
                become = f"os.setgroups([]); os.setgid({user}); os.setuid({user})"
                code = f"import os, sys; path = sys.argv[1]; {become}; {act}"
                subprocess.run([sys.executable, "-c", code, path], check=True)
                found = stat.S_IMODE(path.stat().st_mode)
                assert found == left, f"{path.name}: {found:o}"
        os.chown(path, 1, 1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
