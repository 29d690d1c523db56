"""A daemon that is started again while its store is away."""

from __future__ import annotations

import pytest

from tests.faults.rules import Dark, Rules
from tests.faults.server import FaultServer
from tests.mount.cli import fusecache
from tests.mount.harness import Mounts, Store, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.mark.parametrize("dark", [Dark.REFUSES, Dark.SWALLOWS])
def test_a_mount_comes_back_while_its_store_is_away(
    mounts: Mounts, store: Store, faults: FaultServer, dark: Dark
) -> None:
    mount = mounts(store)
    (mount.path / "d").mkdir()
    (mount.path / "d" / "clean").write_bytes(b"1")
    mount.flush()
    faults.follow(Rules(dark=dark))
    (mount.path / "d" / "dirty").write_bytes(b"2")
    mount.kill()
    mount.mount()
    assert (mount.path / "d" / "dirty").read_bytes() == b"2"
    (mount.path / "new").write_bytes(b"3")
    expected = {"d/clean": b"1", "d/dirty": b"2", "new": b"3"}
    faults.heal()
    mount.flush()
    assert store.objects() == tree(mount.path) == expected


def test_a_first_mount_needs_its_store(mounts: Mounts, store: Store, faults: FaultServer) -> None:
    """Nothing is here that would have to be served: a typing error is more likely."""
    faults.follow(Rules(dark=Dark.REFUSES))
    (mounts.root / "m").mkdir()
    done = fusecache("mount", store.url, mounts.root / "m", "--cache-dir", mounts.root / "cache", *store.options)
    assert done.returncode == 1
    assert "cannot connect" in done.stderr
