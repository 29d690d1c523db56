"""The plan of how to see what many keys hold: pure, and played through against a bucket in a list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import pytest

from fusecache.backends.s3.look import (
    FEW,
    LISTED_PER_HEAD,
    PAGE_KEYS,
    STRIDE,
    Listing,
    Look,
    common_directory,
    is_poor,
    next_look,
    seen_count,
)
from tests.backends.helpers import key


def keys(pattern: str, count: int) -> list[str]:
    return [pattern.format(number) for number in range(count)]


def cost(wanted: Sequence[str], bucket: Sequence[str]) -> tuple[int, int]:
    """Play a look through and return its (HEADs, LISTs); every key is seen exactly once."""
    unseen, stored = sorted(map(key, wanted)), sorted(map(key, bucket))
    head_count = list_count = poor_pages = 0
    while unseen:
        plan = next_look(unseen, poor_pages)
        assert plan.heads
        assert list(plan.heads) == unseen[: len(plan.heads)]
        unseen = unseen[len(plan.heads) :]
        head_count += len(plan.heads)
        if plan.listing is None:
            continue
        list_count += 1
        assert all(each.startswith(plan.listing.prefix) for each in unseen)
        below = [each for each in stored if each.startswith(plan.listing.prefix)]
        begin = bisect_right(below, plan.listing.start_after)
        page = below[begin : begin + plan.listing.limit]
        is_last = begin + len(page) == len(below)
        seen = len(unseen) if is_last else seen_count(unseen, page[-1])
        unseen = unseen[seen:]
        poor_pages = poor_pages + 1 if is_poor(seen, len(page)) else 0
    return head_count, list_count


@pytest.mark.parametrize("count", range(1, FEW + 1))
def test_few_keys_are_asked_for_singly(count: int) -> None:
    wanted = [key(name) for name in keys("d/{}", count)]
    assert next_look(wanted, 0) == Look(wanted, None)


def test_the_listing_begins_after_a_key_that_is_asked_for() -> None:
    wanted = [key(name) for name in keys("d/e{}", 9)]
    assert next_look(wanted, 0) == Look(wanted[:1], Listing("d/", wanted[0], 8 * LISTED_PER_HEAD))
    wanted = [key(name) for name in keys("d/{:03}", 100)]
    assert next_look(wanted, 2) == Look(wanted[: 2 * STRIDE], Listing("d/", wanted[2 * STRIDE - 1], PAGE_KEYS))
    assert next_look(wanted, 4) == Look(wanted, None)


@pytest.mark.parametrize(
    ("first", "last", "directory"),
    [("a/b/1", "a/b/2", "a/b/"), ("a/b1", "a/b2", "a/"), ("a/b", "c", ""), ("a", "ab", ""), ("a/b", "a/b/c", "a/")],
)
def test_common_directory(first: str, last: str, directory: str) -> None:
    assert common_directory([key(first), key(last)]) == directory


def test_seen_up_to_a_key() -> None:
    listed = [key(name) for name in ("a", "b/c", "d")]
    assert [seen_count(listed, key(last)) for last in ("A", "a", "b/", "b/c", "z")] == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(("seen", "page_keys", "poor"), [(31, 1000, True), (32, 1000, False), (0, 0, False)])
def test_a_page_that_shows_little_is_poor(seen: int, page_keys: int, poor: bool) -> None:
    assert is_poor(seen, page_keys) == poor


def test_a_directory_costs_one_page() -> None:
    wanted = keys("d/{:04}", 1000)
    assert cost(wanted, wanted) == (1, 1)
    assert cost(wanted, []) == (1, 1)


def test_a_tree_of_small_directories_costs_one_page() -> None:
    wanted = keys("t/day={:04}/part-0", 1000)
    assert cost(wanted, wanted) == (1, 1)


def test_what_lies_between_two_groups_is_jumped_over() -> None:
    wanted = keys("a/{:03}", 300) + keys("z/{:03}", 300)
    assert cost(wanted, [*wanted, *keys("m/{:06}", 10_000)]) == (2, 2)


def test_sparse_keys_cost_few_listings_in_vain() -> None:
    wanted = keys("d{:04}/9", 500)
    beside = [f"{name[:-1]}9{number:04}" for name in wanted for number in range(1100)]
    head_count, list_count = cost(wanted, [*wanted, *beside])
    assert head_count + list_count <= 510
    assert list_count <= 7


def test_dense_keys_after_sparse_ones_are_listed_again() -> None:
    sparse = keys("d{:02}/9", 20)
    beside = [f"{name[:-1]}9{number:04}" for name in sparse for number in range(1100)]
    dense = keys("e/{:04}", 900)
    head_count, list_count = cost(sparse + dense, [*sparse, *beside, *dense])
    assert head_count <= 4 * STRIDE
    assert list_count <= 4
