"""To the end of a drain, however long the store takes."""

from __future__ import annotations

import time

from fusecache.control.protocol import ExitCode
from tests.amounts import amount
from tests.mount.harness import Mount

DRAIN_S = amount("FUSECACHE_DRAIN_S", usual=240, soak=600)


def drain(mount: Mount) -> None:
    """Flush until all is in the store, however long the store takes."""
    until = time.monotonic() + DRAIN_S
    while (done := mount.run("flush", "--deadline", "20s", mount.path)).returncode == ExitCode.DEADLINE:
        assert time.monotonic() < until, done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
