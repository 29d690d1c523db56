from __future__ import annotations

from fusecache.cache.readahead import MAX_WINDOW_BYTES, MIN_WINDOW_BYTES, SMALL_FILE_BYTES, Readahead, demand
from fusecache.types import Extent

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def test_a_small_file_is_wanted_whole() -> None:
    assert demand(Extent(5, 1), SMALL_FILE_BYTES) == Extent(0, SMALL_FILE_BYTES)
    assert demand(Extent(5, 1), SMALL_FILE_BYTES + 1) == Extent(5, 1)


def test_sequential_reads_are_kept_ahead_of_without_gap_or_repetition() -> None:
    readahead = Readahead()
    fetched = 128 * KIB
    windows = []
    for offset in range(0, 100 * MIB, 128 * KIB):
        extent = readahead.on_read(Extent(offset, 128 * KIB), GIB)
        if extent is not None:
            windows.append(extent.length)
            assert offset == 128 * KIB or extent.offset == fetched
            fetched = extent.end
        assert offset == 0 or fetched >= offset + 128 * KIB
    assert windows[:6] == [n * MIB for n in (1, 2, 4, 8, 16, 16)]
    assert min(windows) == MIN_WINDOW_BYTES
    assert max(windows) == MAX_WINDOW_BYTES


def test_requests_out_of_order_are_still_sequential() -> None:
    readahead = Readahead()
    order = [n ^ 1 for n in range(64)]
    assert any(readahead.on_read(Extent(n * 128 * KIB, 128 * KIB), GIB) for n in order)
    assert "window 0" not in repr(readahead)


def test_random_reads_fetch_nothing_and_a_seek_begins_small() -> None:
    readahead = Readahead()
    for offset in (0, 500 * MIB, 20 * MIB, 900 * MIB):
        assert readahead.on_read(Extent(offset, 4096), GIB) is None
    assert readahead.on_read(Extent(900 * MIB + 4096, 4096), GIB) == Extent(900 * MIB + 8192, MIB)


def test_nothing_is_fetched_past_the_end() -> None:
    readahead = Readahead()
    readahead.on_read(Extent(0, MIB), 3 * MIB // 2 + 1)
    assert readahead.on_read(Extent(MIB, 1), 3 * MIB // 2 + 1) == Extent(MIB + 1, MIB // 2)
    assert readahead.on_read(Extent(MIB + 1, MIB), 3 * MIB // 2 + 1) is None
