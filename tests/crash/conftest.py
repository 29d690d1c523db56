"""The stores and mounts of the mount tests; a test takes as long as it has kills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.harness import KILLS
from tests.mount.conftest import any_store
from tests.mount.harness import DEADLINE_S, Mounts, watched

__all__ = ["any_store"]

_KILL_S = 10.0
"""How long one may take, with the remount and the comparison."""


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path), DEADLINE_S + KILLS * _KILL_S) as made:
        yield made
