"""The daemon dies at every named point, again and again: around each commit, upload, copy and delete."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.amounts import SEED
from tests.crash.harness import KILLS, Witness
from tests.crash.mortal import DIRECTORY, POINTS, fusecache_doomed_by
from tests.mount.harness import Mounts, Store, file_store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

OPTIONS = ("--persist-delay", "20ms", "--multipart-threshold", "100K", "--log-level", "warning")
PATIENCE_S = 2.0
"""How long a point may stay out of reach; then the daemon is killed wherever it is."""
TRIES = 4
"""Of a point that was out of reach."""
STORE_EVERY = 5
"""After so many kills everything is flushed and the bucket compared."""
MAX_NTH = 5
"""Later passages are like earlier ones, and longer in coming."""


class Mortal:
    """A mount whose daemon dies where it is told to."""

    def __init__(self, store: Store, mounts: Mounts, directory: Path, options: tuple[str, ...] = OPTIONS) -> None:
        self._store = store
        self._doom = directory / "doom"
        self._rng = random.Random(SEED)
        self._kills = 0
        self.mount = mounts(store, *options, run=fusecache_doomed_by(self._doom))
        self.witness = Witness(self.mount, ("one",), directory)
        self.reached: Counter[str] = Counter()

    def die_at(self, point: str, nth: int) -> None:
        """Run the application until the daemon passes `point` the nth time, start it again, and compare."""
        when = f"kill {self._kills}, at {point} {nth}"
        self._doom.write_text(f"{point} {nth}")
        if self.witness.run_until_killed(self._rng, patience_s=PATIENCE_S):
            self.reached[point] += 1
        self._doom.unlink(missing_ok=True)
        self.mount.mount()
        self.witness.check(when)
        self._kills += 1
        if self._kills % STORE_EVERY == 0:
            self.check_store(when)

    def die_while_starting(self, point: str, nth: int) -> bool:
        """Kill it in the midst of work, and then in its recovery; False if that has no such point."""
        self.witness.run_until_killed(self._rng, patience_s=0.1 + self._rng.random() * 0.3)
        self._doom.write_text(f"{point} {nth}")
        try:
            started = self.mount.run(
                "mount", self.mount.url, self.mount.path, "--cache-dir", self.mount.cache, *self.mount.options
            )
        finally:
            self._doom.unlink(missing_ok=True)
        if started.returncode == 0:
            self.mount.pid = int((self.mount.cache / "lock").read_text().split()[0])
            self.mount.kill()
        self.mount.mount()
        self.witness.check(f"killed while starting, at {point} {nth}")
        return started.returncode != 0

    def check_store(self, when: str) -> None:
        self.witness.check_store(self._store, when)


@pytest.mark.parametrize("point", [*POINTS, DIRECTORY])
def test_killed_at(point: str, mounts: Mounts, tmp_path: Path) -> None:
    mortal = Mortal(file_store(tmp_path / "store"), mounts, tmp_path)
    for kill in range(KILLS):
        mortal.die_at(point, 1 + kill % MAX_NTH)
    mortal.check_store("at the end")
    assert mortal.reached[point] > KILLS // 2, f"{mortal.reached} of {KILLS} kills were there: this proves little"


def test_killed_at_every_point_with_a_server(any_store: Store, mounts: Mounts, tmp_path: Path) -> None:
    if any_store.name in ("file", "rclone"):
        pytest.skip("the other test kills more often" if any_store.name == "file" else "it keeps no directory markers")
    mortal = Mortal(any_store, mounts, tmp_path)
    rounds = max(1, KILLS // 5)
    for nth in range(rounds):
        for point in POINTS:
            mortal.die_at(point, 1 + nth % MAX_NTH)
    for point in POINTS:  # what a busy machine has not come to in time
        for _ in range(TRIES):
            if not mortal.reached[point]:
                mortal.die_at(point, 1)
    mortal.check_store("at the end")
    missed = [point for point in POINTS if not mortal.reached[point]]
    assert not missed, f"never reached: {missed} of {mortal.reached}"


@pytest.mark.parametrize("point", ["commit.before", "commit.after"])
def test_killed_while_it_recovers(point: str, mounts: Mounts, tmp_path: Path) -> None:
    """A recovery that is cut short is begun again."""
    mortal = Mortal(file_store(tmp_path / "store"), mounts, tmp_path)
    died = [mortal.die_while_starting(point, 1 + kill % 3) for kill in range(KILLS // 2)]
    mortal.check_store("at the end")
    assert any(died), "no commit at all while starting: this proves nothing"
