"""What a store has made of a body, compared with what was sent: the answer is not believed otherwise.

A server that keeps checksums refuses a body with another CRC64NVME than its header tells, and repeats it in its answer.
"""

from __future__ import annotations

import hashlib
import logging
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import anycrc
import trio

from fusecache.backends.s3.ahead import Kept
from fusecache.backends.s3.body import INLINE_BYTES
from fusecache.backends.s3.headers import etag_of
from fusecache.backends.s3.probe import Trust
from fusecache.errors import Miswritten
from fusecache.types import ETag

log = logging.getLogger(__name__)

_CRC = anycrc.Model("CRC64-NVME")
_TOLD = "ChecksumCRC64NVME"
_MD5 = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")


class Sum(NamedTuple):
    """Of one body."""

    size: int
    crc: int | None = None
    md5: bytes | None = None

    def args(self) -> dict[str, str]:
        """Return what a request says of it."""
        if self.crc is not None:
            return {_TOLD: _crc_text(self.crc)}
        return {"ContentMD5": b64encode(self.md5).decode()} if self.md5 is not None else {}


class Checksums:
    """Finds out once what a server can tell of bodies, and asks no more of it."""

    def __init__(self, readers: trio.CapacityLimiter, *, is_off: bool) -> None:
        self._readers = readers
        self._crc = Trust.IGNORED if is_off else Trust.UNKNOWN
        self._md5 = Trust.IGNORED if is_off else Trust.UNKNOWN
        self._is_off = is_off
        self._has_failed = False
        self._uploads: dict[str, dict[int, Sum]] = {}

    @property
    def are_kept(self) -> bool:
        """Whether the server has shown that it verifies what it gets, and never that it doesn't."""
        return self._crc is Trust.KEPT and not self._has_failed

    @property
    def are_unsure(self) -> bool:
        """Whether a refusal may be about the checksum, of which this server has not shown that it knows it."""
        return self._crc is Trust.UNKNOWN

    def are_refused(self) -> None:
        """The server took without a checksum what it had refused with one."""
        self._crc = Trust.IGNORED

    async def of(self, body: Kept) -> Sum:
        """Read a body ahead for what its request says (0.04 ms of CPU a MiB, MD5 1.4; reading 0.1)."""
        if self._crc is not Trust.IGNORED:
            return Sum(body.length, crc=await self._read(_crc_of, body, body.ahead()))
        if self._md5 is not Trust.IGNORED:
            return Sum(body.length, md5=await self._read(md5_of, body, body.ahead()))
        return Sum(body.length)

    async def compare(self, what: str, body: Kept, sent: Sum, answer: Mapping[str, Any]) -> bool:
        """See whether what was stored is what was sent; False: the answer doesn't tell.

        Raises:
            Miswritten: it is not.
        """
        if self._is_off:
            return True
        if (told := answer.get(_TOLD)) is not None and sent.crc is not None:
            self._crc = Trust.KEPT
            self._compare_crc(what, told, sent.crc)
            return True
        if self._crc is Trust.UNKNOWN:
            self._crc = Trust.IGNORED
        if self._md5 is not Trust.IGNORED and _MD5.fullmatch(etag := etag_of(answer)):
            md5 = await self._read(md5_of, body, iter(body)) if sent.md5 is None else sent.md5
            self.compare_etag(what, etag, md5)
            return self._md5 is Trust.KEPT
        return False

    def compare_etag(self, what: str, etag: str, md5: bytes) -> None:
        """Compare an etag with the MD5 of the body: it is one, unless the first of them is not.

        Raises:
            Miswritten: etags were MD5s so far.
        """
        if self._md5 is Trust.IGNORED or not _MD5.fullmatch(etag):
            return
        if etag == md5.hex():
            self._md5 = Trust.KEPT
        elif self._md5 is Trust.KEPT:
            self._md5, self._has_failed = Trust.UNKNOWN, True  # or the bucket encrypts from now on: the next one tells
            raise miswritten(what, f"the store has MD5 {etag}, {md5.hex()} was sent")
        else:
            self._md5 = Trust.IGNORED

    @property
    def are_etags_told(self) -> bool:
        """Whether etags may be MD5s, so that it is worth to compute one."""
        return self._md5 is not Trust.IGNORED

    # --- uploads in parts ---

    def of_upload(self) -> dict[str, str]:
        """Return what the start of an upload says of its parts and the whole."""
        return {} if self._crc is Trust.IGNORED else {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}

    def sent(self, upload_id: str, number: int, sent: Sum) -> None:
        """A part has arrived."""
        self._uploads.setdefault(upload_id, {})[number] = sent

    def listed(self, upload_id: str, parts: Iterable[Mapping[str, Any]]) -> None:
        """The store tells of parts that an earlier process may have sent; what this one has sent, it knows."""
        known = self._uploads.setdefault(upload_id, {})
        for part in parts:
            if told := part.get(_TOLD):
                known.setdefault(part["PartNumber"], Sum(part["Size"], int.from_bytes(b64decode(told))))

    def forget(self, upload_id: str) -> None:
        """The upload is over."""
        self._uploads.pop(upload_id, None)

    def asks_for_parts(self, upload_id: str, count: int) -> bool:
        """Whether it is worth to list the parts: the server knows checksums that this process doesn't."""
        return self._crc is not Trust.IGNORED and not self.of_parts(upload_id, count)

    def of_parts(self, upload_id: str, count: int) -> Sequence[Sum]:
        """Return the sums of parts 1 … n; none if some are not known."""
        known = self._uploads.get(upload_id, {})
        found = [known[number] for number in range(1, count + 1) if number in known]
        return found if len(found) == count else []

    def has_completed(self, what: str, whole: Sum, etags: Sequence[ETag], answer: Mapping[str, Any]) -> bool:
        """Whether an answer tells that the object is the parts, put together; False: it doesn't say.

        Raises:
            Miswritten: it tells that it is not.
        """
        if self._is_off:
            return True
        if (told := answer.get(_TOLD)) is not None and whole.crc is not None:
            self._compare_crc(what, told, whole.crc)
            return True
        return etag_of(answer) == _etag_of_parts(etags)

    def _compare_crc(self, what: str, told: str, sent: int) -> None:
        if told != _crc_text(sent):
            self._has_failed = True
            raise miswritten(what, f"the store has CRC64NVME {told}, {_crc_text(sent)} was sent")

    async def _read(self, read: Callable[[Iterable[bytes]], T], body: Kept, chunks: Iterable[bytes]) -> T:
        if body.length <= INLINE_BYTES:
            return read(chunks)
        return await trio.to_thread.run_sync(read, chunks, limiter=self._readers)


def put_together(parts: Sequence[Sum]) -> Sum | None:
    """Return the sum of bodies, one after the other; None if nothing is known of them."""
    crc: int | None = None
    for nth, part in enumerate(parts):
        if part.crc is None or (nth and crc is None):
            crc = None
        else:
            crc = part.crc if crc is None else int(_CRC.combine(crc, part.crc, part.size))
    return Sum(sum(part.size for part in parts), crc) if parts else None


def miswritten(what: str, why: str) -> Miswritten:
    """Say it loudly: somewhere on the way, or in the store, bytes become others."""
    log.error("%s: %s; it is sent again", what, why)
    return Miswritten(f"{what}: {why}")


def _crc_of(chunks: Iterable[bytes]) -> int:
    crc = None
    for chunk in chunks:
        crc = _CRC.calc(chunk) if crc is None else _CRC.calc(chunk, crc)
    return int(_CRC.calc(b"") if crc is None else crc)


def md5_of(chunks: Iterable[bytes]) -> bytes:
    state = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        state.update(chunk)
    return state.digest()


def _crc_text(crc: int) -> str:
    return b64encode(crc.to_bytes(8, "big")).decode()


def _etag_of_parts(etags: Sequence[ETag]) -> str:
    """Return the etag that S3 gives to an object of parts whose etags are MD5s; empty if they are not."""
    if not all(_MD5.fullmatch(etag) for etag in etags):
        return ""
    parts = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(parts, usedforsecurity=False).hexdigest()}-{len(etags)}"
