"""A file system without a kernel for each test, whose time is the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.fs.harness import CountedStore, World, a_world


@pytest.fixture
def store() -> CountedStore:
    """What others have put into the bucket; empty until the test says otherwise."""
    return CountedStore()


@pytest.fixture
async def world(tmp_path: Path, store: CountedStore, mock_clock: MockClock) -> AsyncIterator[World]:
    async with a_world(tmp_path, store) as opened:
        yield opened
