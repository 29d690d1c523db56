"""The daemon is killed again and again under applications: what was acknowledged is there, and drained at last."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.amounts import SEED
from tests.crash.harness import KILLS, Witness
from tests.mount.harness import Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]


def test_every_acknowledged_operation_outlives_kills(any_store: Store, mounts: Mounts, tmp_path: Path) -> None:
    if any_store.name == "rclone":
        pytest.skip("rclone serve s3 keeps no directory markers: an empty directory is stuck there")
    rng = random.Random(SEED)
    mount = mounts(any_store, "--persist-delay", "0.1s")
    witness = Witness(mount, ("one", "two"), tmp_path)
    for number in range(KILLS):
        witness.run_until_killed(rng, patience_s=0.15 + rng.random() * 0.6)  # a random moment is what this is about
        mount.mount()
        witness.check(f"after kill {number}")
    assert witness.done > KILLS * 5, "the applications got next to nothing done: this proves nothing"
    witness.check_store(any_store, "at the end")
