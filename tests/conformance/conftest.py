"""Mounts that every user of the machine can reach, and the programs that judge them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.crates import CargoMissing, crate_program
from tests.mount.conftest import any_store, mounts
from tests.mount.harness import Mounts, open_directory, watched

__all__ = ["any_store", "mounts"]


# For the session: they are built before a test's own fixtures start its clock.
@pytest.fixture(scope="session")
def fsx_program() -> Path:
    return _program("fsx")


@pytest.fixture(scope="session")
def pjdfstest_program() -> Path:
    return _program("pjdfstest")


@pytest.fixture
def open_mounts() -> Iterator[Mounts]:
    """Mounts that other users reach."""
    with open_directory() as root, watched(Mounts(root)) as made:
        yield made


def _program(name: str) -> Path:
    """Return the path of a crate's program, or skip, loudly, where it can't be built."""
    try:
        return crate_program(name)
    except CargoMissing as exc:
        pytest.skip(f"NOT TESTED with {name}: {exc}")
