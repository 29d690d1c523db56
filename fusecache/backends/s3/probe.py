"""What a server does with what it doesn't know. Nobody says so: it is found out once, by asking.

`rclone serve s3` ignores every condition, makes a file `dir` of a marker `dir/`, answers UploadPartCopy
with success and an empty part, and completes an upload with an etag that it never tells again.
moto and versitygw keep conditions of reads, PUTs and single deletes, but ignore the etags of a batch of
deletes (see `s3.delete`); where an upload in parts ends, moto keeps If-None-Match and ignores If-Match.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum

import trio

from fusecache.backends.pace import RequestClass
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.headers import etag_of, for_new_object, quoted, write_condition
from fusecache.errors import AccessDenied, NoSuchObject, PermanentBackendError, PreconditionFailed, StoreRefused
from fusecache.types import Capabilities, ETag, ObjectKey

NO_VERSION = ETag("0" * 32)
"""No object is known to hold it."""
SCRATCH = ObjectKey(".fusecache-tmp/probe")
"""Below the prefix that the namespace hides (`namespace.keys.TMP_PREFIX`): no application can have the name."""
_NO_BYTES_CRC32 = "AAAAAA=="


class Trust(Enum):
    """What is known of one ability; what isn't known is assumed, as most servers have it."""

    UNKNOWN = "not seen yet"
    KEPT = "works"
    IGNORED = "silently does nothing"


class Probes:
    """What has been found out about a server."""

    def __init__(self, bucket: S3Bucket, *, max_copy_bytes: int) -> None:
        self._bucket = bucket
        self._max_copy_bytes = max_copy_bytes
        self._read_conditions = Trust.UNKNOWN
        self._write_conditions = Trust.UNKNOWN
        self._copy_conditions = Trust.UNKNOWN
        self._probing = trio.Lock()
        self._markers = Trust.UNKNOWN
        self._part_copy = Trust.UNKNOWN

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            conditional_read=self._read_conditions is not Trust.IGNORED,
            conditional_write=self._write_conditions is not Trust.IGNORED,
            multipart_copy=self._part_copy is not Trust.IGNORED,
            directory_markers=self._markers is not Trust.IGNORED,
            max_key_bytes=self._bucket.options.max_key_bytes,
            max_copy_bytes=self._max_copy_bytes,
        )

    def read_conditions_are_ignored(self) -> None:
        """Note that a request was answered although its condition did not hold."""
        self._read_conditions = Trust.IGNORED

    def part_copies_are_ignored(self) -> None:
        self._part_copy = Trust.IGNORED

    async def read_conditions(self, key: ObjectKey) -> Trust:
        """Find out with a HEAD of `key`, if it exists, whether conditions of reads are kept."""
        if self._read_conditions is Trust.UNKNOWN:
            try:
                await self._bucket.look(RequestClass.READ, key, if_match=NO_VERSION)
            except PreconditionFailed:
                self._read_conditions = Trust.KEPT
            except NoSuchObject:
                pass
            else:
                self._read_conditions = Trust.IGNORED
        return self._read_conditions

    async def write_conditions(self) -> Trust:
        """Find out with a PUT whether conditions of PUTs are kept: it is refused, or else taken back."""
        async with self._probing:
            if self._write_conditions is Trust.UNKNOWN:
                await self._probe_writes()
        return self._write_conditions

    @property
    def known_copy_conditions(self) -> Trust:
        """What has been found out of it so far."""
        return self._copy_conditions

    async def copy_conditions(self, key: ObjectKey) -> Trust:
        """Find out with a copy of `key`, if it exists, whether the condition on a source is kept."""
        async with self._probing:
            if self._copy_conditions is Trust.UNKNOWN:
                with suppress(NoSuchObject, AccessDenied, StoreRefused):  # the copy itself shows which
                    await self._probe_copies(key)
        return self._copy_conditions

    async def check_put(self, key: ObjectKey, if_match: ETag | None, if_none_match: bool) -> bool:
        """Before a conditional PUT, look ourselves where the server is not known to. Returns whether we have.

        Somebody else may come between the look and the write: `capabilities` says so.
        """
        if await self.write_conditions() is Trust.KEPT:
            return False
        await self.check_write(key, if_match, if_none_match)
        return True

    async def check_write(self, key: ObjectKey, if_match: ETag | None, if_none_match: bool) -> None:
        """Look at `key` with a HEAD, and refuse if the conditions do not hold."""
        if if_match is None and not if_none_match:
            return
        try:
            found = etag_of(await self._bucket.ask(RequestClass.WRITE, key, lambda: self._bucket.glance(key)))
        except NoSuchObject:
            if if_match is not None:
                raise PreconditionFailed(f"{key}: gone, {if_match} was expected") from None
            return
        if if_none_match or found != if_match:
            raise PreconditionFailed(f"{key}: holds {found}")

    async def settled_etag(self, key: ObjectKey, etag: ETag) -> ETag:
        """Return the etag that `key`, just completed as `etag`, will be known by.

        A server that keeps conditions must give the same one; of any other we ask.
        """
        if await self.read_conditions(key) is Trust.KEPT:
            return etag
        return etag_of(await self._bucket.look(RequestClass.WRITE, key))

    async def marker_stands_alone(self, key: ObjectKey) -> bool:
        """Before the first marker is put: whether a file of the same name would be of its making."""
        if self._markers is Trust.IGNORED:
            raise self._no_markers(key)
        return self._markers is Trust.UNKNOWN and not await self._exists(_bare(key))

    async def check_marker(self, key: ObjectKey) -> None:
        """After the first marker was put: if it became a file, take that away and refuse.

        Raises:
            StoreRefused: this server keeps no directory markers.
        """
        if not await self._exists(_bare(key)):
            self._markers = Trust.KEPT
            return
        self._markers = Trust.IGNORED
        await self._delete(_bare(key))
        raise self._no_markers(key)

    async def _probe_writes(self) -> None:
        try:
            await self._put_scratch()
        except NoSuchObject:  # what S3 says of If-Match on an absent key
            self._write_conditions = Trust.KEPT
            return
        except (AccessDenied, StoreRefused):
            return  # that key, or conditions at all, are not for us; the write itself shows which
        except PreconditionFailed:
            found = Trust.KEPT  # and a dead run's scratch object may be there
        else:
            found = Trust.IGNORED
        await self._clear_scratch()
        self._write_conditions = found

    async def _probe_copies(self, key: ObjectKey) -> None:
        """Copy `key` to where nobody looks, but under a condition that cannot hold."""
        source = {"CopySource": self._bucket.copy_source(key), "CopySourceIfMatch": quoted(NO_VERSION)}
        try:
            with translated(self._bucket.what("COPY", key)):
                await self._bucket.client.copy_object(**self._bucket.args(SCRATCH, **source))
        except PreconditionFailed:
            self._copy_conditions = Trust.KEPT
            return
        await self._clear_scratch()
        self._copy_conditions = Trust.IGNORED

    async def _clear_scratch(self) -> None:
        """Take the scratch object away, before anything is settled by it: else nobody would come back for it.

        Where that is not allowed, it stays.
        """
        with suppress(PermanentBackendError):
            await self._delete(SCRATCH)

    async def _put_scratch(self) -> None:
        """Put an empty object as any other of ours, but under a condition that cannot hold."""
        args = self._bucket.args(
            SCRATCH,
            Body=b"",
            ChecksumCRC32=_NO_BYTES_CRC32,
            **write_condition(NO_VERSION, False),
            **for_new_object(self._bucket.options),
        )
        with translated(self._bucket.what("PUT", SCRATCH)):
            await self._bucket.client.put_object(**args)

    async def _exists(self, key: ObjectKey) -> bool:
        try:
            await self._bucket.look(RequestClass.WRITE, key)
        except NoSuchObject:
            return False
        return True

    async def _delete(self, key: ObjectKey) -> None:
        await self._bucket.ask(RequestClass.WRITE, key, lambda: self._bucket.delete(key))

    def _no_markers(self, key: ObjectKey) -> StoreRefused:
        return StoreRefused(f"{self._bucket.url}: this server keeps no directory markers, {key} was not made")


def _bare(key: ObjectKey) -> ObjectKey:
    return ObjectKey(key.rstrip("/"))
