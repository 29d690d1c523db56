"""More open files than descriptors: the daemon's stay few, and one that has none left answers, late."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.mount import opener
from tests.mount.cli import ROOT, TIMEOUT_S
from tests.mount.harness import Mounts, Store, watched

pytestmark = [pytest.mark.mount, pytest.mark.slow]

OPEN_FILES = amount("FUSECACHE_OPEN_FILES", usual=50_000, soak=50_000)
ENOUGH = 4096 + 200
"""Content files that are open, and everything else."""
LOW_LIMIT = 64
"""Of which an idle daemon has half."""
MANY = 300


@pytest.fixture
def patient_mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path), deadline_s=400) as made:
        yield made


@contextmanager
def application(root: Path, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, opener.__file__, root, str(first), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def all_do(processes: list[subprocess.Popen[str]], what: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{what}\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{what}\n"


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_more_open_files_than_one_process_may_have(directory_store: Store, patient_mounts: Mounts) -> None:
    mount = patient_mounts(directory_store, "--persist-delay", "1h")
    each = min(opener.spare(), OPEN_FILES // 2)  # no process may have as many
    with ExitStack() as running:
        processes = [
            running.enter_context(application(mount.path, first, min(each, OPEN_FILES - first)))
            for first in range(0, OPEN_FILES, each)
        ]
        for what in ("open", "write", "read", "write"):
            all_do(processes, what)
            assert descriptors(mount.pid) <= ENOUGH
        assert len(os.listdir(mount.path)) == OPEN_FILES
        mount.kill()  # else each of them is closed, one by one


def low(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`fusecache` where a process may have few descriptors."""
    return subprocess.run(
        [sys.executable, "-m", "fusecache", *(str(each) for each in arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LOW_LIMIT, LOW_LIMIT)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_a_daemon_with_few_descriptors_answers(any_store: Store, mounts: Mounts) -> None:
    """Uploads, downloads, listings, fsyncs and open files all want some at the same time."""
    foreign = {f"foreign/d{number % 8}/{number}": os.urandom(1_000 + number) for number in range(40)}
    for key, data in foreign.items():
        any_store.put(key, data)
    mount = mounts(any_store, "--persist-delay", "50ms", "--max-uploads", "8", run=low)
    bodies = {f"own/{number}": b"%d;" % number * 500 for number in range(MANY)}
    (mount.path / "own").mkdir()

    def write(path: str) -> int:
        descriptor = os.open(mount.path / path, os.O_RDWR | os.O_CREAT)
        os.pwrite(descriptor, bodies[path], 0)
        os.fsync(descriptor)
        return descriptor

    with ThreadPoolExecutor(24) as threads:
        files = threads.map(write, bodies)
        read = threads.map(lambda key: (mount.path / key).read_bytes(), foreign)
        assert list(read) == list(foreign.values())
        opened = dict(zip(bodies, files, strict=True))
        assert list(threads.map(lambda path: os.pread(opened[path], 1 << 20, 0), opened)) == list(bodies.values())
        list(threads.map(lambda path: os.pwrite(opened[path], b"more", len(bodies[path])), opened))
    for descriptor in opened.values():
        os.close(descriptor)
    assert mount.facts()["stuck"] == []
    mount.flush()
    assert any_store.objects() == foreign | {path: body + b"more" for path, body in bodies.items()}
