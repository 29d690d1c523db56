"""A local directory as a store, `file:///dir`: the simplest lower, and what tests use."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from fusecache.backends.base import Source
from fusecache.backends.checks import check_copy, check_metadata, conditions
from fusecache.backends.local.attributes import read_metadata
from fusecache.backends.local.errors import translated
from fusecache.backends.local.staging import Staging
from fusecache.backends.local.tree import LocalTree, etag_of
from fusecache.backends.local.uploads import LocalUploads
from fusecache.backends.local.writer import Fill, LocalWriter, fill_from_files, fill_from_source
from fusecache.backends.paging import beyond_key, fold, page_of
from fusecache.errors import BackendError, NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
"""Blocking calls at a time: one disk serves them all."""


@asynccontextmanager
async def open_local(root: Path, *, wall_ns: Callable[[], int] = time.time_ns) -> AsyncIterator[LocalBackend]:
    """Open a directory as a store; `check` tells whether it is there."""
    yield LocalBackend(root, threads=trio.CapacityLimiter(THREADS), wall_ns=wall_ns)


class LocalBackend:
    """Files below `root` as objects (see `local.tree` for how). Everything runs in threads of `threads`.

    A cancelled call is carried out to its end first: a thread cannot be stopped.
    """

    def __init__(self, root: Path, *, threads: trio.CapacityLimiter, wall_ns: Callable[[], int]) -> None:
        self._tree = LocalTree(root)
        staging = Staging(root, wall_ns)
        self._writer = LocalWriter(self._tree, staging, wall_ns)
        self._uploads = LocalUploads(self._tree, self._writer, staging)
        self._threads = threads

    @property
    def url(self) -> str:
        return f"file://{self._tree.root}"

    @property
    def capabilities(self) -> Capabilities:
        max_key_bytes = 4096 - len(os.fsencode(self._tree.root)) - 2
        return Capabilities(max_key_bytes=max_key_bytes, max_copy_bytes=1 << 63, min_part_bytes=1)

    async def check(self) -> None:
        await self._run("CHECK", self._tree.check)

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> bytes:
        return await self._run(f"GET {key}", self._read, key, extent, if_match)

    async def head(self, key: ObjectKey) -> ObjectInfo:
        return await self._run(f"HEAD {key}", lambda: self._tree.info(key, metadata=True))

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
        return await self._run(f"LIST {prefix}", self._list, prefix, delimiter, token, start_after, limit)

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
        if key.endswith("/") and source.length:
            raise StoreRefused(f"{key}: a directory has no body here")
        fill = fill_from_source(source)
        return await self._run(f"PUT {key}", self._writer.put, key, fill, metadata, if_match, if_none_match)

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
        return await self._run(f"COPY {source} to {target}", self._copy, source, target, if_match, metadata)

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        wanted = conditions(keys, if_match)
        return await self._run("DELETE", lambda: [DeleteOutcome(key, self._delete(key, etag)) for key, etag in wanted])

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        check_metadata(metadata)
        return await self._run(f"START upload of {key}", self._uploads.start, key, metadata)

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        what = f"START copy of {source} to {target}"
        kept = await self._run(what, self._kept, source, if_match, metadata)
        return await self._run(what, self._uploads.start, target, kept)

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        return await self._run(f"PUT part of {key}", self._uploads.put_part, upload_id, number, source)

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        what = f"COPY part of {source} to {key}"
        return await self._run(what, self._uploads.copy_part, upload_id, number, source, extent, if_match)

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        return await self._run(
            f"COMPLETE {key}", self._uploads.complete, key, upload_id, etags, if_match, if_none_match
        )

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        await self._run(f"ABORT {key}", self._uploads.abort, upload_id)

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        return await self._run("LIST uploads", self._uploads.list, key)

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        return await self._run(f"LIST parts of {key}", self._uploads.parts, upload_id)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _run(self, what: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def translating() -> T:
            with translated(f"{what} in {self.url}"), self._tree.rooted():
                return call(*args, **kwargs)

        return await trio.to_thread.run_sync(translating, limiter=self._threads)

    def _read(self, key: ObjectKey, extent: Extent, if_match: ETag | None) -> bytes:
        info = self._tree.info(key, metadata=False)
        if if_match is not None and info.etag != if_match:
            raise PreconditionFailed(f"{key}: holds {info.etag}, {if_match} was asked for")
        if key.endswith("/"):
            return b""
        with self._tree.path(key).open("rb") as file:
            # What was opened may be a later version than what was looked at.
            if if_match is not None and etag_of(os.fstat(file.fileno())) != if_match:
                raise PreconditionFailed(f"{key}: replaced just now")
            data = os.pread(file.fileno(), extent.length, extent.offset)
        if len(data) != extent.length:
            raise StoreRefused(f"{key}: has only {len(data)} of the {extent.length} bytes asked for")
        return data

    def _list(
        self, prefix: str, delimiter: str | None, token: str | None, start_after: str | None, limit: int
    ) -> ListPage:
        beyond = beyond_key(token, start_after)
        if delimiter == "/":
            entries = self._tree.children(prefix, beyond)
            return page_of(entries, token=token, start_after=start_after, limit=limit)
        objects = self._tree.walk(prefix, beyond)
        return page_of(fold(objects, prefix, delimiter), token=token, start_after=start_after, limit=limit)

    def _copy(
        self, source: ObjectKey, target: ObjectKey, if_match: ETag | None, metadata: Mapping[str, str] | None
    ) -> ETag:
        kept = self._kept(source, if_match, metadata)
        return self._writer.put(target, self._fill_copy(source), kept, None, False)

    def _kept(self, source: ObjectKey, if_match: ETag | None, metadata: Mapping[str, str] | None) -> Mapping[str, str]:
        """What a copy carries of what that version of the source does, and besides."""
        info = self._tree.info(source, metadata=True)
        if if_match is not None and info.etag != if_match:
            raise PreconditionFailed(f"{source}: holds {info.etag}, {if_match} was to be copied")
        return {**read_metadata(self._tree.path(source)), **(metadata or {})}

    def _fill_copy(self, source: ObjectKey) -> Fill:
        return fill_from_files([] if source.endswith("/") else [self._tree.path(source)])

    def _delete(self, key: ObjectKey, if_match: ETag | None) -> BackendError | None:
        try:
            with translated(f"DELETE {key} in {self.url}"):
                self._writer.delete(key, if_match)
        except NoSuchObject:
            return None
        except BackendError as exc:
            return exc
        return None
