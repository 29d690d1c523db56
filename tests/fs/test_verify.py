"""A store has other bytes than were sent: it is noticed, and they are sent again, whatever the store calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from fusecache.namespace.records import TaskKind
from fusecache.persist.settings import Settings
from fusecache.types import Capabilities, ETag, Extent, ObjectKey
from tests.fs.draining import MIB, RecordedStore, a_drained_world
from tests.fs.harness import pattern

READBACK = Settings(verify="readback", multipart_threshold=8 * MIB, part_size=5 * MIB)
CHECKSUM = replace(READBACK, verify="checksum")
SIZES = pytest.mark.parametrize("size", [1000, 3 * MIB, 11 * MIB], ids=["small", "large", "in parts"])


class Spoiling(RecordedStore):
    """Changes a bit of the first `spoilt` objects on their way to the disk; it verifies nothing that it gets."""

    def __init__(self, spoilt: int) -> None:
        super().__init__()
        self._spoilt = spoilt
        self.read_bytes = 0

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, checksums=False)

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        self.read_bytes += extent.length
        return await super().get(key, extent, if_match=if_match)

    def _store(self, key: ObjectKey, data: bytes, metadata: Mapping[str, str]) -> ETag:
        if self._spoilt:
            self._spoilt -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        return super()._store(key, data, metadata)


@SIZES
async def test_what_is_read_back_wrong_is_sent_again(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    store, data = Spoiling(2), pattern(size)
    async with a_drained_world(tmp_path_factory.mktemp("w"), store, settings=READBACK) as world:
        await world.write_file("a", data)
        await world.settle()
        assert store.objects() == {"a": data}
        assert await world.read_file("a") == data
        assert not world.persister.report().stuck
    assert caplog.text.count("what was read back is not what was sent") == 2
    assert store.parts_left == 0


@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["small", "large"])
async def test_an_object_whose_answer_was_lost_is_read_where_the_store_verifies_nothing(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: MockClock, size: int
) -> None:
    """It has our signature, and was spoilt on its way."""
    store, data, root = Spoiling(1), pattern(size), tmp_path_factory.mktemp("w")
    store.pause_s = 10.0  # on its way, and again before its answer
    async with a_drained_world(root, store, settings=CHECKSUM) as world:
        await world.write_file("a", data)
        await trio.sleep(15)
        assert store.keys() == ["a"]
        assert world.tasks_left()
    store.pause_s = 0.0
    async with a_drained_world(root, store, settings=CHECKSUM) as world:
        await world.settle()
    assert store.objects() == {"a": data}


@pytest.mark.parametrize(("settings", "read"), [(READBACK, 3 * MIB), (CHECKSUM, 0)], ids=["readback", "checksum"])
async def test_only_who_wants_it_pays_for_it(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: MockClock, settings: Settings, read: int
) -> None:
    store = Spoiling(0)
    async with a_drained_world(tmp_path_factory.mktemp("w"), store, settings=settings) as world:
        await world.write_file("a", pattern(3 * MIB))
        await world.settle()
    assert store.read_bytes == read


async def test_of_an_object_that_took_the_place_of_its_base_the_copied_bytes_are_not_lost(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: MockClock
) -> None:
    """What is not here is only in what was read back wrong, also if the file has changed by then."""
    store, data = Spoiling(0), pattern(11 * MIB)
    await store.foreign({"a": data})
    store._spoilt = 1
    async with a_drained_world(tmp_path_factory.mktemp("w"), store, settings=READBACK) as world:
        await world.write_at("a", len(data), b"more")
        ino = (await world.stat("a")).ino
        for _ in range(10_000):
            task = world.ns.tables.tasks.of_inode(ino, TaskKind.UPLOAD)
            if task is None or "gone" in (task.error or ""):
                break
            await trio.sleep(0.01)
        await world.write_at("a", len(data) + 4, b"!")
        await world.settle()
        assert "a 1 copied" in store.parts
        assert store.objects() == {"a": data + b"more!"}
        assert await world.read_file("a") == data + b"more!"
        assert not world.persister.report().stuck
