"""Many applications that wait for the store: everybody else is answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import new_bucket
from tests.mount.cli import TIMEOUT_S
from tests.mount.gate import Gate, gated_server
from tests.mount.harness import SOON_S, Mount, Mounts, s3_store, soon

pytestmark = [pytest.mark.mount, pytest.mark.slow]

READERS = 300
"""More than pyfuse3 would have workers."""


@pytest.fixture
def gated(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mount, Gate]]:
    with gated_server() as (server, gate), closing(server.client()) as client:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        store = s3_store("gated", client, server.endpoint_url, new_bucket(server))
        for number in range(READERS):
            store.put(f"slow/{number}", b"at last")
        try:
            yield mounts(store, "--no-passthrough"), gate  # else what is small is fetched at the open
        finally:
            gate.opened.set()
            mounts.cut_off()


def waiting_threads() -> int:
    """How many of this process's threads wait for the mount to answer, or for a page that it is to fill."""
    channels = [path.read_text() for path in Path("/proc/self/task").glob("*/wchan")]
    return sum(channel.startswith(("request_wait", "folio_wait")) for channel in channels)


def test_however_many_wait_for_the_store_others_are_answered(gated: tuple[Mount, Gate]) -> None:
    mount, gate = gated
    with ExitStack() as stack:
        files = [stack.enter_context((mount.path / "slow" / str(n)).open("rb")) for n in range(READERS)]
        gate.close("slow/")
        pool = stack.enter_context(ThreadPoolExecutor(READERS + 1))
        stack.callback(gate.opened.set)
        reads = [pool.submit(file.read) for file in files]
        soon(lambda: waiting_threads() == READERS, "not all are waiting")
        listed = pool.submit(os.listdir, mount.path)
        assert listed.result(SOON_S) == ["slow"]
        gate.opened.set()
        assert {read.result(TIMEOUT_S) for read in reads} == {b"at last"}
