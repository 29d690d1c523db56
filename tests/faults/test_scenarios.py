"""Jobs over a store that throttles, fails, loses connections or is away, and a daemon that is killed meanwhile.

No call of an application fails, no reader of the bucket ever believes a commit marker wrongly, and in the end the
bucket equals the tree. How fast it gets there is measured by `bench.pace`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.amounts import IS_SOAK, amount
from tests.faults.drain import drain
from tests.faults.jobs import MARKER, etag_of, prepare, work, write_table
from tests.faults.rules import Dark, Do, Fault, Limit, Rules
from tests.faults.server import FaultServer
from tests.faults.watcher import Watcher, watching
from tests.mount.harness import Mount, Mounts, Store, soon, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

TABLES = amount("FUSECACHE_TABLES", usual=3, soak=20)
PARTS = amount("FUSECACHE_PARTS", usual=30, soak=240)
DARK_S = amount("FUSECACHE_DARK_S", usual=4, soak=60)
BUSY_REQUESTS, BUSY_S = 10, 2.0
"""When a drain is in full swing: after so many requests, or so long if none is answered."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the store, one after the other; at the end of it all is well, or well enough."""

    name: str
    stages: tuple[tuple[Rules, float], ...]
    """Rules, and for how long they hold; the last ones hold until everything is drained."""

    def __str__(self) -> str:
        return self.name


def _every(n: int, do: Do) -> Rules:
    return Rules(faults=(Fault(do=do, every=n),))


def _writes(per_s: float) -> Rules:
    """Limits of writes, copies and deletes each by themselves, as AWS has them together; reads are let through."""
    return Rules(limits=(Limit(per_s=per_s, burst=per_s / 4, kinds=("write", "copy", "delete")),))


def _to_the_end(rules: Rules) -> tuple[tuple[Rules, float], ...]:
    """Until all is drained; at the size of a soak, where that would take half an hour, for two minutes."""
    return ((rules, 2.0 * DARK_S), (WELL, 0.0)) if IS_SOAK else ((rules, 0.0),)


WELL = Rules()
REFUSED = Rules(faults=(Fault(do=Do.ANSWER, every=2, status=503, code="SlowDown"),))
"""However slowly they come."""
TROUBLES = (
    Trouble("throttled", ((_writes(50), 0.0),)),
    Trouble("throttled more, then less", ((_writes(100), 2.0), (_writes(20), 3.0), (_writes(1000), 0.0))),
    Trouble("refuses", ((Rules(dark=Dark.REFUSES), DARK_S), (WELL, 0.0))),
    Trouble("swallows", ((Rules(dark=Dark.SWALLOWS), DARK_S), (WELL, 0.0))),
    Trouble("all fail", ((_every(1, Do.ANSWER), DARK_S), (WELL, 0.0))),
    Trouble("every 2nd fails", _to_the_end(_every(2, Do.ANSWER))),
    Trouble("every 3rd fails", _to_the_end(_every(3, Do.ANSWER))),
    Trouble("every 5th fails", _to_the_end(_every(5, Do.ANSWER))),
    Trouble("every 2nd is refused", _to_the_end(REFUSED)),
    Trouble("every 2nd is lost", _to_the_end(_every(2, Do.DROP_BEFORE))),
    Trouble("every 2nd is not answered", _to_the_end(_every(2, Do.DROP_AFTER))),
    Trouble("every 2nd is cut off", _to_the_end(_every(2, Do.CUT_REQUEST))),
    Trouble("every 2nd is answered in part", _to_the_end(_every(2, Do.CUT_ANSWER))),
)


def _told(is_killed: bool) -> str:
    return "killed" if is_killed else "left alone"


@pytest.fixture
def watcher(faults: FaultServer, store: Store) -> Iterator[Watcher]:
    with watching(faults.store, store) as watcher:
        yield watcher


@pytest.mark.parametrize("is_killed", [False, True] if IS_SOAK else [True], ids=_told)
@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_jobs_over_a_store_in_trouble(
    mounts: Mounts, store: Store, faults: FaultServer, watcher: Watcher, trouble: Trouble, is_killed: bool
) -> None:
    # Listings outlast the trouble: a store that is away for longer than the patience cannot be asked for new ones.
    options = ("--ttl", "1h", "--persist-delay", "200ms", "--multipart-threshold", "8M", "--part-size", "5M")
    mount = mounts(store, *options)
    for number in range(TABLES):
        write_table(mount.path / f"old{number}", 1, PARTS)
    prepare(mount.path)
    drain(mount)
    expected = {(f"old{number}/", _marker_of(mount, f"old{number}")) for number in range(TABLES)}
    faults.news()

    faults.follow(trouble.stages[0][0])
    work(mount.path, PARTS)
    after = tree(mount.path)
    for rules, lasts_s in trouble.stages:
        faults.follow(rules)
        if is_killed:
            _kill_while_it_drains(mount, faults)
        time.sleep(lasts_s)
    drain(mount)
    faults.heal()
    assert tree(mount.path) == after
    assert store.objects() == after
    assert store.uploads is not None
    uploads = store.uploads
    soon(lambda: not uploads(), "uploads in parts were left behind", within_s=30.0)
    expected |= {(f"{name}/", _marker_of(mount, name)) for name in ("old0", "new0", "moved")}
    watcher.look()
    assert watcher.believed >= expected


def _kill_while_it_drains(mount: Mount, faults: FaultServer) -> None:
    until = time.monotonic() + BUSY_S
    faults.news()
    while len(faults.news()) < BUSY_REQUESTS and time.monotonic() < until:
        time.sleep(0.02)
    mount.kill()
    mount.mount()


def _marker_of(mount: Mount, table: str) -> str:
    return f'"{etag_of((mount.path / table / MARKER).read_bytes())}"'
