"""How many requests a change costs, counted in front of the store."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.faults.jobs import insert_as_hive, write_table
from tests.faults.server import FaultServer
from tests.mount.harness import Mount, Mounts, Store, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

FILES = 40
RENAMED = amount("FUSECACHE_RENAMED", usual=1100, soak=10_000)
"""Files of a directory that is renamed: more than one request deletes."""
MOVED = amount("FUSECACHE_MOVED", usual=200, soak=2000)
"""Files that are renamed one by one."""


@pytest.fixture
def mount(mounts: Mounts, store: Store, faults: FaultServer) -> Mount:
    """A mount that has found out what the store can do; what it asked for that isn't counted.

    Nothing goes before its flush: how long a job takes is the machine's mood.
    """
    mount = mounts(store, "--persist-delay", "1h")
    for name in ("gone", "renamed"):
        (mount.path / name).write_bytes(b"1")
    mount.flush()
    (mount.path / "gone").unlink()
    (mount.path / "renamed").rename(mount.path / "first")
    mount.flush()
    faults.news()
    return mount


def drained(mount: Mount, store: Store, faults: FaultServer) -> Counter[str]:
    """Return the requests since the last count, with those of a drain that makes the store equal to the tree."""
    mount.flush()
    counts = faults.counts()
    assert store.objects() == tree(mount.path)
    faults.news()
    return counts


def test_a_file_costs_a_put(mount: Mount, store: Store, faults: FaultServer) -> None:
    for number in range(FILES):
        (mount.path / f"{number}").write_bytes(b"%d" % number)
    assert drained(mount, store, faults) == {"PutObject": FILES}


def test_a_file_that_is_renamed_out_of_staging_costs_a_put(mount: Mount, store: Store, faults: FaultServer) -> None:
    assert drained(mount, store, faults) == {}
    files = write_table(mount.path / "t", 1, FILES)
    assert drained(mount, store, faults) == {"PutObject": files}


def test_renames_of_hive_cost_nothing(mount: Mount, store: Store, faults: FaultServer) -> None:
    (mount.path / "t").mkdir()
    for run in (1, 2):
        files = insert_as_hive(mount.path / "t", run, FILES)
        assert drained(mount, store, faults) == {"PutObject": files}


def test_what_is_gone_again_costs_nothing(mount: Mount, store: Store, faults: FaultServer) -> None:
    for number in range(FILES):
        (mount.path / f"{number}").write_bytes(b"1")
        (mount.path / f"{number}").unlink()
    assert drained(mount, store, faults) == {}


def test_an_overwrite_costs_puts_and_one_delete_beside_the_marker_s(
    mount: Mount, store: Store, faults: FaultServer
) -> None:
    """What is written again under its name is not deleted."""
    write_table(mount.path / "t", 1, FILES)
    drained(mount, store, faults)
    files = write_table(mount.path / "t", 2, FILES)
    counts = drained(mount, store, faults)
    assert counts.pop("PutObject") == files
    assert counts.pop("DeleteObjects") == 2
    assert_only_looks(counts, batches=2)


def test_a_renamed_directory_costs_copies_and_batches_of_deletes(
    mount: Mount, store: Store, faults: FaultServer
) -> None:
    _fill(mount.path / "d")
    drained(mount, store, faults)
    (mount.path / "d").rename(mount.path / "e")
    counts = drained(mount, store, faults)
    pages = -(-RENAMED // 1000)
    assert counts.pop("CopyObject") == RENAMED
    assert counts.pop("DeleteObjects") == pages
    assert counts.pop("ListObjectsV2") <= 5 * pages  # of what is there, what is in the way, and what is left over
    assert_only_looks(counts, batches=pages)


def test_files_that_are_renamed_one_by_one_cost_copies_and_batches_of_deletes(
    mount: Mount, store: Store, faults: FaultServer
) -> None:
    _fill(mount.path / "d", MOVED)
    (mount.path / "e").mkdir()
    drained(mount, store, faults)
    for number in range(MOVED):
        (mount.path / "d" / f"{number}").rename(mount.path / "e" / f"{number}")
    counts = drained(mount, store, faults)
    batches = -(-MOVED // 1000) + 2  # and the marker of the directory that is not empty any more
    assert counts.pop("CopyObject") == MOVED
    assert counts.pop("DeleteObjects") <= batches
    assert counts.pop("PutObject") == 1  # the marker of the one that is
    assert counts.pop("HeadObject") <= MOVED + 4 * batches + 1  # what is in the way is looked for
    assert counts.pop("GetObject", 0) <= 4 * batches
    assert counts.pop("ListObjectsV2") <= batches + 1
    assert not counts


def assert_only_looks(counts: Counter[str], *, batches: int) -> None:
    """This server ignores the etags of a batch of deletes: what is there is looked at first, mostly by a listing."""
    assert counts.pop("ListObjectsV2", 0) <= batches
    assert counts.pop("HeadObject", 0) <= 4 * batches
    assert not counts


def _fill(directory: Path, count: int = RENAMED) -> None:
    directory.mkdir()
    for number in range(count):
        (directory / f"{number}").write_bytes(b"%d" % number)


@pytest.mark.parametrize("offset", [48 << 20, 20 << 20], ids=["appended", "in the middle"])
def test_a_mib_of_a_large_file_costs_a_part(mount: Mount, store: Store, faults: FaultServer, offset: int) -> None:
    """What is sent is that and what makes it a part; the rest is copied, and not read for it."""
    path = mount.path / "large"
    path.write_bytes(os.urandom(48 << 20))
    drained(mount, store, faults)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(1 << 20))
    mount.flush()
    records = faults.news()
    assert sum(record.sent_bytes for record in records) < 6 << 20
    assert sum(record.received_bytes for record in records) < 1 << 20
    assert sum(record.operation == "UploadPart" for record in records) == 1
    drained(mount, store, faults)
