"""A finished table is removed while somebody reads the bucket: a marker there is over all of its data, to the last."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.faults.jobs import MARKER, write_table
from tests.faults.server import FaultServer
from tests.faults.watcher import watching
from tests.mount.harness import Mount, Mounts, Store, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

PARTS = amount("FUSECACHE_PARTS", usual=30, soak=240)
DELAY_S = 0.5
REMOVAL_S = 4 * DELAY_S


def _remove_slowly(table: Path) -> None:
    """As `rm -r` of a directory that lists its marker last, and that takes several times the delay before a delete."""
    names = sorted(path.name for path in table.iterdir() if path.name != MARKER)
    for name in names:
        (table / name).unlink()
        time.sleep(REMOVAL_S / len(names))
    (table / MARKER).unlink()
    table.rmdir()


def _dirty_files(mount: Mount) -> int:
    return int(json.loads(mount.run("stat", "--json", mount.path).stdout)["files_dirty"])


@pytest.mark.parametrize("is_killed", [False, True], ids=["left alone", "killed"])
def test_a_table_whose_marker_is_removed_last(
    mounts: Mounts, store: Store, faults: FaultServer, is_killed: bool
) -> None:
    mount = mounts(store, "--persist-delay", f"{DELAY_S}s")
    write_table(mount.path / "old", 1, PARTS)
    mount.flush()
    faults.news()
    with watching(faults.store, store) as watcher:
        watcher.look()
        assert watcher.believed
        _remove_slowly(mount.path / "old")
        if is_killed:
            mount.kill()
            mount.mount()
        until_s = time.monotonic() + 20 * DELAY_S
        while _dirty_files(mount) and time.monotonic() < until_s:
            time.sleep(DELAY_S)  # a flush would have none of them wait
    assert store.objects() == tree(mount.path) == {}
    first = next(each for each in faults.news() if each.kind == "delete")
    assert first.sent_bytes < 400, "a batch of more than the marker"
