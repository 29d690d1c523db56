"""Copies inside a bucket that lose nothing of the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fusecache.backends.pace import RequestClass
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.headers import content_of, etag_of, metadata_of, placement_of, quoted
from fusecache.backends.s3.latest import Latest
from fusecache.backends.s3.probe import Probes, Trust
from fusecache.errors import NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import ETag, Extent, ObjectKey


class S3Copier:
    """CopyObject, and UploadPartCopy for what is larger than that takes."""

    def __init__(self, bucket: S3Bucket, probes: Probes, latest: Latest) -> None:
        self._bucket = bucket
        self._probes = probes
        self._latest = latest

    async def copy(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag | None, metadata: Mapping[str, str] | None
    ) -> ETag:
        """Copy as `Backend.copy`; content headers, tags, class and encryption are the source's.

        A HEAD comes first: S3 gives a copy the default class and, with new metadata, no content type;
        and a server that ignores the condition on a copy's source (moto) is caught by it mostly.
        Of what we have just put it would tell nothing, and is spared if the server keeps the condition.
        """
        head = await self._known(source, if_match) or await self._bucket.look(RequestClass.COPY, source)
        if if_match is not None and etag_of(head) != if_match:
            raise PreconditionFailed(f"{source}: holds {etag_of(head)}, {if_match} was to be copied")
        if source.endswith("/") and not head["ContentLength"]:
            return await self._marker(target, head, metadata)
        return await self._at_once(source, target, head, if_match, metadata)

    async def _known(self, source: ObjectKey, if_match: ETag | None) -> Mapping[str, Any] | None:
        head = self._latest.head(source, if_match) if if_match is not None else None
        is_kept = head is not None and await self._probes.copy_conditions(source) is Trust.KEPT
        return head if is_kept else None

    async def copy_part(
        self, target: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, *, if_match: ETag
    ) -> ETag:
        """Copy as `Backend.put_part_copy`; a HEAD comes first where the server is not known to keep the condition."""
        if self._probes.known_copy_conditions is not Trust.KEPT:  # to find out, all of a large object might be copied
            await self._check_version(source, if_match)
        try:
            return await self._bucket.ask(
                RequestClass.COPY,
                target,
                lambda: self._copy_part(target, upload_id, number, source, extent, if_match),
            )
        except NoSuchObject:
            await self._check_version(source, if_match)  # else it is the upload that is gone
            raise

    async def _check_version(self, source: ObjectKey, if_match: ETag) -> None:
        try:
            found = etag_of(await self._bucket.look(RequestClass.COPY, source))
        except NoSuchObject as exc:
            raise PreconditionFailed(f"{source}: gone, {if_match} was to be copied") from exc
        if found != if_match:
            raise PreconditionFailed(f"{source}: holds {found}, {if_match} was to be copied")

    async def _marker(self, target: ObjectKey, head: Mapping[str, Any], metadata: Mapping[str, str] | None) -> ETag:
        """Put the marker anew: versitygw cannot copy one, and there is nothing in it to copy."""
        merged = {**metadata_of(head), **(metadata or {})}
        args = self._bucket.args(target, Body=b"", Metadata=merged, **content_of(head), **placement_of(head))

        async def put() -> ETag:
            with translated(self._bucket.what("COPY", target)):
                return etag_of(await self._bucket.client.put_object(**args))

        return await self._bucket.ask(RequestClass.COPY, target, put)

    async def _at_once(
        self,
        source: ObjectKey,
        target: ObjectKey,
        head: Mapping[str, Any],
        if_match: ETag | None,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        kept: dict[str, Any] = {"MetadataDirective": "COPY"}
        if metadata is not None:
            kept = {"MetadataDirective": "REPLACE", "Metadata": {**metadata_of(head), **metadata}, **content_of(head)}
        args = self._bucket.args(
            target,
            CopySource=self._bucket.copy_source(source),
            CopySourceIfMatch=None if if_match is None else quoted(if_match),
            **kept,
            **placement_of(head),
        )

        async def copy() -> dict[str, Any]:
            with translated(self._bucket.what("COPY", source)):
                return await self._bucket.client.copy_object(**args)

        again = self._bucket.ask if source != target else self._bucket.send
        answer = await again(RequestClass.COPY, target, copy)
        # rclone does not tell the etag of an object copied onto itself.
        told = etag_of(answer.get("CopyObjectResult", {}))
        return told or etag_of(await self._bucket.look(RequestClass.COPY, target))

    async def of_upload(
        self, source: ObjectKey, target: ObjectKey, *, if_match: ETag, metadata: Mapping[str, str] | None
    ) -> dict[str, Any]:
        """Return what begins an upload to `target` whose object has all that `source` has beside its bytes."""
        head = await self._bucket.look(RequestClass.COPY, source)
        if etag_of(head) != if_match:
            raise PreconditionFailed(f"{source}: holds {etag_of(head)}, {if_match} was to be copied")
        return self._bucket.args(
            target,
            Metadata={**metadata_of(head), **(metadata or {})},
            Tagging=await self._tags(source, head),
            **content_of(head),
            **placement_of(head),
        )

    async def _tags(self, source: ObjectKey, head: Mapping[str, Any]) -> str | None:
        if not head.get("TagCount"):
            return None

        async def get() -> dict[str, Any]:
            with translated(self._bucket.what("GET tags of", source)):
                return await self._bucket.client.get_object_tagging(**self._bucket.args(source))

        tags = await self._bucket.ask(RequestClass.COPY, source, get)
        return urlencode({tag["Key"]: tag["Value"] for tag in tags["TagSet"]})

    async def _copy_part(
        self, target: ObjectKey, upload_id: str, number: int, source: ObjectKey, extent: Extent, if_match: ETag
    ) -> ETag:
        args = self._bucket.args(
            target,
            UploadId=upload_id,
            PartNumber=number,
            CopySource=self._bucket.copy_source(source),
            CopySourceIfMatch=quoted(if_match),
            CopySourceRange=f"bytes={extent.offset}-{extent.end - 1}",
        )
        with translated(self._bucket.what("COPY part of", source)):
            answer = await self._bucket.client.upload_part_copy(**args)
        if etag := etag_of(answer.get("CopyPartResult", {})):
            return etag
        # rclone takes the request for an upload of an empty part, and says nothing of an etag.
        self._probes.part_copies_are_ignored()
        raise StoreRefused(f"{self._bucket.url}: this server cannot copy parts of objects; {source} is too large")


async def complete(
    bucket: S3Bucket,
    key: ObjectKey,
    upload_id: str,
    etags: Sequence[ETag],
    more: Mapping[str, Any],
    *,
    kind: RequestClass,
    sums: Sequence[Mapping[str, str]] | None = None,
) -> tuple[ETag, dict[str, Any]]:
    """Make the object of parts 1 … n, of such checksums, appear; return its etag and the answer."""
    told = sums or [{}] * len(etags)
    parts = [{"ETag": quoted(etag), "PartNumber": n, **told[n - 1]} for n, etag in enumerate(etags, start=1)]
    args = bucket.args(key, UploadId=upload_id, MultipartUpload={"Parts": parts}, **more)

    async def once() -> dict[str, Any]:
        with translated(bucket.what("COMPLETE upload of", key)):
            return await bucket.client.complete_multipart_upload(**args)

    answer = await bucket.send(kind, key, once)
    return etag_of(answer) or etag_of(await bucket.look(kind, key)), answer
