"""Files that the kernel writes by itself: here the test is the kernel, and tells of opens and closes alone."""

from __future__ import annotations

import errno
import mmap
import os
import random
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fusecache.cache.blocks import hash_block
from fusecache.cache.holes import FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE
from fusecache.cache.summing import AT_ONCE_BYTES
from fusecache.cache.sums import sum_of
from fusecache.fs.absent import SMALL_BYTES
from fusecache.fs.backed import can_be_backed
from fusecache.namespace.records import TaskKind
from fusecache.types import Extent, InodeNo
from tests.fs.draining import RecordedStore, a_drained_world
from tests.fs.handing import Handed, handed
from tests.fs.harness import BLOCK, CountedStore, World, pattern


@pytest.fixture
def backed(world: World) -> World:
    world.fs.back_files()
    return world


async def test_a_new_file_has_what_the_kernel_wrote(backed: World) -> None:
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, b"hello", 3)
    assert (await backed.stat("f")).size == 8
    await file.close()
    assert (await backed.stat("f")).size == 8
    assert await backed.read_file("f") == b"\0\0\0hello"


async def test_a_second_write_of_the_same_length_and_time_counts(backed: World) -> None:
    """A clock that stands still for a tick, as file systems before Linux 6.13 have it."""
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, b"one", 0)
    await backed.fs.fsync(file.number)
    before = os.fstat(file.fd)
    os.pwrite(file.fd, b"two", 0)
    os.utime(file.fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    generation = (await backed.stat("f")).generation
    await backed.fs.fsync(file.number)
    assert (await backed.stat("f")).generation > generation
    await file.close()
    assert await backed.read_file("f") == b"two"


async def test_who_empties_an_open_file_empties_the_one_that_the_kernel_has(backed: World) -> None:
    first = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(first.fd, b"before", 0)
    await backed.fs.fsync(first.number)
    second = await handed(backed, "f", os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(first.fd).st_size == 0
    os.pwrite(second.fd, b"after", 0)
    assert os.pread(first.fd, 10, 0) == b"after"
    await second.close()
    await first.close()
    assert await backed.read_file("f") == b"after"


async def test_an_open_file_without_a_name_is_still_the_kernels(backed: World) -> None:
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    await backed.unlink("f")
    os.pwrite(file.fd, b"nobody sees it", 0)
    await file.close()
    assert await backed.ls() == []


async def test_a_small_file_is_fetched_for_the_kernel(backed: World, store: CountedStore) -> None:
    await store.foreign({"cold": pattern(3 * BLOCK)})
    file = await handed(backed, "cold", os.O_RDWR)
    assert os.pread(file.fd, 3 * BLOCK, 0) == pattern(3 * BLOCK)
    os.pwrite(file.fd, b"new", 0)
    await file.close()
    assert await backed.read_file("cold") == b"new" + pattern(3 * BLOCK)[3:]


async def test_an_open_does_not_wait_long_for_a_store(
    autojump_clock: MockClock, backed: World, store: CountedStore
) -> None:
    """Nor does anybody else who opens it meanwhile: then it is asked for, by all of them."""
    await store.foreign({"cold": pattern(3 * BLOCK)})
    ino = (await backed.stat("cold")).ino
    store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(backed.open, "cold")
        await wait_all_tasks_blocked()
        number = await backed.fs.open(ino, os.O_RDONLY)
        assert trio.current_time() - began <= 2
        nursery.start_soon(backed.read, number)
        await wait_all_tasks_blocked()
        store.gate.set()
    assert all(backed.fs.backing(each) is None for each in (*backed.kernel, number))
    assert store.since()["get"] == 1


async def test_an_open_that_is_interrupted_leaves_nothing(backed: World, store: CountedStore) -> None:
    await store.foreign({"cold": pattern(3 * BLOCK)})
    store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backed.open, "cold")
        await wait_all_tasks_blocked()
        assert "1 on 1" in repr(backed.fs.ranges._files)
        nursery.cancel_scope.cancel()
    assert "0 on 0" in repr(backed.fs.ranges._files)
    store.gate.set()
    await wait_all_tasks_blocked()
    assert not backed.contents.opened()


async def test_who_opens_it_while_it_is_fetched_decides(backed: World, store: CountedStore) -> None:
    """It is cut, or opened by requests, before its bytes are here: what the rows say by then counts."""
    await store.foreign({"cold": pattern(3 * BLOCK)})
    store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backed.open, "cold", os.O_RDWR)
        await wait_all_tasks_blocked()
        await backed.truncate("cold", BLOCK)
        store.gate.set()
    (number,) = backed.kernel
    assert backed.fs.backing(number) is None
    await backed.fs.write(number, 0, b"new")
    await backed.close(number)
    assert await backed.read_file("cold") == b"new" + pattern(BLOCK)[3:]


async def test_what_lacks_bytes_is_asked_for(backed: World, store: CountedStore) -> None:
    body = pattern(SMALL_BYTES + BLOCK)
    await store.foreign({"cold": body})
    number = await backed.open("cold")
    assert backed.fs.backing(number) is None
    await backed.read(number)
    assert backed.fs.backing(number) is None, "for all handles or for none"
    await backed.close(number)
    file = await handed(backed, "cold", os.O_RDONLY)
    assert os.pread(file.fd, len(body), 0) == body
    await file.close()


async def test_a_reader_and_then_a_writer_of_what_the_store_has(backed: World, store: CountedStore) -> None:
    await store.foreign({"f": pattern(3 * BLOCK)})
    await backed.read_file("f")
    reader = await handed(backed, "f", os.O_RDONLY)
    writer = await handed(backed, "f", os.O_WRONLY)
    os.pwrite(writer.fd, b"new", 0)
    await writer.close()
    await reader.close()
    assert await backed.read_file("f") == b"new" + pattern(3 * BLOCK)[3:]
    assert (await backed.stat("f")).base is None


async def test_what_is_only_read_is_not_sent_again(backed: World, store: CountedStore) -> None:
    await store.foreign({"f": pattern(BLOCK)})
    await backed.read_file("f")
    file = await handed(backed, "f", os.O_RDONLY)
    await file.close()
    assert backed.ns.tables.tasks.of_inode((await backed.stat("f")).ino, TaskKind.UPLOAD) is None


@pytest.mark.parametrize("size", [0, 5, AT_ONCE_BYTES])
async def test_a_small_file_is_summed_at_its_close(backed: World, size: int) -> None:
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, pattern(size), 0)
    await file.close()
    packed = sums_of(backed, (await backed.stat("f")).ino)
    assert packed is not None
    assert sum_of(packed, 0) == hash_block(pattern(size))


async def test_nobody_believes_what_is_still_mapped(backed: World) -> None:
    """Its sums are made once the mapping is gone, and nothing of it goes from the disk before."""
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.truncate(file.fd, BLOCK)
    mapping = mmap.mmap(file.fd, BLOCK)
    await file.close()
    ino = (await backed.stat("f")).ino
    for _ in range(2):
        await backed.upkeep.seal()
        assert sums_of(backed, ino) is None
    mapping[:4] = b"late"
    mapping.close()
    await backed.upkeep.seal()
    assert sums_of(backed, ino) is not None
    assert (await backed.read_file("f"))[:4] == b"late"


async def test_a_mapping_until_its_file_is_sent_and_given_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What is stored to it after the close is in the object, and in what is read once the file is gone from here."""
    store = RecordedStore()
    async with a_drained_world(tmp_path, store) as world:
        world.fs.back_files()
        world.releaser._wanted = lambda: 1 << 40
        file = await handed(world, "f", os.O_RDWR | os.O_CREAT)
        os.truncate(file.fd, 4 * BLOCK)
        mapping = mmap.mmap(file.fd, 4 * BLOCK)
        await file.close()
        for number in range(4):
            await trio.sleep(10)
            await world.releaser.make_room()
            mapping[number * BLOCK : number * BLOCK + 4] = b"%04d" % number
        assert not store.objects()
        data = mapping[:]
        mapping.close()
        await world.settle()
        assert store.objects() == {"f": data}
        assert await world.releaser.make_room() > 0
        assert not world.contents.exists((await world.stat("f")).ino)
        assert await world.read_file("f") == data


async def test_a_mapping_sees_that_its_file_is_emptied(backed: World) -> None:
    """Though what was synced of a file that is emptied is kept beside, in case the power fails."""
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, pattern(BLOCK), 0)
    await backed.fs.fsync(file.number)
    mapping = mmap.mmap(file.fd, BLOCK)
    await file.close()
    ino = (await backed.stat("f")).ino
    before = backed.contents.places.stat(ino)
    second = await handed(backed, "f", os.O_WRONLY | os.O_TRUNC)
    os.pwrite(second.fd, b"x" * BLOCK, 0)
    assert mapping[:] == b"x" * BLOCK
    mapping.close()
    await second.close()
    after = backed.contents.places.stat(ino)
    assert before is not None
    assert after is not None
    assert before.st_ino == after.st_ino


def sums_of(world: World, ino: InodeNo) -> bytes | None:
    return world.ns.tables.seals.get(ino).sums_of(world.ns.tables.inodes.get(ino).generation)


async def test_a_lease_tells_who_still_reads(backed: World) -> None:
    await backed.write_file("f", b"x" * BLOCK)
    number = await backed.open("f")
    content = backed.fs.ranges._files.content(number)
    sharing = backed.contents.sharing
    assert sharing.is_quiet(content)
    assert sharing.is_unused(content)
    file = Handed(backed, number)
    os.close(file.fd)
    file.fd = os.open(content.file.path, os.O_RDONLY)
    assert sharing.is_quiet(content)
    assert not sharing.is_unused(content)
    await file.close()


async def test_who_must_ask_for_now(backed: World) -> None:
    """For want of a descriptor: the next one has one again."""
    number = await backed.create("f", os.O_RDWR)
    assert backed.fs.backing(number) is not None
    backed.fs.refuse_backing(number, OSError(errno.EMFILE, "too many"))
    assert backed.fs.backing(number) is None
    await backed.close(number)
    await (await handed(backed, "g", os.O_RDWR | os.O_CREAT)).close()


async def test_who_must_ask_after_all(backed: World) -> None:
    number = await backed.create("f", os.O_RDWR)
    assert backed.fs.backing(number) is not None
    backed.fs.refuse_backing(number, OSError(errno.ELOOP, "too deep"))
    await backed.fs.write(number, 0, b"asked")
    await backed.close(number)
    assert await backed.read_file("f") == b"asked"
    number = await backed.open("f")
    assert backed.fs.backing(number) is None
    assert can_be_backed(backed.fs.ranges._files.content(number), os.O_RDONLY)
    await backed.close(number)


@pytest.mark.parametrize("mode", [0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE])
async def test_space_is_taken_around_what_the_kernel_wrote(backed: World, mode: int) -> None:
    """It has made the file longer since anybody looked."""
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, b"x" * 100, 0)
    await backed.fs.ranges.allocate(file.number, Extent(40, 20), mode)
    await file.close()
    zeros = b"\0" * 20 if mode == FALLOC_FL_ZERO_RANGE else b"x" * 20
    assert await backed.read_file("f") == b"x" * 40 + zeros + b"x" * 40


async def test_what_the_kernel_wrote_is_data(backed: World) -> None:
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, b"x" * 100, 0)
    assert backed.fs.ranges.seek(file.number, 50, os.SEEK_DATA) == 50
    await file.close()


async def test_what_the_kernel_wrote_is_copied(backed: World) -> None:
    file = await handed(backed, "f", os.O_RDWR | os.O_CREAT)
    target = await handed(backed, "g", os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, b"x" * 100, 0)
    assert await backed.fs.copying.copy(file.number, 0, target.number, 0, 1000) == 100
    await file.close()
    await target.close()
    assert await backed.read_file("g") == b"x" * 100


async def test_a_large_object_of_which_no_sums_are_known_is_changed_by_requests(
    backed: World, store: CountedStore
) -> None:
    """Nobody would find out afterwards what of it is as it was, and all of it would be sent."""
    await store.foreign({"f": pattern(5 << 20)})  # in blocks that are none of those that are summed
    await backed.read_file("f")
    number = await backed.open("f", os.O_RDWR)
    assert backed.fs.backing(number) is None
    await backed.close(number)
    number = await backed.open("f", os.O_RDWR | os.O_TRUNC)
    assert backed.fs.backing(number) is not None
    await backed.close(number)


@pytest.mark.parametrize("size", [3 * BLOCK, 9 << 20], ids=["small", "large"])
async def test_after_a_power_loss_the_kernel_gets_only_what_was_compared(
    autojump_clock: MockClock, tmp_path: Path, size: int
) -> None:
    """The disk has other bytes than it was given, and says nothing of it."""
    store, data = RecordedStore(), random.Random(0).randbytes(size)
    await store.foreign({"f": data})
    async with a_drained_world(tmp_path, store, ttl_s=1e6) as world:
        assert await world.read_file("f") == data
        path = Path(world.contents.places.path((await world.stat("f")).ino))
        world.contents.flush_index()
    with path.open("r+b") as file:
        file.seek(BLOCK + 5)
        file.write(b"rotten")
    store.since()
    async with a_drained_world(tmp_path, store, ttl_s=1e6, boot_id="second") as world:
        world.fs.back_files()
        number = await world.open("f")
        given = world.fs.backing(number)
        assert (given is not None) == (size == 3 * BLOCK)
        found = os.pread(given, size, 0) if given is not None else await world.read(number)
        assert found == data
        assert world.contents.bad_blocks() == 1
        assert store.since()["get"] == 1
        await world.close(number)
        number = await world.open("f")  # by now all of it is known to be right
        assert world.fs.backing(number) is not None
        await world.close(number)
