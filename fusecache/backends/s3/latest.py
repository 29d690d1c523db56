"""Our own latest objects, of which a HEAD would tell nothing that we have not sent or been answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgpack

from fusecache.backends.s3.headers import quoted
from fusecache.types import ETag, ObjectKey

_MAX_OBJECTS = 1 << 14
"""The least recent go first; each takes about 0.5 KiB."""
_MAX_AGE_S = 300.0
"""A job's renames follow its writes at once. What others do to an object and its etag does not show, they do later:
new metadata under the same bytes, a class of its lifecycle."""


class _Made(NamedTuple):
    etag: ETag
    length: int
    metadata: bytes
    placement: Mapping[str, Any]
    at_s: float


class Latest:
    """Remembers what was put where."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._made: OrderedDict[ObjectKey, _Made] = OrderedDict()

    def note(
        self, key: ObjectKey, etag: ETag, length: int, metadata: Mapping[str, str], placement: Mapping[str, Any]
    ) -> None:
        """An object was put, without any content headers. `placement`: its class and encryption, as far as known."""
        self._made.pop(key, None)
        self._made[key] = _Made(etag, length, msgpack.packb(dict(metadata)), placement, self._clock())
        if len(self._made) > _MAX_OBJECTS:
            self._made.popitem(last=False)

    def head(self, key: ObjectKey, etag: ETag) -> Mapping[str, Any] | None:
        """Return what a HEAD would, of exactly that version; None if it is better asked."""
        made = self._made.get(key)
        if made is None or made.etag != etag or self._clock() - made.at_s > _MAX_AGE_S:
            return None
        told = {"ETag": quoted(etag), "ContentLength": made.length, "Metadata": msgpack.unpackb(made.metadata)}
        return {**told, **made.placement}
