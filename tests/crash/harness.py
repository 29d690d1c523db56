"""Applications under a daemon that is killed, and what their logs say must be there afterwards."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fusecache.control.client import wait_gone
from tests.amounts import SEED, amount
from tests.crash import driver
from tests.crash.driver import Operation, Tree
from tests.mount.harness import Mount, Store

KILLS = amount("FUSECACHE_KILLS", usual=10, soak=100)
"""How often each test kills, at each of its points: 10 are some 250 kills in all, 100 are thousands."""
_ABORTED_S = 10.0
"""How long an upload in parts that nobody goes on with may stay: a flush does not wait for it."""


class Witness:
    """Runs an application in each of some directories of a mount, and knows what they were promised."""

    def __init__(self, mount: Mount, directories: Sequence[str], logs: Path) -> None:
        self._mount = mount
        self._logs = {name: logs / f"{name}.log" for name in directories}
        self._trees: dict[str, Tree] = {name: {} for name in directories}
        self.done = 0
        """Operations that were acknowledged."""
        for name in directories:
            (mount.path / name).mkdir()

    def run_until_killed(self, rng: random.Random, *, patience_s: float) -> bool:
        """Run the applications until the daemon has died; if it doesn't in that time, it is killed: False."""
        pid = self._mount.pid
        with ExitStack() as running:
            processes = [
                running.enter_context(_application(self._mount.path / name, log, rng.randrange(1 << 20)))
                for name, log in self._logs.items()
            ]
            died = wait_gone(pid, patience_s)
            if not died:
                self._mount.kill()
            for process in processes:
                process.wait(timeout=30)
        return died

    def check(self, when: str) -> None:
        """Compare what the mount shows with the logs: what was acknowledged, and at most the operation in doubt."""
        for name, log in self._logs.items():
            expected, doubtful, count = _replayed(self._trees[name], log)
            found = driver.seen(self._mount.path / name)
            if doubtful is None or not driver.is_between(expected, doubtful, found):
                assert _told(found) == _told(expected), f"{when}, {name}, in doubt: {doubtful}, seed {SEED}"
            self._trees[name] = found
            self.done += count
            log.unlink(missing_ok=True)

    def check_store(self, store: Store, when: str) -> None:
        """Flush, and compare: the bucket and the tree are one, no key too many, no upload in parts left."""
        self._mount.flush()
        for name, tree in self._trees.items():
            assert _told(driver.seen(self._mount.path / name)) == _told(tree), f"{when}, {name}, seed {SEED}"
        found, expected = store.objects(), self._objects()
        wrong = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
        assert not wrong, f"{when}, seed {SEED}: {_few(found, wrong)} instead of {_few(expected, wrong)}"
        left = uploads_left(store)
        assert not left, f"{when}, seed {SEED}: uploads in parts to {left}"

    def _objects(self) -> dict[str, bytes]:
        objects: dict[str, bytes] = {}
        for name, tree in self._trees.items():
            whole = {name: None} | {f"{name}/{path}": data for path, data in tree.items()}
            for path, data in whole.items():
                if data is not None:
                    objects[path] = data
                elif not any(each.startswith(f"{path}/") for each in whole):
                    objects[f"{path}/"] = b""
        return objects


def uploads_left(store: Store) -> list[str]:
    """The keys of uploads in parts that nobody aborts within the time that this may take."""
    assert store.uploads is not None
    patience_s = time.monotonic() + _ABORTED_S
    while (left := store.uploads()) and time.monotonic() < patience_s:
        time.sleep(0.1)
    return left


@contextmanager
def _application(root: Path, log: Path, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    log.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, driver.__file__, root, log, str(seed)], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)


def _replayed(tree: Tree, log: Path) -> tuple[Tree, Operation | None, int]:
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


def _told(tree: Tree) -> dict[str, object]:
    """Short enough to be read in a failure."""
    return {path: None if data is None else (len(data), data[:40], hash(data)) for path, data in tree.items()}


def _few(objects: dict[str, bytes], keys: set[str]) -> dict[str, tuple[int, bytes]]:
    """What is said of the keys that differ."""
    return {key: (len(objects[key]), objects[key][:40]) for key in sorted(keys) if key in objects}
