"""Closes that wait for a real store, which answers, fails or is away."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.rules import Dark, Rules
from tests.faults.server import FaultServer
from tests.mount.harness import Mount, Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

PATIENCE_S = 3
CONFIG = """
persist-delay = "1h"
[[rule]]
path = "/w/**"
write-mode = "writethrough"
[[rule]]
path = "/scratch"
write-mode = "MUST_CACHE"
"""


@pytest.fixture
def mount(mounts: Mounts, store: Store, tmp_path: Path) -> Mount:
    file = tmp_path / "rules.toml"
    file.write_text(CONFIG)
    mount = mounts(store, "--config", str(file), "--patience", f"{PATIENCE_S}s")
    for name in ("w", "scratch"):
        (mount.path / name).mkdir()
    return mount


def test_what_a_close_has_returned_for_is_in_the_bucket(mount: Mount, store: Store) -> None:
    def write(number: int) -> bytes:
        data = os.urandom(1000 * number)
        (mount.path / "w" / f"{number}").write_bytes(data)
        assert store.objects()[f"w/{number}"] == data
        return data

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(24)))
    (mount.path / "later").write_bytes(b"1")
    (mount.path / "scratch" / "never").write_bytes(b"1")
    assert {key for key in store.objects() if key != "w/"} == {f"w/{number}" for number in range(24)}
    mount.flush()
    assert {key: data for key, data in store.objects().items() if not key.endswith("/")} == {
        **{f"w/{number}": data for number, data in enumerate(written)},
        "later": b"1",
    }
    assert mount.facts("scratch/never")["state"] == "local"


@pytest.mark.parametrize("dark", [Dark.REFUSES, Dark.SWALLOWS])
def test_a_close_fails_when_the_store_is_away_for_longer_than_the_patience(
    mount: Mount, store: Store, faults: FaultServer, dark: Dark
) -> None:
    faults.follow(Rules(dark=dark))
    fd = os.open(mount.path / "w" / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"kept")
    started_s = time.monotonic()
    with pytest.raises(OSError, match="Input/output error") as caught:
        os.close(fd)
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - started_s >= PATIENCE_S
    assert (mount.path / "w" / "a").read_bytes() == b"kept"
    faults.heal()
    mount.flush()
    assert store.objects()["w/a"] == b"kept"


def test_others_are_answered_while_closes_wait(mount: Mount, faults: FaultServer) -> None:
    (mount.path / "w" / "known").write_bytes(b"1")
    faults.follow(Rules(dark=Dark.SWALLOWS))

    def write(number: int) -> str:
        try:
            (mount.path / "w" / f"{number}").write_bytes(b"1")
        except OSError as exc:
            return str(exc.strerror)
        return ""

    with ThreadPoolExecutor(150) as pool:
        waiting = [pool.submit(write, number) for number in range(150)]
        time.sleep(PATIENCE_S / 3)
        started_s = time.monotonic()
        for number in range(20):
            (mount.path / "scratch" / f"{number}").write_bytes(b"1")
        assert (mount.path / "w" / "known").read_bytes() == b"1"
        assert time.monotonic() - started_s < PATIENCE_S / 2
        assert {each.result() for each in waiting} == {os.strerror(errno.EIO)}
