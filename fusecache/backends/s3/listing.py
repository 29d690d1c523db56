"""What is in a bucket: one page of its keys, and uploads that have not come to their end."""

from __future__ import annotations

from typing import Any

from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.headers import info_of_entry, mtime_ns_of
from fusecache.errors import NoSuchObject
from fusecache.types import ListPage, ObjectKey, OpenUpload


async def list_page(
    bucket: S3Bucket,
    prefix: str,
    *,
    delimiter: str | None = None,
    token: str | None = None,
    start_after: str | None = None,
    limit: int,
) -> ListPage:
    """List as `Backend.list`."""
    args = bucket.args(
        Prefix=bucket.full_key(prefix),
        Delimiter=delimiter,
        MaxKeys=limit,
        ContinuationToken=token,
        StartAfter=None if start_after is None else bucket.full_key(start_after),
    )
    # botocore asks for encoding-type=url and decodes the answer itself.
    with translated(bucket.what("LIST", prefix)):
        answer = await bucket.client.list_objects_v2(**args)
    objects = [info_of_entry(bucket.relative_key(entry["Key"]), entry) for entry in answer.get("Contents", [])]
    prefixes = [bucket.relative_key(entry["Prefix"]) for entry in answer.get("CommonPrefixes", [])]
    return ListPage(tuple(objects), tuple(prefixes), answer.get("NextContinuationToken"))


async def list_uploads(bucket: S3Bucket, only: ObjectKey | None) -> list[OpenUpload]:
    """List as `Backend.list_uploads`."""
    found: list[OpenUpload] = []
    after: dict[str, Any] = {}
    while True:
        args = bucket.args(Prefix=bucket.full_key(only or ""), **after)
        try:
            with translated(bucket.what("LIST uploads")):
                answer = await bucket.client.list_multipart_uploads(**args)
        except NoSuchObject:  # as rclone says that there are none
            return found
        for upload in answer.get("Uploads", []):
            key = bucket.relative_key(upload["Key"])
            if only in (None, key):
                found.append(OpenUpload(key, upload["UploadId"], mtime_ns_of(upload["Initiated"])))
        if not answer.get("IsTruncated"):
            return found
        after = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer.get("NextUploadIdMarker")}


async def list_parts(bucket: S3Bucket, key: ObjectKey, upload_id: str) -> list[int]:
    """List as `Backend.list_parts`."""
    return [part["PartNumber"] for part in await parts_of(bucket, key, upload_id)]


async def parts_of(bucket: S3Bucket, key: ObjectKey, upload_id: str) -> list[dict[str, Any]]:
    """Return what the store tells of the parts of an upload."""
    found: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        with translated(bucket.what("LIST parts of", key)):
            answer = await bucket.client.list_parts(**bucket.args(key, UploadId=upload_id, **after))
        found += answer.get("Parts", [])
        if not answer.get("IsTruncated"):
            return found
        after = {"PartNumberMarker": answer["NextPartNumberMarker"]}
