"""The daemon is killed again and again under applications: what was acknowledged is there, and drained at last."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.crash import driver
from tests.crash.driver import Operation, Tree
from tests.mount.harness import Mount, Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

KILLS = int(os.environ.get("FUSECACHE_KILLS", "10"))
SEED = int(os.environ.get("FUSECACHE_SEED", "0")) or random.SystemRandom().randrange(1 << 20)
DIRECTORIES = ("one", "two")


@contextmanager
def application(root: Path, log: Path, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    log.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, driver.__file__, root, log, str(seed)], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)


def replayed(tree: Tree, log: Path) -> tuple[Tree, Operation | None, int]:
    """Return the tree that was acknowledged, the operation in doubt, and how many were done."""
    doubtful: Operation | None = None
    count = 0
    for line in log.read_text().splitlines() if log.exists() else []:
        if line == "done":
            assert doubtful is not None
            tree, doubtful, count = driver.done(tree, doubtful), None, count + 1
        else:
            doubtful = Operation(*json.loads(line))
    return tree, doubtful, count


def run_until_killed(mount: Mount, logs: dict[str, Path], rng: random.Random) -> None:
    with ExitStack() as running:
        processes = [
            running.enter_context(application(mount.path / name, log, rng.randrange(1 << 20)))
            for name, log in logs.items()
        ]
        time.sleep(0.15 + rng.random() * 0.6)  # a random moment is what this is about
        mount.kill()
        for process in processes:
            process.wait(timeout=30)


def check(mount: Mount, name: str, tree: Tree, log: Path) -> tuple[Tree, int]:
    """Compare a directory with its log, and return what it is now and how much was done."""
    expected, doubtful, count = replayed(tree, log)
    found = driver.seen(mount.path / name)
    if doubtful is None or not driver.is_between(expected, doubtful, found):
        assert _told(found) == _told(expected), f"seed {SEED}, {name}, in doubt: {doubtful}"
    return found, count


def _told(tree: Tree) -> dict[str, object]:
    """Short enough to be read in a failure."""
    return {path: None if data is None else (len(data), data[:40], hash(data)) for path, data in tree.items()}


def expected_objects(trees: dict[str, Tree]) -> dict[str, bytes]:
    objects: dict[str, bytes] = {}
    for name, tree in trees.items():
        whole = {name: None} | {f"{name}/{path}": data for path, data in tree.items()}
        for path, data in whole.items():
            if data is not None:
                objects[path] = data
            elif not any(each.startswith(f"{path}/") for each in whole):
                objects[f"{path}/"] = b""
    return objects


def test_every_acknowledged_operation_outlives_kills(any_store: Store, mounts: Mounts, tmp_path: Path) -> None:
    if any_store.name == "rclone":
        pytest.skip("rclone serve s3 keeps no directory markers: an empty directory is stuck there")
    rng = random.Random(SEED)
    mount = mounts(any_store, "--persist-delay", "0.1s")
    logs = {name: tmp_path / f"{name}.log" for name in DIRECTORIES}
    trees: dict[str, Tree] = {name: {} for name in DIRECTORIES}
    for name in DIRECTORIES:
        (mount.path / name).mkdir()
    total = 0
    for _ in range(KILLS):
        run_until_killed(mount, logs, rng)
        mount.mount()
        for name, log in logs.items():
            trees[name], count = check(mount, name, trees[name], log)
            total += count
    assert total > KILLS * 5, "the applications got next to nothing done: this proves nothing"
    mount.flush()
    assert {name: _told(driver.seen(mount.path / name)) for name in DIRECTORIES} == {
        name: _told(tree) for name, tree in trees.items()
    }
    assert any_store.objects() == expected_objects(trees), f"seed {SEED}"
