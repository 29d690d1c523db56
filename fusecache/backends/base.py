"""What a store promises: keys and whole, immutable bodies.

Keys are relative to the store's own prefix and are text; what cannot be text is escaped
by `namespace.keys` before it gets here. Every call may be repeated. Nothing of a client library
leaves an adapter: errors are those of `fusecache.errors`. None retries on its own, but for one of several requests
of a call (`backends/repeat.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from fusecache.types import (
    Body,
    Capabilities,
    DeleteOutcome,
    ETag,
    Extent,
    ListPage,
    ObjectInfo,
    ObjectKey,
    OpenUpload,
)

CHUNK_BYTES = 1 << 20
"""How much of a body is in memory at a time."""


class Source(Protocol):
    """Bytes to be sent: a range of a file, read as they go out. May be iterated more than once."""

    @property
    def length(self) -> int:
        """Exactly how many bytes an iteration yields."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes from the start, at most `CHUNK_BYTES` at a time."""
        ...


class Backend(Protocol):
    """An object store. Reading methods raise `NoSuchObject` for an absent key.

    All may raise `TransientBackendError` (ask again; it may or may not have happened) and
    `PermanentBackendError` (somebody must act). A cancellation leaves a write in either state.
    """

    @property
    def url(self) -> str:
        """The store as the user named it, `s3://bucket/prefix`."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def check(self) -> None:
        """Make one request that shows that the store exists and may be listed.

        Raises:
            NoSuchStore, AccessDenied: with a message a person can act on.
        """
        ...

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> Body:
        """Return exactly the bytes of `extent`; the object must reach to its end.

        Raises:
            PreconditionFailed: the key holds another version than `if_match`.
        """
        ...

    async def head(self, key: ObjectKey) -> ObjectInfo:
        """Return what the store knows of `key`, metadata included (names lower-case)."""
        ...

    async def glance(self, key: ObjectKey) -> ObjectInfo | None:
        """As `head`, for whoever writes to `key` next; None: nothing was found, maybe as the store itself is gone."""
        ...

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        """Return a page of at most `limit` keys that begin with `prefix`, bytewise ordered.

        With `delimiter` "/", keys that have it after the prefix appear once, as a prefix ending in "/".
        `token` continues a listing; `start_after` begins one after a key.
        """
        ...

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        """Store `source` whole under `key`, replacing what was there, and return its etag.

        Raises:
            PreconditionFailed: `if_match` named another version, or `if_none_match` and there is one.
        """
        ...

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        """Copy inside the store at most `capabilities.max_copy_bytes`, and return the target's etag.

        `metadata` is laid over the source's; source and target may be the same key if there is some. What else
        the source has (content type, tags, class, encryption) is kept.
        Raises:
            NoSuchObject: the source is gone. PreconditionFailed: it is another version than `if_match`.
        """
        ...

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        """Delete up to 1000 keys; an absent key is a success. One outcome a key, in order.

        `if_match` has one etag a key: a key that holds another version is kept, and its outcome's error is
        `PreconditionFailed`. None, for a key or for all: whatever is there goes.
        """
        ...

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        """Begin an upload in parts and return its id."""
        ...

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        """Begin an upload in parts to `target`, whose object gets what `copy` gives one beside the bytes.

        Those come by `put_part_copy`.
        Raises:
            NoSuchObject: the source is gone. PreconditionFailed: it is another version than `if_match`.
        """
        ...

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        """Send part `number` (from 1); sending one again replaces it."""
        ...

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        """Have the store copy `extent` of `source`, at most 5 GiB, as part `number`, and return the part's etag.

        Raises:
            NoSuchObject: the upload is gone.
            PreconditionFailed: the source is gone, or another version than `if_match`.
            StoreRefused: this store cannot do that; then `capabilities.multipart_copy` says so from now on.
        """
        ...

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        """Make the object of parts 1 … n appear under `key`, at once and whole.

        Raises:
            PreconditionFailed: as `put`. The parts may still be there: abort the upload.
        """
        ...

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        """Forget the parts; an unknown upload is a success."""
        ...

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        """Return the uploads in parts that are neither completed nor aborted, whoever began them: to `key`, or all.

        Each may be given to `abort_multipart`.
        """
        ...

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        """Return the numbers of the parts that an upload has so far; of many only the first thousand.

        Raises:
            NoSuchObject: it was completed or aborted.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
