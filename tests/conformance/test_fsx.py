"""What is read from a file is what was written to it, in any order of operations, also while it drains.

`FUSECACHE_FSX_SEEDS` says how many sequences and `FUSECACHE_SEED` which is the first. A thousand take hours:
`TEST_TIMEOUT_S=40000 FUSECACHE_FSX_SEEDS=1000 script/test conformance -k fsx`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.conformance import fsx
from tests.mount.harness import Mounts, Store, soon

FIRST = int(os.environ.get("FUSECACHE_SEED", "1"))
SEEDS = range(FIRST, FIRST + amount("FUSECACHE_FSX_SEEDS", usual=1, soak=20))
DELAYS = {"idle": "1h", "draining": "0s"}
"""Nothing is sent before the end; or every close sends what is there while the next operations change it."""

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS.keys())
@pytest.mark.parametrize("any_store", ["file", "moto"], indirect=True)
def test_files_hold_what_was_written(
    fsx_program: Path, any_store: Store, mounts: Mounts, tmp_path: Path, delay: str, seed: int
) -> None:
    """Several at the same time: here, in the store after a flush, and in another mount, which has nothing yet."""
    mount = mounts(any_store, "--persist-delay", delay)
    punches = mount.facts()["transport"] == "direct"  # pyfuse3 has no method for it

    def exercise(way: str) -> None:
        fsx.run(fsx_program, way, mount.path / way, tmp_path, seed=seed, punches=punches)

    with ThreadPoolExecutor() as pool:
        list(pool.map(exercise, fsx.WAYS))
    if delay == "0s":
        soon(lambda: bool(any_store.objects()), "nothing is sent")
    else:
        assert not any_store.objects()
    written = {way: (mount.path / way).read_bytes() for way in fsx.WAYS}
    mount.flush()
    assert any_store.objects() == written
    mount.umount()
    again = mounts(any_store, name="again")
    assert {way: (again.path / way).read_bytes() for way in fsx.WAYS} == written
