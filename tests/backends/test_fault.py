"""The fault decorator itself: which call fails, and on which side of the deed."""

from __future__ import annotations

import pytest

from fusecache.backends.fault import FaultyBackend
from fusecache.backends.memory import MemoryBackend
from fusecache.errors import BackendUnavailable
from tests.backends.helpers import put


@pytest.mark.parametrize(("before", "stored"), [(True, ["a", "c"]), (False, ["a", "b", "c"])])
async def test_the_nth_call_fails(before: bool, stored: list[str]) -> None:
    memory = MemoryBackend()
    failure = BackendUnavailable("lost")
    faulty = FaultyBackend(memory, fail_at=2, failure=failure, before=before)
    await put(faulty, "a")
    assert faulty.call_count == 1
    with pytest.raises(BackendUnavailable) as caught:
        await put(faulty, "b")
    assert caught.value is failure
    assert faulty.fired
    await put(faulty, "c")
    assert memory.keys() == stored


async def test_it_never_fires_beyond_the_last_call() -> None:
    faulty = FaultyBackend(MemoryBackend(), fail_at=2, failure=BackendUnavailable("lost"))
    await put(faulty, "a")
    assert not faulty.fired
