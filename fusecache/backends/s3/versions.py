"""What many keys hold just now, found as `s3.look` plans it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from fusecache.backends.pace import RequestClass
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.headers import etag_of
from fusecache.backends.s3.listing import list_page
from fusecache.backends.s3.look import Listing, is_poor, next_look, seen_count
from fusecache.errors import BackendError, NoSuchObject
from fusecache.nurseries import unwrapped
from fusecache.types import ETag, ListPage, ObjectKey

PARALLEL_HEADS = 16
"""HEADs at a time for one batch: a quarter of the connections, as reads want some too."""


class Versions(NamedTuple):
    """What could be found out."""

    found: dict[ObjectKey, ETag | None]
    """The etag of each key; None: it is absent."""
    errors: dict[ObjectKey, BackendError]
    """Why it could not, of the other keys."""


async def versions_of(bucket: S3Bucket, keys: Iterable[ObjectKey]) -> Versions:
    """Find out what each key holds, for a delete.

    Raises:
        BackendError: nothing could be found out, or a listing failed.
    """
    look = _Look(bucket)
    unseen, poor_pages = sorted(set(keys)), 0
    while unseen:
        plan = next_look(unseen, poor_pages)
        page = await look.carry_out(plan.heads, plan.listing)
        unseen = unseen[len(plan.heads) :]
        if page is not None:
            seen = look.note(unseen, page)
            unseen = unseen[seen:]
            poor_pages = poor_pages + 1 if is_poor(seen, len(page.objects)) else 0
    if look.errors and not look.found:
        raise next(iter(look.errors.values()))
    return Versions(look.found, look.errors)


class _Look:
    """What was found so far."""

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket
        self._heads = trio.CapacityLimiter(PARALLEL_HEADS)
        self.found: dict[ObjectKey, ETag | None] = {}
        self.errors: dict[ObjectKey, BackendError] = {}

    async def carry_out(self, heads: Sequence[ObjectKey], listing: Listing | None) -> ListPage | None:
        """Make all the requests at once; what the HEADs tell is found then."""
        page: ListPage | None = None
        with unwrapped():
            async with trio.open_nursery() as nursery:
                for key in heads:
                    nursery.start_soon(self._head, key)
                if listing is not None:
                    page = await self._bucket.ask(RequestClass.DELETE, listing.prefix, partial(self._list, listing))
        return page

    def note(self, listed: Sequence[ObjectKey], page: ListPage) -> int:
        """Note what a page tells of `listed`, and return how many of them, from the first, it told of."""
        etags = {info.key: info.etag for info in page.objects}
        seen = len(listed)
        if page.next_token is not None:
            seen = seen_count(listed, page.objects[-1].key) if page.objects else 0
        self.found.update((key, etags.get(key)) for key in listed[:seen])
        return seen

    async def _head(self, key: ObjectKey) -> None:
        async with self._heads:
            try:
                self.found[key] = etag_of(await self._bucket.look(RequestClass.DELETE, key))
            except NoSuchObject:
                self.found[key] = None
            except BackendError as exc:
                self.errors[key] = exc

    async def _list(self, listing: Listing) -> ListPage:
        return await list_page(self._bucket, listing.prefix, start_after=listing.start_after, limit=listing.limit)
