"""Frozen values that more than one folder speaks of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import NamedTuple, NewType

InodeNo = NewType("InodeNo", int)
HandleNo = NewType("HandleNo", int)
StoreNo = NewType("StoreNo", int)
Seq = NewType("Seq", int)
"""Monotonic over the life of a namespace: the order of acknowledgements."""

ObjectKey = NewType("ObjectKey", str)
"""A key within a store: what the bucket shows, less the mount's own prefix; no leading slash."""

ETag = NewType("ETag", str)
"""An opaque version of an object's bytes, without quotes."""

ROOT_INO = InodeNo(1)

Body = bytes | memoryview
"""Bytes that came; a view of those of another library, which are not copied."""


class Extent(NamedTuple):
    """A half-open range of bytes: `[offset, offset + length)`."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class LowerId(NamedTuple):
    """One version of one object: what a dentry points at in the lower."""

    store: StoreNo
    key: ObjectKey
    etag: ETag


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing or a HEAD tells of an object. Listings carry no `metadata` (None)."""

    key: ObjectKey
    size: int
    etag: ETag
    mtime_ns: int
    metadata: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of a listing, in the store's (bytewise) order; `next_token` None on the last page."""

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[ObjectKey, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can be relied on for, found out once; callers degrade, they do not guess."""

    conditional_read: bool = True
    """If-Match on GET, and on the source of a copy."""
    conditional_write: bool = True
    """If-Match / If-None-Match on PUT; before an upload in parts is completed we always look."""
    multipart_copy: bool = True
    """UploadPartCopy."""
    checksums: bool = True
    """What arrives otherwise than it was sent is refused."""
    directory_markers: bool = True
    """Zero-byte keys `dir/`: without them an empty directory exists only here."""
    max_key_bytes: int = 1024
    max_copy_bytes: int = 5 << 30
    """Above this a copy goes part by part."""
    min_part_bytes: int = 5 << 20


@dataclass(frozen=True, slots=True)
class Attributes:
    """POSIX attributes that travel with an object as metadata."""

    mode: int
    """Type and permission bits, as st_mode."""
    uid: int
    gid: int
    mtime_ns: int
    symlink_target: bytes | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] | None = None
    """Names, with their `user.`, and values, in the order of the names; None: it never had any."""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload in parts that was neither completed nor aborted."""

    key: ObjectKey | None
    """None: the store does not remember; the upload is certainly one of fusecache's."""
    upload_id: str
    started_ns: int


@dataclass(frozen=True, slots=True)
class DeleteOutcome:
    """What became of one key of a batch delete; `error` None means gone (or never there)."""

    key: ObjectKey
    error: Exception | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushProgress:
    """How far a drain of some part of the tree is. Its fields are the keys of `flush --json`."""

    files_done: int = 0
    bytes_done: int = 0
    files_left: int = 0
    """Not yet in the store, the stuck ones and those waiting for a close among them."""
    bytes_left: int = 0
    stuck: tuple[dict[str, object], ...] = ()
    """As in `stat` of a mount: path, error, attempts, since_s."""
    open_files: tuple[str, ...] = ()
    """Paths open for writing: what they hold is not covered until they are closed."""
    waiting_open: int = 0
    """Changes that wait for somebody's last close: deletes of what is read, commit markers of what is written."""
    files_waiting: int = 0
    """Closed files among these."""
    held_open: tuple[str, ...] = ()
    """What they wait for, the first hundred: paths, or keys of what was removed."""
    paused: int = 0
    """Changes below a paused path, or that wait for one: not waited for."""
    bytes_per_s: float = 0.0
    """In the last seconds, of what is waited for."""
    files_per_s: float = 0.0
    eta_s: float | None = None
    limited_by: str | None = None
    """In words, if nothing has got less in the last seconds: what holds it up."""
    elapsed_s: float = 0.0

    def as_dict(self) -> dict[str, object]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
