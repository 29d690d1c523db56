"""S3 and what speaks like it, by aiobotocore on trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from fusecache.backends.base import Source
from fusecache.backends.checks import check_copy, check_metadata, conditions
from fusecache.backends.options import S3Options
from fusecache.backends.pace import Refused, RequestClass, unheard
from fusecache.backends.s3.ahead import Room
from fusecache.backends.s3.body import UploadBody
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.checksums import Checksums, Sum, miswritten, put_together
from fusecache.backends.s3.client import Operation, S3Client, open_client
from fusecache.backends.s3.copy import S3Copier, complete
from fusecache.backends.s3.delete import S3Deleter
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.fastlane import fast_lane
from fusecache.backends.s3.headers import (
    etag_of,
    for_new_object,
    info_of_head,
    placement_of,
    quoted,
    write_condition,
)
from fusecache.backends.s3.latest import Latest
from fusecache.backends.s3.listing import list_page, list_parts, list_uploads, parts_of
from fusecache.backends.s3.probe import Probes
from fusecache.errors import (
    BackendUnavailable,
    NoSuchObject,
    PermanentBackendError,
    PreconditionFailed,
    StoreRefused,
)
from fusecache.types import Body, Capabilities, DeleteOutcome, ETag, Extent, ListPage, ObjectInfo, ObjectKey, OpenUpload

MAX_COPY_BYTES = 5 << 30
"""CopyObject's limit at AWS."""
READER_THREADS = 4
"""Local files read at a time for uploads: more would only compete for the same disk."""
ROOM_BYTES = 64 << 20
"""Of bodies that are read and not sent yet: with 16 parts of 16 MiB on their way two thirds are read once, the others
twice. 128 MiB spare nearly all of it, and would bring the daemon close to 300 MiB with 100,000 files that wait."""


@asynccontextmanager
async def open_s3(
    options: S3Options, *, max_copy_bytes: int = MAX_COPY_BYTES, refused: Refused = unheard
) -> AsyncIterator[S3Backend]:
    """Open a bucket; the connections close with the block. No request is made before the first call.

    `refused` is told of throttled requests that were sent again, and so raise nothing.

    Raises:
        ConfigError: the endpoint is no URL, or there is no such profile.
    """
    async with open_client(options) as client:
        yield S3Backend(client, options, max_copy_bytes=max_copy_bytes, refused=refused)


class S3Backend:
    """A bucket, or the part of it below a prefix, as a `Backend`."""

    def __init__(
        self,
        client: S3Client,
        options: S3Options,
        *,
        max_copy_bytes: int = MAX_COPY_BYTES,
        refused: Refused = unheard,
    ) -> None:
        self._client = client
        self._options = options
        self._bucket = S3Bucket(client, options, refused)
        self._probes = Probes(self._bucket, max_copy_bytes=max_copy_bytes)
        self._latest = Latest(trio.current_time)
        self._copier = S3Copier(self._bucket, self._probes, self._latest)
        self._deleter = S3Deleter(self._bucket)
        self._readers = trio.CapacityLimiter(READER_THREADS)
        self._room = Room(ROOM_BYTES)
        self._checksums = Checksums(self._readers, is_off=not options.checksums)
        self._fast = fast_lane(client, options, self._checksums) if options.fast_lane else None

    @property
    def url(self) -> str:
        return self._bucket.url

    @property
    def capabilities(self) -> Capabilities:
        return replace(self._probes.capabilities, checksums=self._checksums.are_kept)

    async def check(self) -> None:
        """List one key; if there is one, learn from it whether the server keeps conditions of reads."""
        page = await self.list("", delimiter=None, limit=1)
        for info in page.objects:
            try:
                await self._probes.read_conditions(info.key)
            except PermanentBackendError:
                return  # listed, but not ours to read: the store itself is fine

    async def get(self, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> Body:
        if not extent.length:  # HTTP has no name for an empty range
            self._check_version(key, await self._bucket.head(key), if_match)
            return b""
        what = self._bucket.what("GET", key)
        if self._fast is not None and self._fast.takes_get(key):
            body = await self._fast.get(what, key, extent, if_match=if_match)
            if body is not None:
                return body
        args = self._bucket.args(
            key,
            Range=f"bytes={extent.offset}-{extent.end - 1}",
            IfMatch=None if if_match is None else quoted(if_match),
        )
        with translated(what):
            answer = await self._client.get_object(**args)
            async with answer["Body"] as body:
                self._check_version(key, answer, if_match)
                _check_range(key, answer, extent)
                data: bytes = await body.read()
        if len(data) != extent.length:
            raise BackendUnavailable(f"{key}: the answer ended after {len(data)} of {extent.length} bytes")
        return data

    async def head(self, key: ObjectKey) -> ObjectInfo:
        return info_of_head(key, await self._bucket.head(key))

    async def glance(self, key: ObjectKey) -> ObjectInfo | None:
        try:
            return info_of_head(key, await self._bucket.glance(key))
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
        return await list_page(
            self._bucket, prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit
        )

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
        put = partial(self._put, key, source, metadata, if_match, if_none_match)
        if (if_match is not None or if_none_match) and await self._probes.check_put(key, if_match, if_none_match):
            return await self._bucket.send(RequestClass.WRITE, key, put)
        return await put()

    async def _put(
        self,
        key: ObjectKey,
        source: Source,
        metadata: Mapping[str, str],
        if_match: ETag | None,
        if_none_match: bool,
    ) -> ETag:
        if self._fast is not None and self._fast.takes(key, source):
            etag = await self._fast.put(
                self._bucket.what("PUT", key), key, source,
                metadata=metadata, if_match=if_match, if_none_match=if_none_match,
            )  # fmt: skip
            if etag is not None:
                self._note(key, source, metadata, {"ETag": quoted(etag)})
                return etag
        wishes = for_new_object(self._options)
        args = self._bucket.args(key, Metadata=metadata, **write_condition(if_match, if_none_match), **wishes)
        if key.endswith("/"):
            return await self._put_marker(key, source, args)
        answer = await self._send(key, source, args)
        self._note(key, source, metadata, answer)
        return etag_of(answer)

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
        return await self._copier.copy(source, target, if_match=if_match, metadata=metadata)

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        return await self._deleter.delete(conditions(keys, if_match))

    async def start_multipart(self, key: ObjectKey, *, metadata: Mapping[str, str]) -> str:
        check_metadata(metadata)
        args = self._bucket.args(key, Metadata=metadata, **for_new_object(self._options))
        return await self._start(self._bucket.what("START upload of", key), args)

    async def start_copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> str:
        args = await self._copier.of_upload(source, target, if_match=if_match, metadata=metadata)
        return await self._start(self._bucket.what("START copy to", target), args)

    async def _start(self, what: str, args: Mapping[str, Any]) -> str:
        sums = self._checksums.of_upload()
        try:
            with translated(what):
                answer = await self._client.create_multipart_upload(**args, **sums)
        except StoreRefused:
            if not sums or not self._checksums.are_unsure:
                raise
            with translated(what):
                answer = await self._client.create_multipart_upload(**args)
            self._checksums.are_refused()
        return str(answer["UploadId"])

    async def put_part(self, key: ObjectKey, upload_id: str, number: int, source: Source) -> ETag:
        what = self._bucket.what(f"PUT part {number} of", key)
        args = self._bucket.args(key, UploadId=upload_id, PartNumber=number)
        answer, sent, _ = await self._sent(what, self._client.upload_part, source, args)
        self._checksums.sent(upload_id, number, sent)
        return etag_of(answer)

    async def put_part_copy(
        self, key: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        return await self._copier.copy_part(key, upload_id, number, source, extent, if_match=if_match)

    async def complete_multipart(
        self,
        key: ObjectKey,
        upload_id: str,
        etags: Sequence[ETag],
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        # Not every server that keeps conditions of PUTs keeps these (moto ignores If-Match), and beside
        # a whole upload a HEAD costs nothing.
        await self._probes.check_write(key, if_match, if_none_match)
        what, parts = (
            self._bucket.what("COMPLETE upload of", key),
            await self._sums_of_parts(key, upload_id, len(etags)),
        )
        whole = put_together(parts)
        more: dict[str, Any] = {**write_condition(if_match, if_none_match)}
        if whole is not None and whole.crc is not None:
            more |= {**whole.args(), "ChecksumType": "FULL_OBJECT", "MpuObjectSize": whole.size}
        told = [part.args() for part in parts] if whole is not None and whole.crc is not None else None
        etag, answer = await complete(self._bucket, key, upload_id, etags, more, kind=RequestClass.WRITE, sums=told)
        self._checksums.forget(upload_id)
        settled = await self._probes.settled_etag(key, etag)
        if whole is not None and not self._checksums.has_completed(what, whole, etags, answer):
            await self._compare_size(what, key, settled, whole.size)
        return settled

    async def _sums_of_parts(self, key: ObjectKey, upload_id: str, count: int) -> Sequence[Sum]:
        """Return the checksums of all parts, those of an earlier process as the store tells them; else none."""
        if self._checksums.asks_for_parts(upload_id, count):
            told = await self._bucket.ask(RequestClass.WRITE, key, lambda: parts_of(self._bucket, key, upload_id))
            self._checksums.listed(upload_id, told)
        return self._checksums.of_parts(upload_id, count)

    async def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        self._checksums.forget(upload_id)
        try:
            with translated(self._bucket.what("ABORT upload of", key)):
                await self._client.abort_multipart_upload(**self._bucket.args(key, UploadId=upload_id))
        except NoSuchObject:
            return  # aborted or completed before

    async def list_uploads(self, key: ObjectKey | None = None) -> Sequence[OpenUpload]:
        return await list_uploads(self._bucket, key)

    async def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[int]:
        return await list_parts(self._bucket, key, upload_id)

    async def aclose(self) -> None:
        await self._client.close()

    def _note(self, key: ObjectKey, source: Source, metadata: Mapping[str, str], answer: Mapping[str, Any]) -> None:
        placement = {**for_new_object(self._options), **placement_of(answer)}
        self._latest.note(key, etag_of(answer), source.length, metadata, placement)

    async def _send(self, key: ObjectKey, source: Source, args: Mapping[str, Any]) -> dict[str, Any]:
        what = self._bucket.what("PUT", key)
        try:
            answer, sent, is_told = await self._sent(what, self._client.put_object, source, args)
        except NoSuchObject as exc:  # what a PUT with If-Match says of an absent key
            raise PreconditionFailed(str(exc)) from exc
        if not is_told and sent.size:
            with suppress(PermanentBackendError):  # somebody else's by now, or not ours to read
                await self._compare_size(what, key, etag_of(answer), sent.size)
        return answer

    async def _compare_size(self, what: str, key: ObjectKey, etag: ETag, size: int) -> None:
        """Ask for what is left to compare where no answer tells of the bytes."""
        found = (await self._bucket.look(RequestClass.WRITE, key, if_match=etag))["ContentLength"]
        if found != size:
            raise miswritten(what, f"the store has {found} bytes, {size} were sent")

    async def _sent(
        self, what: str, operation: Operation, source: Source, args: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Sum, bool]:
        """Send a body with its checksum, and compare what the answer says of it; the last: whether it says anything.

        A server that knows no checksums may refuse them: it is asked again without one, once.
        """
        with self._room.body(source) as body:
            is_unsure, sent = self._checksums.are_unsure, await self._checksums.of(body)
            try:
                with translated(what):
                    answer = await operation(Body=UploadBody(body, self._readers), **sent.args(), **args)
            except StoreRefused:
                if not is_unsure:
                    raise
                sent = Sum(body.length)
                with translated(what):
                    answer = await operation(Body=UploadBody(body, self._readers), **args)
                self._checksums.are_refused()
            return answer, sent, await self._checksums.compare(what, body, sent, answer)

    async def _put_marker(self, key: ObjectKey, source: Source, args: Mapping[str, Any]) -> ETag:
        if not await self._probes.marker_stands_alone(key):
            return etag_of(await self._send(key, source, args))
        etag = etag_of(await self._bucket.send(RequestClass.WRITE, key, partial(self._send, key, source, args)))
        await self._probes.check_marker(key)
        return etag

    def _check_version(self, key: ObjectKey, answer: Mapping[str, Any], if_match: ETag | None) -> None:
        """See for ourselves that the answer is of the version asked for: not every server does."""
        if if_match is not None and etag_of(answer) != if_match:
            self._probes.read_conditions_are_ignored()
            raise PreconditionFailed(f"{key}: holds {etag_of(answer)}, {if_match} was asked for")


def _check_range(key: ObjectKey, answer: Mapping[str, Any], extent: Extent) -> None:
    """Refuse, before it is read, a body that cannot be the extent: short, the whole object, or of other bytes."""
    length, told = answer.get("ContentLength", extent.length), str(answer.get("ContentRange") or "no range")
    is_elsewhere = told.startswith("bytes ") and not told.startswith(f"bytes {extent.offset}-{extent.end - 1}/")
    if length != extent.length or is_elsewhere:
        raise StoreRefused(f"{key}: bytes {extent.offset}-{extent.end - 1} were asked for, {length} came ({told})")
