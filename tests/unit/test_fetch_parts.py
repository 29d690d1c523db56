"""Requests for parts of blocks: shared, joined to those of whole blocks, cancelled, and never kept wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fusecache.cache.contents import Content, Contents
from fusecache.cache.index import ContentIndex
from fusecache.cache.pieces import PAGE_BYTES as PAGE
from fusecache.errors import BackendUnavailable
from fusecache.types import Extent, InodeNo
from tests.unit.test_fetch import Rig, open_rig

BLOCK = 4 * PAGE
BODY = bytes(n * 31 // 7 % 251 for n in range(4 * BLOCK))


@asynccontextmanager
async def opened(root: Path) -> AsyncIterator[tuple[Rig, Content]]:
    async with open_rig(root, BODY) as rig:
        contents = Contents(root / "b", ContentIndex(root / "b.db"), block_size=BLOCK, boot_id="b")
        content = contents.open(InodeNo(2), size=len(BODY), base=rig.base)
        yield rig, content
        await wait_all_tasks_blocked()
        content.close()
        assert content.users == 0
        contents.close()


async def test_readers_of_a_part_share_its_request(tmp_path: Path) -> None:
    async with opened(tmp_path) as (rig, content):
        async with trio.open_nursery() as readers:
            for offset in (PAGE, PAGE + 5, 2 * PAGE - 1):
                readers.start_soon(rig.fetcher.ensure_part, content, Extent(offset, 1))
            await wait_all_tasks_blocked()
            rig.backend.gate.set()
        assert rig.backend.extents == [Extent(PAGE, PAGE)]
        assert content.pread(PAGE, PAGE) == BODY[PAGE : 2 * PAGE]


async def test_what_comes_with_a_block_is_not_asked_for_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as (rig, content):
        rig.fetcher.prefetch(content, [0])
        async with trio.open_nursery() as readers:
            readers.start_soon(rig.fetcher.ensure_part, content, Extent(PAGE, PAGE))
            readers.start_soon(rig.fetcher.ensure_part, content, Extent(3 * PAGE, 2 * PAGE))
            await wait_all_tasks_blocked()
            assert rig.backend.extents == [Extent(0, BLOCK)]
            rig.backend.gate.set()
        assert rig.backend.extents == [Extent(0, BLOCK), Extent(BLOCK, PAGE)]


async def test_a_part_that_nobody_waits_for_is_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as (rig, content):
        with trio.move_on_after(30) as patience:
            async with trio.open_nursery() as readers:
                readers.start_soon(rig.fetcher.ensure_part, content, Extent(0, PAGE))
                await wait_all_tasks_blocked()
                patience.cancel()
        await wait_all_tasks_blocked()
        assert rig.backend.cancelled_count == 1
        rig.backend.gate.set()
        await rig.fetcher.ensure_part(content, Extent(0, PAGE))
        assert content.pread(0, PAGE) == BODY[:PAGE]


@pytest.mark.parametrize("mangled", [b"", BODY[: PAGE - 1], BODY[: PAGE + 1]])
async def test_a_part_of_another_length_is_not_kept(tmp_path: Path, mangled: bytes) -> None:
    async with opened(tmp_path) as (rig, content):
        rig.backend.gate.set()
        rig.backend.mangle = lambda _: mangled
        with pytest.raises(BackendUnavailable):
            await rig.fetcher.ensure_part(content, Extent(0, PAGE))
        assert content.cached_bytes == 0


async def test_parts_ahead_are_fetched_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as (rig, content):
        for _ in range(2):
            rig.fetcher.prefetch_part(content, Extent(2 * BLOCK, PAGE))
        rig.backend.gate.set()
        await wait_all_tasks_blocked()
        rig.fetcher.prefetch_part(content, Extent(2 * BLOCK, PAGE))
        await rig.fetcher.ensure_part(content, Extent(2 * BLOCK, PAGE))
        assert rig.backend.extents == [Extent(2 * BLOCK, PAGE)]
