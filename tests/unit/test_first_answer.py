"""What a next daemon imports before it answers: the least, as whoever uses the mount waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTED = "import fusecache.daemon.__main__, fusecache.daemon.runner"
"""By a daemon before it opens anything."""
LATER = {
    "aiobotocore", "botocore", "obstore", "httpx2",  # the clients of stores: a moment later, in a thread
    "asyncio", "click", "diskcache", "pyarrow",
    "pyfuse3", "importlib.metadata",  # the other transport
    "fusecache.backends.s3", "fusecache.cli", "fusecache.doctor", "fusecache.persist.export",
}  # fmt: skip


@pytest.fixture(scope="module")
def imported() -> set[str]:
    code = f"{IMPORTED}; import sys; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_what_takes_long_comes_later(imported: set[str]) -> None:
    assert imported & LATER == set()


def test_what_it_needs_is_there(imported: set[str]) -> None:
    """Else it would be imported by the first request that needs it, while that waits."""
    assert {f"fusecache.{name}" for name in ("volume", "fs.filesystem", "fs.transport.direct.server")} <= imported
