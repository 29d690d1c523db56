"""Content files share few descriptors: what was closed behind their back is opened again, with the same bytes."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from fusecache.cache.content import Content
from fusecache.cache.contents import Contents
from fusecache.cache.descriptors import open_late
from fusecache.cache.index import ContentIndex
from fusecache.control.client import wait_gone
from fusecache.types import Extent, InodeNo
from tests.unit.content_builders import BLOCK, INO, base_of, fetch

LIMIT = 4


def few(root: Path, limit: int | None = LIMIT) -> Contents:
    return Contents(root, ContentIndex(root / "index.db"), block_size=BLOCK, boot_id="b", max_descriptors=limit)


def made(contents: Contents, count: int, *, first: int = 1) -> list[Content]:
    """Contents that are open, with their number as bytes."""
    found = [contents.open(InodeNo(ino), size=0, base=None, create=True) for ino in range(first, first + count)]
    for content in found:
        content.pwrite(0, b"%d" % content.ino)
    return found


def descriptors(root: Path) -> list[str]:
    """Which files below `root` this process has open, by name."""
    targets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sorted(os.path.basename(target) for target in targets if target.startswith(str(root / "contents")))


@contextmanager
def at_the_limit() -> Iterator[list[int]]:
    """This process has every descriptor that it may have: those in the list, for instance."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield taken
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_contents_share_few_descriptors(tmp_path: Path) -> None:
    contents = few(tmp_path)
    found = made(contents, 50)
    assert len(descriptors(tmp_path)) == LIMIT
    for content in found:
        assert content.pread(0, 9) == b"%d" % content.ino
        content.pwrite(content.size, b" more")
    for content in reversed(found):
        assert content.pread(0, 9) == b"%d more" % content.ino
        content.truncate(1)
        assert len(descriptors(tmp_path)) <= LIMIT
    contents.flush_index()
    for content in found:
        content.close()
    assert descriptors(tmp_path) == []
    contents.close()


def test_what_is_in_use_stays_open(tmp_path: Path) -> None:
    contents = few(tmp_path)
    first, *others = made(contents, 2 * LIMIT)
    with first.held(), first.held():
        descriptor = first.fd()
        for content in others:
            content.pread(0, 1)
        assert os.pread(descriptor, 9, 0) == b"1"
        assert first.fd() == descriptor
    assert "1" in descriptors(tmp_path)
    for content in others:
        content.pread(0, 1)
    assert "1" not in descriptors(tmp_path)


def test_an_unlinked_file_keeps_its_descriptor(tmp_path: Path) -> None:
    """It could not be opened again."""
    contents = few(tmp_path)
    first, *others = made(contents, 2 * LIMIT)
    contents.remove(first.ino)
    for content in others:
        content.pread(0, 1)
    assert first.pread(0, 9) == b"1"
    first.close()
    assert contents.used_bytes() > 0
    for content in others:
        contents.remove(content.ino)
        content.close()
    assert contents.used_bytes() == 0


def test_a_file_is_emptied_and_made_once(tmp_path: Path) -> None:
    """Nothing vouched for what was in it when it was opened first; later openings find what was put there."""
    body = bytes(range(40))
    contents = few(tmp_path, 1)
    left = contents.open(INO, size=0, base=None, create=True)
    left.pwrite(0, b"left behind by a crash")
    left.close()
    content = contents.open(INO, size=40, base=base_of(body))
    fetch(content, body, Extent(0, 20))
    made(contents, 1)
    assert descriptors(tmp_path) == ["1"]
    assert fetch(content, body, Extent(0, 40)) == [2]
    assert content.pread(0, 40) == body


def test_a_file_that_begins_anew_does_so_with_one_descriptor(tmp_path: Path) -> None:
    contents = few(tmp_path, 1)
    (content,) = made(contents, 1)
    content.truncate(0, kept_as=7)
    content.pwrite(0, b"new")
    made(contents, 3, first=2)
    assert content.pread(0, 9) == b"new"


async def test_syncs_at_once_are_of_the_files_they_are_meant_for(tmp_path: Path) -> None:
    contents = few(tmp_path, 1)
    found = made(contents, 20)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for content in found:
                nursery.start_soon(contents.sync, content)
    assert [content.pread(0, 9) for content in found] == [b"%d" % content.ino for content in found]
    assert len(descriptors(tmp_path)) == 1


def test_at_the_limit_of_the_process_contents_take_turns(tmp_path: Path) -> None:
    contents = few(tmp_path, None)
    found = made(contents, 3)
    with at_the_limit():
        more = contents.open(InodeNo(100), size=0, base=None, create=True)
        more.pwrite(0, b"more")
        for content in found:
            assert content.pread(0, 9) == b"%d" % content.ino
        assert more.pread(0, 9) == b"more"


def test_others_cannot_take_the_last_descriptor(tmp_path: Path) -> None:
    contents = few(tmp_path, None)
    with at_the_limit():
        found = made(contents, 3)
        for content in found:
            assert content.pread(0, 9) == b"%d" % content.ino
            content.close()
        found = made(contents, 3)
        with found[0].held(), found[1].held(), found[2].held():
            assert found[0].pread(0, 9) == b"1"


def test_the_reserve_goes_with_its_owner(tmp_path: Path) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        few(tmp_path / str(number)).close()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_client_with_many_descriptors_waits_for_a_process() -> None:
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        assert not wait_gone(os.getpid(), 0)
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_a_thread_waits_for_a_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    with at_the_limit() as taken, ThreadPoolExecutor(1) as threads:
        opening = threads.submit(open_late, str(path), os.O_RDONLY)
        with pytest.raises(TimeoutError):
            opening.result(0.1)
        os.close(taken.pop())
        os.close(opening.result(10))
