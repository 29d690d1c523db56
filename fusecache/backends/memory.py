"""A store in memory that passes the contract suite: for tests of everything above the backends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from fusecache.backends.base import Source
from fusecache.backends.checks import check_copy, check_metadata, conditions
from fusecache.backends.paging import fold, page_of
from fusecache.errors import NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload


@dataclass(frozen=True, slots=True)
class _Stored:
    data: bytes
    info: ObjectInfo


@dataclass(slots=True)
class _Upload:
    key: ObjectKey
    started_ns: int
    metadata: Mapping[str, str]
    parts: dict[int, tuple[ETag, bytes]] = field(default_factory=dict)


class MemoryBackend:
    """Keys to bytes in a dict. Each call is one step: it happens whole, after one await point."""

    def __init__(
        self,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        min_part_bytes: int = 5 << 20,
        max_copy_bytes: int = 5 << 30,
    ) -> None:
        self._wall_ns = wall_ns
        self._objects: dict[ObjectKey, _Stored] = {}
        self._uploads: dict[str, _Upload] = {}
        self._upload_count = 0
        self._capabilities = Capabilities(min_part_bytes=min_part_bytes, max_copy_bytes=max_copy_bytes)

    @property
    def url(self) -> str:
        return "memory://"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def content(self, key: str) -> bytes:
        """Return what is stored under `key`, for assertions. Raises KeyError."""
        return self._objects[ObjectKey(key)].data

    def keys(self) -> list[str]:
        """Return every key, sorted, for assertions."""
        return sorted(self._objects)

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        await trio.lowlevel.checkpoint()
        stored = self._stored(key, if_match)
        if extent.end > len(stored.data):
            raise StoreRefused(f"{key}: has {len(stored.data)} bytes, {extent.end} were asked for")
        return stored.data[extent.offset : extent.end]

    async def head(self, key: ObjectKey) -> ObjectInfo:
        await trio.lowlevel.checkpoint()
        return self._stored(key, None).info

    async def glance(self, key: ObjectKey) -> ObjectInfo | None:
        try:
            return await self.head(key)
        except NoSuchObject:
            return None

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        await trio.lowlevel.checkpoint()
        infos = (_without_metadata(self._objects[key].info) for key in sorted(self._objects))
        return page_of(fold(infos, prefix, delimiter), token=token, start_after=start_after, limit=limit)

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        check_metadata(metadata)
        data = b"".join(source)
        await trio.lowlevel.checkpoint()
        self._check_condition(key, if_match, if_none_match)
        return self._store(key, data, metadata)

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        check_copy(source, target, metadata)
        await trio.lowlevel.checkpoint()
        stored = self._stored(source, if_match)
        return self._store(target, stored.data, {**(stored.info.metadata or {}), **(metadata or {})})

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        await trio.lowlevel.checkpoint()
        return [DeleteOutcome(key, self._delete(key, etag)) for key, etag in conditions(keys, if_match)]

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        check_metadata(metadata)
        await trio.lowlevel.checkpoint()
        self._upload_count += 1
        upload_id = f"upload-{self._upload_count}"
        self._uploads[upload_id] = _Upload(key, self._wall_ns(), dict(metadata))
        return upload_id

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        await trio.lowlevel.checkpoint()
        kept = self._stored(source, if_match).info.metadata or {}
        return await self.start_multipart(target, metadata={**kept, **(metadata or {})})

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        data = b"".join(source)
        await trio.lowlevel.checkpoint()
        etag = _etag(data)
        self._upload(upload_id).parts[number] = (etag, data)
        return etag

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        await trio.lowlevel.checkpoint()
        upload, stored = self._upload(upload_id), self._objects.get(source)
        if stored is None or stored.info.etag != if_match:
            raise PreconditionFailed(f"{source}: no longer {if_match}")
        data = stored.data[extent.offset : extent.end]
        if len(data) < extent.length:
            raise StoreRefused(f"{source}: has {len(stored.data)} bytes, {extent.end} were to be copied")
        upload.parts[number] = (_etag(data), data)
        return _etag(data)

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        await trio.lowlevel.checkpoint()
        upload = self._upload(upload_id)
        parts = [upload.parts.get(number) for number in range(1, len(etags) + 1)]
        if [part and part[0] for part in parts] != list(etags):
            raise StoreRefused(f"{key}: a part is missing or another than the one named")
        bodies = [part[1] for part in parts if part]
        if any(len(body) < self._capabilities.min_part_bytes for body in bodies[:-1]):
            raise StoreRefused(f"{key}: a part but the last is too small")
        self._check_condition(key, if_match, if_none_match)
        del self._uploads[upload_id]
        return self._store(key, b"".join(bodies), upload.metadata)

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._uploads.pop(upload_id, None)

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        await trio.lowlevel.checkpoint()
        return [
            OpenUpload(upload.key, upload_id, upload.started_ns)
            for upload_id, upload in self._uploads.items()
            if key in (None, upload.key)
        ]

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        await trio.lowlevel.checkpoint()
        return sorted(self._upload(upload_id).parts)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def _stored(self, key: ObjectKey, if_match: ETag | None) -> _Stored:
        if key not in self._objects:
            raise NoSuchObject(key)
        self._check_condition(key, if_match, False)
        return self._objects[key]

    def _check_condition(self, key: ObjectKey, if_match: ETag | None, if_none_match: bool) -> None:
        found = self._objects.get(key)
        if if_none_match and found:
            raise PreconditionFailed(f"{key}: exists")
        if if_match is not None and (found is None or found.info.etag != if_match):
            raise PreconditionFailed(f"{key}: no longer {if_match}")

    def _delete(self, key: ObjectKey, if_match: ETag | None) -> PreconditionFailed | None:
        found = self._objects.get(key)
        if found is not None and if_match is not None and found.info.etag != if_match:
            return PreconditionFailed(f"{key}: no longer {if_match}")
        self._objects.pop(key, None)
        return None

    def _store(self, key: ObjectKey, data: bytes, metadata: Mapping[str, str]) -> ETag:
        named = {name.lower(): value for name, value in metadata.items()}
        info = ObjectInfo(key, len(data), _etag(data), self._wall_ns(), named)
        self._objects[key] = _Stored(data, info)
        return info.etag

    def _upload(self, upload_id: str) -> _Upload:
        if upload_id not in self._uploads:
            raise NoSuchObject(f"upload {upload_id} is gone")
        return self._uploads[upload_id]


def _etag(data: bytes) -> ETag:
    return ETag(hashlib.md5(data, usedforsecurity=False).hexdigest())


def _without_metadata(info: ObjectInfo) -> ObjectInfo:
    return ObjectInfo(info.key, info.size, info.etag, info.mtime_ns)
