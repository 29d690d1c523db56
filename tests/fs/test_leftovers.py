"""An upload in parts that nobody goes on with is aborted, whatever the store makes of that."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.types import ObjectKey
from tests.fs.draining import a_drained_world
from tests.fs.test_parts import BIG, SlowStore


@pytest.fixture
def slow() -> SlowStore:
    return SlowStore()


async def test_who_leaves_can_wait_until_nothing_is_left_to_be_aborted(
    autojump_clock: MockClock, tmp_path: Path, slow: SlowStore
) -> None:
    slow.abort_s = 2.0
    async with a_drained_world(tmp_path, slow) as world:
        await world.write_file("big", BIG)
        await trio.sleep(2.5)
        await world.unlink("big")
        await world.settle()
        assert slow.parts_left == 1
        await world.persister.tidy()
        assert slow.parts_left == 0


async def test_but_not_for_a_store_that_is_away(autojump_clock: MockClock, tmp_path: Path, slow: SlowStore) -> None:
    async with a_drained_world(tmp_path, slow) as world:
        await world.write_file("big", BIG)
        await trio.sleep(2.5)
        await world.unlink("big")
        slow.is_away = True
        await world.settle()
        with trio.fail_after(10):
            await world.persister.tidy()
        assert slow.parts_left == 1


async def test_a_part_that_arrives_after_its_upload_was_aborted_is_aborted_too(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """S3 says so: what is under way then may be stored all the same."""

    class LateStore(SlowStore):
        async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
            if upload_id not in self.aborted:
                self.aborted.append(upload_id)
                return
            await super().abort_multipart(key, upload_id)

    late = LateStore()
    async with a_drained_world(tmp_path, late) as world:
        await world.write_file("big", BIG)
        await trio.sleep(2.5)
        await world.unlink("big")
        await world.settle()
        await trio.sleep(100)
    assert late.parts_left == 0
