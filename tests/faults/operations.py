"""What a request asks of S3, read from its first line and headers."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

KINDS = {
    "PutObject": "write",
    "CreateMultipartUpload": "write",
    "UploadPart": "write",
    "CompleteMultipartUpload": "write",
    "AbortMultipartUpload": "write",
    "PutObjectTagging": "write",
    "CopyObject": "copy",
    "UploadPartCopy": "copy",
    "DeleteObject": "delete",
    "DeleteObjects": "delete",
    "ListObjectsV2": "list",
    "ListObjects": "list",
    "ListMultipartUploads": "list",
    "GetObject": "read",
    "HeadObject": "read",
    "GetObjectTagging": "read",
}
"""The class of each operation, as stores limit them apart; any other is "other"."""


class Operation(NamedTuple):
    """A request, addressed in path style, by the name that S3's API has for it."""

    name: str
    key: str
    """Without the bucket; of a listing its prefix, "" where there is none."""
    token: str = ""
    """Of the session that it is signed for."""

    @property
    def kind(self) -> str:
        return KINDS.get(self.name, "other")


def operation_of(method: str, target: str, *, is_copy: bool, token: str = "") -> Operation:
    """Return what a request is; `is_copy`: it has the header `x-amz-copy-source`."""
    parts = urlsplit(target)
    _, _, path = parts.path.partition("/")
    _, _, key = path.partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if key:
        return Operation(_of_object(method, query, is_copy=is_copy), unquote(key), token)
    return Operation(_of_bucket(method, query), query.get("prefix", ""), token)


def _of_object(method: str, query: dict[str, str], *, is_copy: bool) -> str:
    if "tagging" in query:
        return f"{method.capitalize()}ObjectTagging"
    if method == "PUT":
        if "partNumber" in query:
            return "UploadPartCopy" if is_copy else "UploadPart"
        return "CopyObject" if is_copy else "PutObject"
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if "uploadId" in query:
        return "AbortMultipartUpload" if method == "DELETE" else "ListParts"
    return f"{method.capitalize()}Object"


def _of_bucket(method: str, query: dict[str, str]) -> str:
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    if method == "GET" and "uploads" in query:
        return "ListMultipartUploads"
    if method == "GET":
        return "ListObjectsV2" if query.get("list-type") == "2" else "ListObjects"
    return {"PUT": "CreateBucket"}.get(method, f"{method.capitalize()}Bucket")
