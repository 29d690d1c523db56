"""Of a large object of which little changes, little is sent: the store copies the rest, and nobody fetches it."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.backends.fault import FaultyBackend
from fusecache.cache.content import Content
from fusecache.errors import BackendUnavailable
from fusecache.fs import files
from fusecache.persist import reuse
from fusecache.persist.settings import Settings
from fusecache.types import Capabilities
from tests.fs.draining import MIB, Drained, RecordedStore, a_drained_world
from tests.fs.harness import BLOCK, pattern

BIG = pattern(30 * MIB)
MIDDLE = 12 * MIB
CHANGED = BIG[:MIDDLE] + b"changed" + BIG[MIDDLE + 7 :]
HaveItAll = Callable[[Drained, RecordedStore], Awaitable[None]]
COPIED = ["big 1 copied", "big 2", "big 3 copied"]


@pytest.fixture
async def big() -> RecordedStore:
    store = RecordedStore()
    await store.foreign({"big": BIG})
    store.writes.clear()
    return store


async def test_an_append_sends_what_was_appended(autojump_clock: MockClock, tmp_path: Path, big: RecordedStore) -> None:
    async with a_drained_world(tmp_path, big) as world:
        await world.write_at("big", len(BIG), b"more")
        await world.settle()
        assert big.content("big") == BIG + b"more"
        assert (sorted(big.parts), big.writes, big.since()["get"]) == (["big 1 copied", "big 2"], ["multipart big"], 0)
        assert await world.read_file("big") == BIG + b"more"
        assert (await world.describer.describe(b"big"))["state"] == "clean"
    async with a_drained_world(tmp_path, big) as world:
        assert await world.read_file("big") == BIG + b"more"


async def test_a_change_in_the_middle_sends_one_part(
    autojump_clock: MockClock, tmp_path: Path, big: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, big) as world:
        await world.write_at("big", MIDDLE, b"changed")
        await world.settle()
        assert (big.content("big"), sorted(big.parts)) == (CHANGED, COPIED)
        assert await world.read_file("big") == CHANGED
        await world.write_at("big", 0, b"again")
        await world.settle()
        assert big.content("big") == b"again" + CHANGED[5:]


async def test_what_was_renamed_is_made_of_the_object_at_its_old_key(
    autojump_clock: MockClock, tmp_path: Path, big: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, big) as world:
        await world.rename("big", "other")
        await world.write_at("other", MIDDLE, b"changed")
        await world.settle()
        await trio.sleep(10)
        assert big.objects() == {"other": CHANGED}
        assert sorted(big.parts) == [part.replace("big", "other") for part in COPIED]
        assert await world.read_file("other") == CHANGED


async def read_all(world: Drained, store: RecordedStore) -> None:
    await store.foreign({"big": BIG})
    assert await world.read_file("big") == BIG


async def write_all(world: Drained, store: RecordedStore) -> None:
    await world.write_file("big", BIG)
    await world.settle()


@pytest.mark.parametrize("is_new_daemon", [True, False], ids=["next daemon", "same daemon"])
@pytest.mark.parametrize("have_it_all", [read_all, write_all])
async def test_of_what_is_all_here_the_store_copies_what_was_not_written(
    autojump_clock: MockClock, tmp_path: Path, have_it_all: HaveItAll, is_new_daemon: bool
) -> None:
    store, delay_s = RecordedStore(), 5.0
    async with a_drained_world(tmp_path, store, delay_s=delay_s) as world:
        await have_it_all(world, store)
        store.parts.clear()
        store.since()
        await world.write_at("big", MIDDLE, b"chan")
        await world.write_at("big", MIDDLE + 4, b"ged")
        if not is_new_daemon:
            await world.settle()
    async with a_drained_world(tmp_path, store, delay_s=delay_s) as world:
        await world.settle()
        assert (store.content("big"), sorted(store.parts), store.since()["get"]) == (CHANGED, COPIED, 0)
        assert await world.read_file("big") == CHANGED
        assert store.since()["get"] == 0


async def test_what_is_all_here_is_sent_if_somebody_replaced_its_version(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        await write_all(world, store)
        await world.write_at("big", MIDDLE, b"changed")
        await store.foreign({"big": b"theirs"})
        await world.settle()
        assert store.content("big") == CHANGED
        assert sorted(store.objects().values()) == sorted([CHANGED, b"theirs"])


async def test_after_a_power_loss_all_that_is_here_is_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Later writes may have reached the disk, and what told of them not."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store, delay_s=5.0) as world:
        await write_all(world, store)
        store.parts.clear()
        number = await world.open("big", os.O_WRONLY)
        await world.fs.write(number, MIDDLE, b"changed")
        await world.fs.fsync(number)
        await world.close(number)
    async with a_drained_world(tmp_path, store, boot_id="another") as world:
        await world.settle()
        assert store.content("big") == CHANGED
        assert not any("copied" in part for part in store.parts)


@pytest.mark.parametrize("is_sent_before", [True, False], ids=["sent before", "dirty"])
async def test_bytes_of_a_write_that_a_crash_cut_off_are_not_left_out(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_sent_before: bool
) -> None:
    """What is here and what is sent are the same, whether it was acknowledged or not."""

    class Killed(Exception):
        pass

    def written_and_killed(self: Content, offset: int, data: bytes, *, hole: bool) -> int:
        pwrite(self, offset, data)
        raise Killed

    store, pwrite = RecordedStore(), Content.pwrite
    async with a_drained_world(tmp_path, store, delay_s=5.0) as world:
        await write_all(world, store)
        await world.open("big")
        await world.write_at("big", 0, b"first")
        if is_sent_before:
            await world.settle()
        number = await world.open("big", os.O_WRONLY)
        with monkeypatch.context() as patched:
            patched.setattr(Content, "pwrite", written_and_killed)
            with pytest.raises(Killed):
                await world.fs.write(number, MIDDLE, b"changed")
    async with a_drained_world(tmp_path, store) as world:
        await world.settle()
        expected = b"first" + CHANGED[5:]
        assert await world.read_file("big") == expected
        assert store.content("big") == expected


@pytest.mark.parametrize("size", [len(BIG) - 1, 15 * MIB + 1, 31 * MIB])
async def test_what_was_cut_or_extended(
    autojump_clock: MockClock, tmp_path: Path, big: RecordedStore, size: int
) -> None:
    expected = CHANGED[:size].ljust(size, b"\0")
    async with a_drained_world(tmp_path, big) as world:
        await world.write_at("big", MIDDLE, b"changed")
        await world.truncate("big", size)
        await world.settle()
        assert big.content("big") == expected
        assert min(big.parts) == "big 1 copied"
        assert await world.read_file("big") == expected


@pytest.mark.parametrize("before", [True, False], ids=["refused", "answer lost"])
async def test_one_failure_at_any_call_loses_nothing(autojump_clock: MockClock, tmp_path: Path, before: bool) -> None:
    """Somebody reads meanwhile what is not here: from the old object or the new one."""
    for nth in itertools.count(1):
        store, root = RecordedStore(), tmp_path / str(nth)
        await store.foreign({"big": BIG})
        root.mkdir()
        backend = FaultyBackend(store, fail_at=nth, failure=BackendUnavailable("reset"), before=before)
        async with a_drained_world(root, store, through=backend) as world:
            await world.write_at("big", MIDDLE, b"changed")
            for number in range(40):
                at = number * len(BIG) // 40
                assert await read_at(world, at) == CHANGED[at : at + 10], (nth, number)
                await trio.sleep(0.05)
            await world.settle()
            await trio.sleep(100)
            assert (store.content("big"), store.parts_left) == (CHANGED, 0), nth
            assert len(store.parts) <= 4, nth
            assert await world.read_file("big") == CHANGED
        if not backend.fired:
            assert nth > 6
            return


async def read_at(world: Drained, offset: int) -> bytes:
    number = await world.open("big")
    try:
        return await world.read(number, offset, 10)
    finally:
        await world.close(number)


@pytest.mark.slow
@pytest.mark.parametrize("boot_id", ["boot", "another"], ids=["crash", "power loss"])
async def test_a_crash_at_any_moment_loses_nothing(autojump_clock: MockClock, tmp_path: Path, boot_id: str) -> None:
    """Of what is not here, the only copy may be the object that has just been replaced by another one of ours."""
    for nth in itertools.count():
        store, root = RecordedStore(), tmp_path / str(nth)
        await store.foreign({"big": BIG})
        root.mkdir()
        store.pause_s = 0.01
        async with a_drained_world(root, store) as world:
            await world.write_at("big", MIDDLE, b"changed")
            await world.persister._durability.reached(world.ns.database.seq)
            await trio.sleep(0.995 + nth * 0.005)
            is_done = not world.tasks_left()
        async with a_drained_world(root, store, boot_id=boot_id) as world:
            expected = await read_at(world, MIDDLE)
            assert await read_at(world, 0) == BIG[:10], nth
            assert expected in (CHANGED[MIDDLE : MIDDLE + 10], BIG[MIDDLE : MIDDLE + 10])
            await world.settle()
            await trio.sleep(100)
            whole = CHANGED if expected == CHANGED[MIDDLE : MIDDLE + 10] else BIG
            assert (store.content("big"), store.parts_left) == (whole, 0), nth
            assert await world.read_file("big") == whole
        if is_done:
            assert nth > 5
            return


async def test_a_store_that_cannot_copy_parts_is_sent_all(
    autojump_clock: MockClock, tmp_path: Path, big: RecordedStore
) -> None:
    big._capabilities = Capabilities(multipart_copy=False)
    async with a_drained_world(tmp_path, big) as world:
        await world.write_at("big", MIDDLE, b"changed")
        await world.settle()
        assert big.content("big") == CHANGED
        assert not any("copied" in part for part in big.parts)


async def test_a_version_that_somebody_replaced_is_not_mixed_with_ours(
    autojump_clock: MockClock, tmp_path: Path, big: RecordedStore
) -> None:
    async with a_drained_world(tmp_path, big, delay_s=5.0) as world:
        await world.write_at("big", len(BIG), b"more")
        await big.foreign({"big": b"theirs"})
        told = await world.persister.drain()
        assert [each["error"] for each in told.stuck] == ["base object changed"]
        assert (big.objects(), big.parts_left) == ({"big": b"theirs"}, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
async def test_any_changes_at_any_time(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With parts of a block: what is written, cut, read, renamed and crashed meanwhile, is what there is in the end."""
    for module in (reuse, files):
        monkeypatch.setattr(module, "REUSED_BYTES", BLOCK)
    rng, store = random.Random(seed), RecordedStore()
    store._capabilities = Capabilities(min_part_bytes=1)
    settings = Settings(multipart_threshold=3 * BLOCK, part_size=2 * BLOCK)
    data, name = pattern(20 * BLOCK + 77), "big"
    await store.foreign({name: data})
    for _ in range(4):
        store.pause_s = rng.choice([0.0, 0.05, 0.3])
        async with a_drained_world(tmp_path, store, settings=settings) as world:
            if rng.random() < 0.5:
                assert await world.read_file(name) == data  # and all of it is here
            for _ in range(rng.randrange(12)):
                name, data = await change(world, rng, name, data)
                await trio.sleep(rng.choice([0.0, 0.0, 0.2, 1.1, 3.0]))
            assert await world.read_file(name) == data
    store.pause_s = 0.0
    async with a_drained_world(tmp_path, store, settings=settings) as world:
        await world.settle()
        await trio.sleep(100)
        assert store.objects() == {name: data}
        assert store.parts_left == 0
        assert await world.read_file(name) == data


async def change(world: Drained, rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    at = rng.randrange(len(data) + 1)
    match rng.choice(["write", "write", "append", "cut", "extend", "read", "rename"]):
        case "write":
            piece = rng.randbytes(rng.randrange(1, 2 * BLOCK))
            await world.write_at(name, at, piece)
            return name, data[:at] + piece + data[at + len(piece) :]
        case "append":
            await world.write_at(name, len(data), b"more")
            return name, data + b"more"
        case "cut":
            size = max(at, len(data) - 3 * BLOCK)
            await world.truncate(name, size)
            return name, data[:size]
        case "extend":
            await world.truncate(name, len(data) + BLOCK)
            return name, data + bytes(BLOCK)
        case "read":
            number = await world.open(name)
            assert await world.read(number, at, BLOCK) == data[at : at + BLOCK]
            await world.close(number)
            return name, data
    new = "other" if name == "big" else "big"
    await world.rename(name, new)
    return new, data
