"""What the cache disk has lost is found before a reader meets it, given up, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fusecache.cache.contents import Base, Contents
from fusecache.cache.scrub import ROUND_S, Scrub
from fusecache.cache.shrink import lose
from fusecache.types import ETag, Extent, InodeNo, ObjectKey
from tests.unit.content_builders import BLOCK, STORE, open_contents, read_all

BODY = bytes(range(3 * BLOCK + 5))
RATE = 1 << 20


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Contents]:
    opened = open_contents(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def prompt_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An autojump clock does not wait for a thread."""

    async def run_sync(function: Callable[..., object], *arguments: object) -> object:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


async def test_what_is_given_up_while_it_is_read_is_no_damage(
    autojump_clock: MockClock, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(contents, 1)

    async def run_sync(function: Callable[..., object], *arguments: object) -> object:
        await trio.lowlevel.checkpoint()
        content = contents.open(InodeNo(1), size=len(BODY), base=base(1))
        lose(content, range(2))
        content.close()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    scrub = scrub_of(contents)
    await scrub.round()
    assert (scrub.done.corrupt, contents.bad_blocks()) == (0, 0)
    assert missing(contents, 1) == [0, 1]


def base(ino: int) -> Base:
    return Base(STORE, ObjectKey(f"f{ino}"), ETag("e"), len(BODY))


def cached(contents: Contents, *numbers: int) -> None:
    for ino in numbers:
        content = contents.open(InodeNo(ino), size=len(BODY), base=base(ino))
        assert read_all(content, BODY) == BODY
        content.close()
    contents.flush_index()


def missing(contents: Contents, ino: int) -> list[int]:
    content = contents.open(InodeNo(ino), size=len(BODY), base=base(ino))
    found = content.missing(Extent(0, len(BODY)))
    content.close()
    return found


def flip(contents: Contents, ino: int, at: int) -> None:
    with Path(contents.places.path(InodeNo(ino))).open("r+b") as file:
        file.seek(at)
        file.write(bytes([BODY[at] ^ 1]))


def scrub_of(contents: Contents, *, rate: int = RATE, wall_s: float = 1e9) -> Scrub:
    return contents.scrub(bytes_per_s=rate, wall_s=lambda: wall_s + trio.current_time())


async def test_a_damaged_block_is_given_up_and_the_others_are_kept(
    autojump_clock: MockClock, contents: Contents, caplog: pytest.LogCaptureFixture
) -> None:
    cached(contents, 1, 2, 3)
    flip(contents, 2, BLOCK + 3)
    flip(contents, 3, len(BODY) - 1)
    scrub = scrub_of(contents)
    await scrub.round()
    assert (scrub.done.checked_bytes, scrub.done.corrupt, contents.bad_blocks()) == (3 * len(BODY), 2, 2)
    assert "block 1 of f2 is damaged on the cache disk, and will be fetched again" in caplog.text
    assert [missing(contents, ino) for ino in (1, 2, 3)] == [[], [1], [3]]
    cached(contents, 2, 3)
    await scrub.round()
    assert scrub.done.corrupt == 2


async def test_a_file_that_is_cut_or_gone_is_fetched_again(autojump_clock: MockClock, contents: Contents) -> None:
    cached(contents, 1, 2)
    Path(contents.places.path(InodeNo(1))).unlink()
    with Path(contents.places.path(InodeNo(2))).open("r+b") as file:
        file.truncate(BLOCK)
    scrub = scrub_of(contents)
    await scrub.round()
    assert scrub.done.corrupt > 0
    assert [missing(contents, ino) for ino in (1, 2)] == [[0, 1, 2, 3]] * 2


async def test_what_somebody_uses_is_given_up_after_that(autojump_clock: MockClock, contents: Contents) -> None:
    cached(contents, 1, 2)
    flip(contents, 1, 0)
    content = contents.open(InodeNo(1), size=len(BODY), base=base(1))
    scrub = scrub_of(contents)
    await scrub.round()
    assert (scrub.done.corrupt, content.missing(Extent(0, 1))) == (1, [])
    content.close()
    await scrub.round()
    assert missing(contents, 1) == [0]


async def test_what_is_written_or_given_up_meanwhile_is_no_damage(
    autojump_clock: MockClock, contents: Contents
) -> None:
    cached(contents, 1)
    content = contents.open(InodeNo(1), size=len(BODY), base=base(1))
    content.pwrite(0, b"mine")
    scrub = scrub_of(contents)
    await scrub.round()
    content.close()
    contents.remove(InodeNo(1))
    await scrub.round()
    assert (scrub.done.checked_bytes, scrub.done.corrupt) == (0, 0)


async def test_it_reads_no_faster_than_it_was_told_and_goes_on_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path, contents: Contents
) -> None:
    cached(contents, *range(1, 11))
    began = trio.current_time()
    with trio.move_on_after(5):  # each of the 40 small blocks counts as 256 KiB
        await scrub_of(contents, rate=RATE).round()
    contents.flush_index()
    with closing(open_contents(tmp_path)) as again:
        scrub = scrub_of(again)
        await scrub.round()
        assert 4 * len(BODY) <= scrub.done.checked_bytes <= 6 * len(BODY)
        assert 8 <= trio.current_time() - began <= 12
        await scrub.round()
        assert scrub.done.checked_bytes > 10 * len(BODY)


async def test_once_a_day_is_enough_and_never_is_possible(autojump_clock: MockClock, contents: Contents) -> None:
    cached(contents, 1)
    scrub, never = scrub_of(contents), scrub_of(contents, rate=0)
    with trio.move_on_after(2.5 * ROUND_S):
        await scrub.run()
    assert scrub.done.checked_bytes == 3 * len(BODY)
    again = scrub_of(contents)  # a day has not passed since the last
    with trio.move_on_after(ROUND_S / 4):
        await again.run()
    with trio.move_on_after(2 * ROUND_S):
        await never.run()
    assert again.done.checked_bytes == never.done.checked_bytes == 0
    set_back = scrub_of(contents, wall_s=0.0)
    with trio.move_on_after(1.5 * ROUND_S):
        await set_back.run()
    assert set_back.done.checked_bytes > 0
