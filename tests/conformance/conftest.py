"""Mounts that every user of the machine can reach, and the programs that judge them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.crates import CargoMissing, crate_program
from tests.mount.conftest import any_store, mounts
from tests.mount.harness import Mounts, watched

__all__ = ["any_store", "mounts"]


@pytest.fixture(scope="session")
def crate() -> Callable[[str], Path]:
    """Return the path of a crate's program, or skip the test, loudly, where it can't be built."""

    def find(name: str) -> Path:
        try:
            return crate_program(name)
        except CargoMissing as exc:
            pytest.skip(f"NOT TESTED with {name}: {exc}")

    return find


@pytest.fixture
def open_mounts() -> Iterator[Mounts]:
    """Mounts that other users reach, at paths short enough for sockets: pytest's directories are neither."""
    with tempfile.TemporaryDirectory() as name, watched(Mounts(Path(name))) as made:
        for folder in (made.root, made.root.parent):
            folder.chmod(folder.stat().st_mode & 0o7777 | 0o011)
        yield made
