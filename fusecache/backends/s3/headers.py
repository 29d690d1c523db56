"""Between our values and S3's: what is asked with a write, what is kept by a copy, what an answer tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fusecache.backends.options import S3Options
from fusecache.types import ETag, ObjectInfo, ObjectKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_CONTENT = (
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType",
    "Expires", "WebsiteRedirectLocation",
)  # fmt: skip
_PLACEMENT = ("StorageClass", "ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")


def for_new_object(options: S3Options) -> dict[str, Any]:
    """The user's wishes for every object that we make of local bytes."""
    wishes = {
        "StorageClass": options.storage_class,
        "ServerSideEncryption": options.sse,
        "SSEKMSKeyId": options.sse_kms_key_id,
    }
    return {name: value for name, value in wishes.items() if value}


def placement_of(head: Mapping[str, Any]) -> dict[str, Any]:
    """Class and encryption of a source: S3 would give its copy the bucket's defaults."""
    return {name: head[name] for name in _PLACEMENT if head.get(name)}


def content_of(head: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that S3 forgets when a copy replaces the metadata, or is made of parts."""
    return {name: head[name] for name in _CONTENT if head.get(name)}


def metadata_of(head: Mapping[str, Any]) -> dict[str, str]:
    """User metadata, names lower-case: some servers hand them back capitalised."""
    return {name.lower(): value for name, value in head.get("Metadata", {}).items()}


def info_of_head(key: ObjectKey, head: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(key, head["ContentLength"], etag_of(head), mtime_ns_of(head["LastModified"]), metadata_of(head))


def info_of_entry(key: ObjectKey, entry: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(key, entry["Size"], etag_of(entry), mtime_ns_of(entry["LastModified"]))


def etag_of(answer: Mapping[str, Any]) -> ETag:
    return ETag(str(answer.get("ETag", "")).removeprefix("W/").strip('"'))


def quoted(etag: ETag) -> str:
    return f'"{etag}"'


def write_condition(if_match: ETag | None, if_none_match: bool) -> dict[str, str]:
    """The condition of a PUT or of the completion of an upload."""
    if if_none_match:
        return {"IfNoneMatch": "*"}
    return {} if if_match is None else {"IfMatch": quoted(if_match)}


def mtime_ns_of(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
