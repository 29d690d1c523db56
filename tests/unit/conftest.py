"""A namespace that is checked when its test ends, and once more as a crash would leave it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.builders import Upper, check


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Upper]:
    upper = Upper(tmp_path / "namespace.db")
    yield upper
    check(upper.ns)
    upper.crash()
    check(upper.ns)
    upper.close()
