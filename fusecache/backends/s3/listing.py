"""One page of a listing."""

from __future__ import annotations

from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.headers import info_of_entry
from fusecache.types import ListPage


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
