"""Writes where only what we know, or made ourselves, may be: what somebody else put there is kept aside.

Design §6: requests are conditional on the version that we believe is there. Where the store refuses, a HEAD
tells: our own object, whose answer was lost; or a foreign one, which is copied to `<key>.conflict-<etag>` first.
Unless a rule says that ours goes over it, or that theirs stays.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

import trio

from fusecache.backends.base import Backend
from fusecache.backends.metadata import UPLOAD_ID
from fusecache.backends.repeat import Repeats
from fusecache.config.rules import Rules
from fusecache.errors import (
    BackendUnavailable,
    NoSuchObject,
    PermanentBackendError,
    PreconditionFailed,
)
from fusecache.namespace.keys import MAX_NAME_BYTES, ancestors
from fusecache.namespace.tables import Tables
from fusecache.persist.copies import Copies
from fusecache.persist.signature import Signer, signed
from fusecache.types import ETag, LowerId, ObjectInfo, ObjectKey, StoreNo

log = logging.getLogger(__name__)

_ATTEMPTS = 5
"""Of one write while somebody else keeps writing the same key; then it is tried again later."""


class TheirsStays(PermanentBackendError):
    """Somebody else's version is where ours was to go, and has the right of way. Nothing was sent."""

    def __init__(self, found: ObjectInfo) -> None:
        super().__init__(f"{found.key} was changed by somebody else, whose version stays")
        self.found = found


class Condition(NamedTuple):
    """What a key must hold for a write to go ahead: this version, or nothing."""

    if_match: ETag | None

    @property
    def if_none_match(self) -> bool:
        return self.if_match is None


def known_versions(tables: Tables, store: StoreNo, key: ObjectKey) -> list[ETag]:
    """Return the versions of `key` that rows speak of, the likeliest first: read by a name, or to be deleted."""
    etags = [row.etag for row in tables.dentries.readers(store, key)]
    etags += [task.etag for task in reversed(tables.tasks.deletes_of(store, key))]
    return [etag for etag in etags if etag is not None]


class Overwriter:
    """Makes way for what we write. Holds nothing between calls."""

    def __init__(
        self,
        tables: Tables,
        backends: Mapping[StoreNo, Backend],
        slots: trio.CapacityLimiter,
        signer: Signer,
        rules: Rules,
        repeats: Repeats,
        copies: Copies,
    ) -> None:
        """`rules` say which version stays where somebody else's is in the way."""
        self._t = tables
        self._rules = rules
        self._copies = copies
        self._backends = backends
        self._slots = slots
        self._signer = signer
        self._repeats = repeats

    async def put(
        self,
        store: StoreNo,
        key: ObjectKey,
        signature: str,
        send: Callable[[Condition], Awaitable[ETag]],
        *,
        holds: Callable[[ObjectInfo], Awaitable[bool]],
        is_retry: bool,
    ) -> ETag:
        """Have `send` write an object of that signature to `key`, and return its etag.

        `is_retry`: an earlier request to the key, whose answer is not known, may have been carried out. If it has made
        the very object, and that one `holds` the bytes, that is all. A cancellation leaves the key as `send` does, and
        what was kept aside.
        Raises:
            TheirsStays: what is there is somebody else's, and is to stay.
            BackendError: of `send`, of the HEAD or of the copy. Transient, too, if the key keeps changing.
        """
        condition = Condition(next(iter(known_versions(self._t, store, key)), None))
        attempt: Callable[[], Awaitable[ETag]] = partial(self._send, send, condition)
        for _ in range(_ATTEMPTS):
            try:
                return await attempt()
            except PreconditionFailed:
                found = await self._glance(store, key)
            is_made = found is not None and is_retry and self._signer.is_ours(found) and signed(found) == signature
            if found is not None and is_made and await holds(found):
                return found.etag
            condition = await self._make_way(store, key, found, is_retry=is_retry, may_yield=True)
            attempt = partial(self._repeats.send, partial(self._send, send, condition))  # or the look was in vain
        raise BackendUnavailable(f"{key}: somebody else changes it faster than it can be replaced")

    async def _send(self, send: Callable[[Condition], Awaitable[ETag]], condition: Condition) -> ETag:
        async with self._slots:
            return await send(condition)

    async def look(self, store: StoreNo, key: ObjectKey) -> ObjectInfo | None:
        """Return what a HEAD finds, None if there is nothing."""
        try:
            async with self._slots:
                return await self._backends[store].head(key)
        except NoSuchObject:
            return None

    async def clear(self, store: StoreNo, key: ObjectKey, *, is_retry: bool, may_yield: bool) -> None:
        """Make way for a write that can have no condition: what `key` holds is kept aside, if it is not ours.

        Raises:
            TheirsStays: if it `may_yield`, and what is there is to stay.
        """
        await self._make_way(store, key, await self._glance(store, key), is_retry=is_retry, may_yield=may_yield)

    async def _make_way(
        self, store: StoreNo, key: ObjectKey, found: ObjectInfo | None, *, is_retry: bool, may_yield: bool
    ) -> Condition:
        if found is None:
            return Condition(None)
        is_unsure = is_retry or self._is_unsure(store, key)
        if found.etag not in known_versions(self._t, store, key) and not (is_unsure and self._signer.is_ours(found)):
            match self._rules.of([component.encode() for component in key.split("/")]).on_conflict:
                case "ours":
                    log.warning("%s was changed by somebody else and here: theirs is overwritten", key)
                case "theirs" if may_yield:
                    raise TheirsStays(found)
                case _:
                    await self._keep_aside(store, found)
        return Condition(found.etag)

    async def _glance(self, store: StoreNo, key: ObjectKey) -> ObjectInfo | None:
        async with self._slots:
            return await self._backends[store].glance(key)

    def _is_unsure(self, store: StoreNo, key: ObjectKey) -> bool:
        """Whether another task may have made an object there without knowing: one to be deleted, or a relocation's."""
        if any(task.unsure for task in self._t.tasks.deletes_of(store, key)):
            return True
        above = ancestors(key)
        moving = self._t.tasks.relocations_over(store, above) if above else []
        return any(task.key in above for task in moving)

    async def _keep_aside(self, store: StoreNo, found: ObjectInfo) -> None:
        backend, source = self._backends[store], LowerId(store, found.key, found.etag)
        for number in itertools.count(1):
            aside = aside_key(found, number, max_bytes=backend.capabilities.max_key_bytes)
            kept = await self._glance(store, aside)
            if kept is None:
                break
            if self._signer.is_ours(kept):
                return  # by an attempt whose answer was lost
        metadata = {UPLOAD_ID: self._signer.relocation(aside, found.size)}
        try:
            await self._copies.make(source, aside, size=found.size, metadata=metadata)
        except (NoSuchObject, PreconditionFailed):
            return  # it changed again: the write is refused, and we look again
        log.warning("%s was changed by somebody else and here: theirs is kept as %s", found.key, aside)


def aside_key(found: ObjectInfo, number: int, *, max_bytes: int) -> ObjectKey:
    """Return the `number`th key under which a foreign version may be kept: the name is shortened where it has to be."""
    above, slash, name = found.key.rpartition("/")
    suffix = f".conflict-{found.etag}" + (f"-{number}" if number > 1 else "")
    room = min(MAX_NAME_BYTES, max_bytes - len(f"{above}{slash}".encode())) - len(suffix.encode())
    return ObjectKey(f"{above}{slash}{name.encode()[: max(0, room)].decode(errors='ignore')}{suffix}")
