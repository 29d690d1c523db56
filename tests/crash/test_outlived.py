"""Applications that never notice: their daemon is killed every second, and another goes on.

Each compares what it reads with what it wrote, and ends with an error if a call failed.
Two minutes by `FUSECACHE_OUTLIVED_S=120`, as under `script/test soak`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.amounts import SEED, amount
from tests.conformance import fsx
from tests.mount import transactions
from tests.mount.cli import ROOT
from tests.mount.harness import Mount, Mounts, file_store, tree
from tests.mount.test_programs import rows_checked

DURATION_S = amount("FUSECACHE_OUTLIVED_S", usual=12, soak=120)
PATIENCE_S = 60.0
METADATA_THREADS = 16
FSX_OPERATIONS = 100
"""A round of it: some ten seconds, as its daemon is away for half of the time, and others ask more of it."""

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(
        tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 9),
        reason="NOT TESTED: kernels before 6.9 ask nothing again",
    ),
]

METADATA = """
import os, sys, threading
from pathlib import Path
stop = threading.Event()
done, failed = [], []

def work(here):
    here.mkdir()
    number = 0
    while not stop.is_set():
        number += 1
        one, other = here / "one", here / "other"
        os.mkdir(here / "d")
        descriptor = os.open(one, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(descriptor, b"%d" % number)
        os.close(descriptor)
        os.link(one, here / "link")
        os.symlink("one", here / "soft")
        os.mkfifo(here / "fifo")
        os.rename(one, other)
        assert (here / "link").read_bytes() == other.read_bytes() == b"%d" % number
        assert os.stat(other).st_nlink == 2
        assert sorted(os.listdir(here)) == ["d", "fifo", "link", "other", "soft"]
        os.truncate(other, 1)
        os.setxattr(other, "user.a", b"x", os.XATTR_CREATE)
        os.removexattr(other, "user.a")
        for name in ("link", "soft", "fifo", "other"):
            os.unlink(here / name)
        os.rmdir(here / "d")
    done.append(number)

def watched(here):
    try:
        work(here)
    except BaseException as exc:
        failed.append(f"{here}: {exc!r}")
        stop.set()

threads = [threading.Thread(target=watched, args=(Path(sys.argv[1]) / str(n),)) for n in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print(min(done, default=0))
sys.exit("; ".join(failed) or 0)
"""
"""Each of these says at its end how often it has done all that it does."""
STREAM = """
import os, sys, select
here, number = sys.argv[1], 0
while not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    block = os.urandom(1 << 16)
    with open(here, "wb", buffering=0) as file:
        for _ in range(200):
            assert file.write(block) == len(block)
        assert os.fstat(file.fileno()).st_size == 200 << 16
        os.fsync(file.fileno())
    with open(here, "rb", buffering=0) as file:
        for _ in range(200):
            assert file.read(1 << 16) == block
        assert not file.read(1)
print(number)
"""
COPIES = """
import filecmp, os, select, subprocess, sys
here, number = sys.argv[1], 0
source, back = f"{sys.argv[2]}/dd-source", f"{sys.argv[2]}/dd-back"
while not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    with open(source, "wb") as file:
        file.write(os.urandom(8 << 20))
    for one, other in ((source, here), (here, back)):
        subprocess.run(["dd", f"if={one}", f"of={other}", "bs=16k", "status=none"], check=True)
    assert filecmp.cmp(source, back, shallow=False)
print(number)
"""
CLONES = """
import select, shutil, subprocess, sys
source, here = sys.argv[1:3]
number = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    subprocess.run(["git", "clone", "--quiet", "--no-local", source, here], check=True)
    subprocess.run(["git", "-C", here, "fsck", "--full", "--no-progress"], check=True, stderr=subprocess.DEVNULL)
    assert not subprocess.check_output(["git", "-C", here, "status", "--porcelain"])
    shutil.rmtree(here)
print(number)
"""


@contextmanager
def running(applications: Mapping[str, Sequence[str | Path]], logs: Path) -> Iterator[dict[str, int]]:
    """Run applications for the block; then the standard input of all ends, and so have they to, without an error.

    What they have done is in what is given, then.
    """
    done: dict[str, int] = {}
    with ExitStack() as stack:
        said = {name: stack.enter_context((logs / f"{name}.log").open("w+")) for name in applications}
        processes = {
            name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said[name], stderr=said[name])
            for name, command in applications.items()
        }
        for process in processes.values():
            stack.callback(process.kill)
        yield done
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for name, process in processes.items():
            status = process.wait(PATIENCE_S)
            said[name].seek(0)
            text = said[name].read()
            assert status == 0, f"{name}: {status}: {text[-2000:]}"
            done[name] = int(text.split()[-1])


def a_repository(root: Path) -> Path:
    """One of a hundred files, of which no two are the same."""
    made = root / "source"
    rng = random.Random(SEED)
    for number in range(100):
        path = made / f"d{number % 7}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randrange(20_000)))
    git = ["git", "-C", made, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], check=True)
    return made


def kill_every_second(mount: Mount) -> int:
    """Kill each daemon a second after it first answers; return how many died."""
    until, killed = time.monotonic() + DURATION_S, set[int]()
    while time.monotonic() < until:
        os.statvfs(mount.path)
        time.sleep(1.0)
        pid = mount.daemon()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    return len(killed)


def exercised(program: Path, here: Path, work: Path, ended: threading.Event) -> int:
    """Run fsx again and again; return how often."""
    done = 0
    while not ended.is_set():
        done += 1
        for way in ("unmapped", "mapped"):
            path = here / f"fsx-{way}"
            fsx.run(program, way, path, work, seed=SEED + done, punches=True, operations=FSX_OPERATIONS)
    return done


def test_no_application_notices(mounts: Mounts, tmp_path: Path) -> None:
    store = file_store(tmp_path / "store")
    mount = mounts(store, "--transport", "direct", "--persist-delay", "0.5s")
    logs, python = tmp_path / "logs", [sys.executable, "-c"]
    logs.mkdir()
    (mount.path / "names").mkdir()
    rows, log = mount.path / "rows.db", tmp_path / "rows.log"
    applications: dict[str, list[str | Path]] = {
        "names": [*python, METADATA, mount.path / "names", str(METADATA_THREADS)],
        "stream": [*python, STREAM, mount.path / "stream"],
        "copies": [*python, COPIES, mount.path / "copy", tmp_path],
        "clones": [*python, CLONES, a_repository(tmp_path), mount.path / "clone"],
    }
    fsx_program, ended = ROOT / ".tools" / "bin" / "fsx", threading.Event()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor())
        exercise = None
        if fsx_program.exists():  # building it takes minutes: the conformance tests do that
            exercise = pool.submit(exercised, fsx_program, mount.path, tmp_path, ended)
        done = stack.enter_context(running(applications, logs))
        sqlite = stack.enter_context(
            subprocess.Popen([sys.executable, transactions.__file__, rows, "wal", "0", log], stdout=subprocess.DEVNULL)
        )
        stack.callback(sqlite.kill)
        stack.callback(ended.set)
        killed = kill_every_second(mount)
        assert sqlite.poll() is None, "SQLite has seen an error"
        sqlite.kill()
    if exercise is not None:
        done["fsx"] = exercise.result()
    done["SQLite"] = rows_checked(rows, log)
    print(f"{killed} daemons died; done: {done}")  # pytest shows it with -rP
    assert all(done.values()), done
    assert killed > DURATION_S / 4, "so few daemons died that this proves little"
    mount.pid = mount.facts()["pid"]
    told = mount.flush()
    assert (told["files_left"], told["stuck"], told["open_files"]) == (0, [], []), told
    end = time.monotonic() + 10
    while store.objects() != tree(mount.path) and time.monotonic() < end:
        time.sleep(0.5)  # what stands for a directory comes when the last delete in it has been carried out
    assert store.objects() == tree(mount.path)
