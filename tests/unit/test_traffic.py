"""What `stat` says of hits: by reads, by bytes, by opens, and what twice the room would give."""

from __future__ import annotations

from fusecache.cache.eviction import Opens
from fusecache.cache.traffic import Traffic


def test_nothing_was_read_yet() -> None:
    facts = Traffic().as_dict(Opens(), fetched_bytes=0)
    assert facts["hit_ratio"] is facts["hit_ratio_bytes"] is facts["hit_ratio_opens"] is None
    assert facts["hit_ratio_double"] is None


def test_hits_count_by_reads_bytes_and_opens() -> None:
    traffic = Traffic()
    for count, is_hit in ((10, True), (30, False), (10, True), (30, True)):
        traffic.read(count, is_hit=is_hit)
    traffic.evicted(100)
    traffic.evicted(0)
    facts = traffic.as_dict(Opens(count=10, hits=4, ghosts=2), fetched_bytes=64)
    assert facts == {
        "hit_ratio": 0.75,
        "hit_ratio_bytes": 50 / 80,
        "hit_ratio_opens": 0.4,
        "hit_ratio_double": 0.6,
        "bytes_from_cache": 50,
        "bytes_from_store": 64,
        "evictions": 1,
        "evicted_bytes": 100,
    }
