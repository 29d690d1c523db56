"""Batches of deletes, with what became of each key."""

from __future__ import annotations

from collections.abc import Sequence

from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.errors import classified, translated
from fusecache.backends.s3.headers import etag_of
from fusecache.errors import BackendError, NoSuchObject, PreconditionFailed
from fusecache.types import DeleteOutcome, ETag, ObjectKey


async def delete_keys(bucket: S3Bucket, wanted: Sequence[tuple[ObjectKey, ETag | None]]) -> list[DeleteOutcome]:
    """Delete up to 1000 keys, each if it holds its etag; those that XML cannot carry go one by one."""
    keys = [key for key, _ in wanted]
    errors = await _look(bucket, wanted)
    keys = [key for key in keys if key not in errors]
    batch = [key for key in keys if _fits_xml(key)]
    if batch:
        errors.update(await _without_absent_markers(bucket, await _delete_batch(bucket, batch)))
    for key in keys:
        if not _fits_xml(key) and (error := await _delete_one(bucket, key)):
            errors[key] = error
    return [DeleteOutcome(key, errors.get(key)) for key, _ in wanted]


async def _look(bucket: S3Bucket, wanted: Sequence[tuple[ObjectKey, ETag | None]]) -> dict[ObjectKey, BackendError]:
    """Find those that hold another version by a HEAD of each."""
    errors: dict[ObjectKey, BackendError] = {}
    for key, etag in wanted:
        if etag is None:
            continue
        try:
            found = etag_of(await bucket.head(key))
        except NoSuchObject:
            continue
        if found != etag:
            errors[key] = PreconditionFailed(f"{key}: holds {found}, {etag} was expected")
    return errors


async def _delete_batch(bucket: S3Bucket, keys: Sequence[ObjectKey]) -> dict[ObjectKey, BackendError]:
    wanted = {"Objects": [{"Key": bucket.full_key(key)} for key in keys], "Quiet": True}
    with translated(bucket.what(f"DELETE of {len(keys)} keys from")):
        answer = await bucket.client.delete_objects(**bucket.args(Delete=wanted))
    errors: dict[ObjectKey, BackendError] = {}
    for failed in answer.get("Errors", []):
        key = bucket.relative_key(failed["Key"])
        text = f"{bucket.what('DELETE', key)}: {failed.get('Code', '')}: {failed.get('Message', '')}"
        error = classified(str(failed.get("Code", "")), 0, text)
        if not isinstance(error, NoSuchObject):  # some servers report what was gone before
            errors[key] = error
    return errors


async def _without_absent_markers(
    bucket: S3Bucket, errors: dict[ObjectKey, BackendError]
) -> dict[ObjectKey, BackendError]:
    """Some servers keep no directory markers, and answer their delete with an internal error for ever."""
    return {key: error for key, error in errors.items() if not key.endswith("/") or await _is_there(bucket, key)}


async def _is_there(bucket: S3Bucket, key: ObjectKey) -> bool:
    """Whether a HEAD finds the key; an unclear answer counts as yes, and the delete is tried again."""
    try:
        with translated(bucket.what("HEAD", key)):
            await bucket.client.head_object(**bucket.args(key))
    except NoSuchObject:
        return False
    except BackendError:
        return True
    return True


async def _delete_one(bucket: S3Bucket, key: ObjectKey) -> BackendError | None:
    try:
        with translated(bucket.what("DELETE", key)):
            await bucket.client.delete_object(**bucket.args(key))
    except NoSuchObject:
        return None
    except BackendError as exc:
        return exc
    return None


def _fits_xml(key: ObjectKey) -> bool:
    """Control characters are no XML 1.0, and line ends are normalised by its readers."""
    return all(char >= " " and char not in "\x7f\ufffe\uffff" for char in key)
