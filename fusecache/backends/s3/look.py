"""How to see what many keys hold with few requests: which of them to ask for, which to find in a listing.

A page of 1000 keys costs about as much as 32 HEADs (57 µs CPU a key here against 1.5 ms; twelve times the
price at AWS). Keys to be deleted are mostly neighbours, of one directory or tree: then a page shows them all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from fusecache.types import ObjectKey

PAGE_KEYS = 1000
LISTED_PER_HEAD = 32
"""A page is worth it that shows one wanted key in so many."""
FEW = 4
"""So many keys are asked for singly, in parallel: sooner done than a listing."""
STRIDE = 16
"""Keys asked for before the next listing is tried, after one that showed little; doubled each time."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page to ask for: at most `limit` keys below `prefix`, after `start_after`."""

    prefix: str
    start_after: ObjectKey
    limit: int


@dataclass(frozen=True, slots=True)
class Look:
    """The requests to be made next, all at once: a HEAD of each of `heads`, and `listing`."""

    heads: Sequence[ObjectKey]
    listing: Listing | None


def next_look(unseen: Sequence[ObjectKey], poor_pages: int) -> Look:
    """Plan the next look at `unseen`, which are sorted; `poor_pages` in a row were not worth it.

    The listing begins after the last key of the HEADs, the one place just before the others that every
    server understands, and so it jumps over whatever lies between two groups of keys.
    """
    head_count = 1 if not poor_pages else STRIDE << (poor_pages - 1)
    if len(unseen) - head_count < FEW:
        return Look(unseen, None)
    heads, listed = unseen[:head_count], unseen[head_count:]
    limit = min(PAGE_KEYS, LISTED_PER_HEAD * len(listed))
    return Look(heads, Listing(common_directory(listed), heads[-1], limit))


def seen_count(listed: Sequence[ObjectKey], last_key: ObjectKey) -> int:
    """Return how many of `listed`, sorted, a page that reaches to `last_key` shows to be there or absent."""
    return bisect_right(listed, last_key)


def is_poor(seen: int, page_keys: int) -> bool:
    """Whether HEADs would have shown the `seen` keys for less than a page of `page_keys`."""
    return seen * LISTED_PER_HEAD < page_keys


def common_directory(keys: Sequence[ObjectKey]) -> str:
    """Return the longest directory, ending in "/" or empty, that all of the sorted `keys` are in."""
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(keys[0], keys[-1], strict=False))
    common = "".join(char for char, _ in shared)
    return common[: common.rfind("/") + 1]
