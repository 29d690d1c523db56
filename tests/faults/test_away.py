"""A store that is away: little is asked of it, the drain is at speed when it is back, and a daemon can be started."""

from __future__ import annotations

import time

import pytest

from tests.amounts import amount
from tests.faults.rules import Dark, Rules
from tests.faults.server import FaultServer
from tests.mount.cli import fusecache
from tests.mount.harness import Mounts, Store, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

DARK_S = amount("FUSECACHE_DARK_S", usual=4, soak=60)
FILES = amount("FUSECACHE_AWAY_FILES", usual=200, soak=5000)
BACK_S = 5.0 + 10.0
"""Until the next request that finds out, and until one is given up that got no answer."""
LEAST_PER_S = 20.0
"""As slow a drain as a busy machine may have; what waits for its own next try has no such end."""


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


@pytest.mark.parametrize("dark", [Dark.REFUSES, Dark.SWALLOWS])
def test_the_drain_goes_on_at_speed_when_it_is_back(
    mounts: Mounts, store: Store, faults: FaultServer, dark: Dark
) -> None:
    mount = mounts(store, "--persist-delay", "200ms")
    (mount.path / "d").mkdir()
    (mount.path / "d" / "clean").write_bytes(b"1")
    mount.flush()
    faults.news()
    faults.follow(Rules(dark=dark))
    for number in range(FILES):
        (mount.path / "d" / f"{number}").write_bytes(b"%d" % number)
    time.sleep(DARK_S)
    assert mount.facts()["files_dirty"] == FILES
    faults.heal()
    until = time.monotonic() + BACK_S + FILES / LEAST_PER_S
    while mount.facts()["files_dirty"]:  # not flushed: that would hurry what waits
        assert time.monotonic() < until
        time.sleep(0.2)
    assert store.objects() == tree(mount.path)
    assert faults.counts()["PutObject"] <= 1.1 * FILES + DARK_S
