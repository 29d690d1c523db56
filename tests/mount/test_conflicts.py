"""Another client changes the bucket while a drain is due: both versions are there in the end, on every store."""

from __future__ import annotations

import os
import re

import pytest

from tests.mount.harness import Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

BIG = os.urandom(17 << 20)
"""More than one request sends at once."""


def objects(store: Store) -> dict[str, bytes]:
    """What is in the store; what was kept aside without the version in its name."""
    return {re.sub(r"\.conflict-.*", ".conflict", key): data for key, data in store.objects().items()}


def test_what_another_client_put_meanwhile_is_neither_overwritten_nor_deleted(any_store: Store, mounts: Mounts) -> None:
    for name in ("changed", "removed", "replaced", "moved"):
        any_store.put(name, b"first")
    mount = mounts(any_store, "--persist-delay", "1h")
    assert sorted(os.listdir(mount.path)) == ["changed", "moved", "removed", "replaced"]
    (mount.path / "changed").write_bytes(b"ours")
    (mount.path / "big").write_bytes(BIG)
    (mount.path / "removed").unlink()
    (mount.path / "replacement").write_bytes(b"ours")
    (mount.path / "replacement").rename(mount.path / "replaced")
    (mount.path / "moved").rename(mount.path / "new")
    for name in ("changed", "removed", "replaced", "new", "big"):
        any_store.put(name, b"theirs")
    mount.flush()
    assert objects(any_store) == {
        "changed": b"ours",
        "changed.conflict": b"theirs",
        "removed": b"theirs",
        "replaced": b"ours",
        "replaced.conflict": b"theirs",
        "new": b"first",
        "new.conflict": b"theirs",
        "big": BIG,
        "big.conflict": b"theirs",
    }


def test_a_renamed_directory_goes_beside_what_another_client_put_there(any_store: Store, mounts: Mounts) -> None:
    for number in range(20):
        any_store.put(f"d/{number}", b"%d" % number)
    mount = mounts(any_store, "--persist-delay", "1h")
    assert len(os.listdir(mount.path / "d")) == 20
    (mount.path / "d").rename(mount.path / "e")
    any_store.put("e/7", b"theirs")
    any_store.put("e/other", b"theirs")
    mount.flush()
    theirs = {"e/7.conflict": b"theirs", "e/other": b"theirs"}
    assert objects(any_store) == theirs | {f"e/{number}": b"%d" % number for number in range(20)}
