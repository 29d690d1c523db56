"""Batches of deletes, each key under its condition, with what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from fusecache.backends.pace import RequestClass
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.errors import classified, translated
from fusecache.backends.s3.headers import quoted
from fusecache.backends.s3.probe import NO_VERSION, Trust
from fusecache.backends.s3.versions import versions_of
from fusecache.errors import BackendError, NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import DeleteOutcome, ETag, ObjectKey

Wanted = Mapping[ObjectKey, ETag | None]
"""Keys to be deleted, and the version that each must hold; None: whatever is there."""
Errors = dict[ObjectKey, BackendError]


class S3Deleter:
    """DeleteObjects with an `ETag` per key, as AWS has it since 2025; most other servers ignore it without a word.

    A server is known to keep it once it has refused to delete, under an etag that no object has, a key that we
    had just seen to hold the wanted one; a server that deletes it has done what was wanted. Until then, and
    where it is ignored, we look just before: what comes between the look and the delete is lost.
    """

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket
        self._conditions = Trust.UNKNOWN
        self._probing = trio.Lock()

    async def delete(self, wanted: Sequence[tuple[ObjectKey, ETag | None]]) -> list[DeleteOutcome]:
        """Delete as `Backend.delete`, up to 1000 keys. An error that is raised may have left some deleted."""
        errors = await self._delete(dict(wanted))
        return [DeleteOutcome(key, errors.get(key)) for key, _ in wanted]

    async def _delete(self, wanted: Wanted) -> Errors:
        if all(etag is None for etag in wanted.values()):
            return await delete_keys(self._bucket, wanted)
        errors: Errors = {}
        if self._conditions is not Trust.KEPT:
            errors, wanted = await self._look(wanted)
        if self._conditions is Trust.UNKNOWN:
            wanted = await self._probe(wanted)
        if self._conditions is Trust.KEPT:
            return errors | await self._delete_named(wanted)
        return errors | await delete_keys(self._bucket, dict.fromkeys(wanted))

    async def _delete_named(self, wanted: Wanted) -> Errors:
        """Let the server compare, and look at what it refused: some say so of absent keys too."""
        errors = await delete_keys(self._bucket, wanted)
        refused = {key: wanted[key] for key, error in errors.items() if isinstance(error, PreconditionFailed)}
        if not refused:
            return errors
        kept, due = await self._look(refused)
        if due:  # it refuses what is there: the etag means something else to it
            self._conditions = Trust.IGNORED
            kept |= await delete_keys(self._bucket, dict.fromkeys(due))
        return {key: error for key, error in errors.items() if key not in refused} | kept

    async def _look(self, wanted: Wanted) -> tuple[Errors, Wanted]:
        """Tell which keys hold another version, and which are to be deleted; the absent are neither.

        A key of which the store doesn't tell now has that error, and is no reason to keep the others.
        """
        found, errors = await versions_of(self._bucket, [key for key, etag in wanted.items() if etag is not None])
        errors |= {
            key: PreconditionFailed(f"{self._bucket.what('DELETE', key)}: holds {etag}, {wanted[key]} was expected")
            for key, etag in found.items()
            if etag not in {None, wanted[key]}
        }
        return errors, {key: etag for key, etag in wanted.items() if etag is None or found.get(key) == etag}

    async def _probe(self, due: Wanted) -> Wanted:
        """Find out whether etags are kept, by a key that holds what is wanted; return what is still due."""
        key = next((key for key, etag in due.items() if etag is not None and _fits_xml(key)), None)
        if key is None:
            return due
        async with self._probing:
            if self._conditions is not Trust.UNKNOWN:
                return due  # found out while we waited
            try:
                errors = await _delete_batch(self._bucket, {key: NO_VERSION})
            except StoreRefused as exc:  # it doesn't know the element
                errors = {key: exc}
            error = errors.get(key)
            if error is None:
                self._conditions = Trust.IGNORED
                return {each: etag for each, etag in due.items() if each != key}
            if isinstance(error, PreconditionFailed) and await _is_there(self._bucket, key):
                self._conditions = Trust.KEPT
            elif isinstance(error, PreconditionFailed | StoreRefused):
                self._conditions = Trust.IGNORED
        return due  # any other error says nothing of etags, and meets the delete itself again


async def delete_keys(bucket: S3Bucket, wanted: Wanted) -> Errors:
    """Delete up to 1000 keys, naming the etags that are given; those that XML cannot carry go one by one."""
    errors: Errors = {}
    batch = {key: etag for key, etag in wanted.items() if _fits_xml(key)}
    if batch:
        errors.update(await _without_absent_markers(bucket, await _delete_batch(bucket, batch)))
    for key, etag in wanted.items():
        if not _fits_xml(key) and (error := await _delete_one(bucket, key, etag)):
            errors[key] = error
    return errors


async def _delete_batch(bucket: S3Bucket, wanted: Wanted) -> Errors:
    objects = [
        {"Key": bucket.full_key(key)} | ({} if etag is None else {"ETag": quoted(etag)}) for key, etag in wanted.items()
    ]

    async def delete() -> dict[str, Any]:
        with translated(bucket.what(f"DELETE of {len(objects)} keys from")):
            return await bucket.client.delete_objects(**bucket.args(Delete={"Objects": objects, "Quiet": True}))

    answer = await bucket.ask(RequestClass.DELETE, next(iter(wanted)), delete)
    errors: Errors = {}
    for failed in answer.get("Errors", []):
        key = bucket.relative_key(failed["Key"])
        text = f"{bucket.what('DELETE', key)}: {failed.get('Code', '')}: {failed.get('Message', '')}"
        error = classified(str(failed.get("Code", "")), 0, text)
        if not isinstance(error, NoSuchObject):  # some servers report what was gone before
            errors[key] = error
    return errors


async def _without_absent_markers(bucket: S3Bucket, errors: Errors) -> Errors:
    """Some servers keep no directory markers, and answer their delete with an internal error for ever."""
    return {key: error for key, error in errors.items() if not key.endswith("/") or await _is_there(bucket, key)}


async def _is_there(bucket: S3Bucket, key: ObjectKey) -> bool:
    """Whether a HEAD finds the key; an unclear answer counts as yes, and the delete is tried again."""
    try:
        await bucket.look(RequestClass.DELETE, key)
    except NoSuchObject:
        return False
    except BackendError:
        return True
    return True


async def _delete_one(bucket: S3Bucket, key: ObjectKey, etag: ETag | None) -> BackendError | None:
    try:
        await bucket.ask(RequestClass.DELETE, key, lambda: bucket.delete(key, if_match=etag))
    except NoSuchObject:
        return None
    except BackendError as exc:
        return exc
    return None


def _fits_xml(key: ObjectKey) -> bool:
    """Control characters are no XML 1.0, and line ends are normalised by its readers."""
    return all(char >= " " and char not in "\x7f\ufffe\uffff" for char in key)
