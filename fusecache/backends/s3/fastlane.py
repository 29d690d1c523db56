"""Small objects, and what is read, by obstore: a request for a sixth of the CPU, where nothing about it is unusual.

It only carries requests. Whatever the store says but yes, "later" or "no, it is another version" is heard from the
other lane, which sends the request again: a definite refusal did nothing, and botocore knows all its kinds.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import obstore
import trio
from obstore.exceptions import BaseError
from obstore.store import S3Store

from fusecache.backends.base import Source
from fusecache.backends.options import S3Options
from fusecache.backends.s3.checksums import Checksums, md5_of
from fusecache.backends.s3.client import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, S3Client, frozen_credentials
from fusecache.backends.s3.errors import classified
from fusecache.backends.s3.headers import quoted
from fusecache.errors import BackendError, PreconditionFailed, Throttled, TransientBackendError
from fusecache.types import Body, ETag, Extent, ObjectKey

if TYPE_CHECKING:
    from obstore import GetOptions, UpdateVersion  # types of its stubs only

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20
"""Of a PUT: such bodies are in memory anyway, and above it the CPU of a request does not matter."""
_LONGEST_S = 600
"""A request that goes on for as long as bytes come: 8 MiB at 14 KiB/s."""
_MAX_REFUSED = 1024
"""Keys that the store has throttled, which are remembered until they are sent again."""
_PLAIN_KEY = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[\w./=+,:@-]+", re.ASCII)
"""Keys that obstore's paths leave as they are."""
_PLAIN_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_UNUSUAL_ENDPOINTS = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
_OWN_AUTHORITY = "AWS_CA_BUNDLE"
"""Names certificates that the other lane knows, and this one does not."""
_OTHER_BYTES = re.compile(r"error: (?:Requested \d+\.\.|Received non-partial)")
"""In what obstore says of an answer that is not of the range that was asked for."""
_STATUS = re.compile(r"status: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class FastLane:
    """GETs, and PUTs of up to `MAX_BYTES`, whose body is covered by their signature: the store takes no other."""

    def __init__(self, client: S3Client, options: S3Options, checksums: Checksums, *, has_puts: bool = True) -> None:
        """The `client` of the other lane knows where the store is, and what to sign with."""
        self._client = client
        self._options = options
        self._checksums = checksums
        self._has_puts = has_puts
        self._config: dict[str, Any] = {
            "region": client.meta.region_name,
            "virtual_hosted_style_request": _is_aws(client),
            "client_options": {
                "allow_http": True,
                "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
                "timeout": f"{_LONGEST_S}s",
                "read_timeout": f"{READ_TIMEOUT_S}s",
            },
            "retry_config": {"max_retries": 0},
            "checksum_algorithm": "SHA256",  # of the body, as the signature has it anyway
        } | ({} if _is_aws(client) else {"endpoint": client.meta.endpoint_url})
        self._signer: tuple[str, str, str | None] | None = None
        self._store: S3Store | None = None
        self._threads = trio.CapacityLimiter(options.max_connections)
        self._refused: dict[ObjectKey, None] = {}

    def takes(self, key: ObjectKey, source: Source) -> bool:
        """Whether this lane is for such an object. One that was throttled goes the other way: it hears for how long."""
        return self._has_puts and source.length <= MAX_BYTES and self.takes_get(key)

    def takes_get(self, key: ObjectKey) -> bool:
        """Whether this lane is for what is read of an object; likewise."""
        if not _PLAIN_KEY.fullmatch(self._options.prefix + key):
            return False
        return not self._refused or self._refused.pop(key, self) is self

    async def put(
        self,
        what: str,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None,
        if_none_match: bool,
    ) -> ETag | None:
        """As `Backend.put`; None: the store did not take it, and the other lane shall hear why.

        Raises:
            TransientBackendError, PreconditionFailed. Miswritten: the etag is not the MD5 of the body, as others were.
        """
        store = await self._open()
        if store is None:
            return None
        mode = _mode(if_match, if_none_match)
        body = b"".join(source)

        def send() -> tuple[str, bytes]:
            answer = obstore.put(
                store, self._options.prefix + key, body, attributes=dict(metadata), mode=mode, use_multipart=False
            )
            return answer["e_tag"] or "", md5_of(source) if self._checksums.are_etags_told else b""

        answer = await self._sent(what, key, send)
        if answer is None:
            return None
        etag = answer[0].removeprefix("W/").strip('"')
        self._checksums.compare_etag(what, etag, answer[1])
        return ETag(etag)

    async def get(self, what: str, key: ObjectKey, extent: Extent, *, if_match: ETag | None) -> Body | None:
        """Return the bytes of `extent`, which is not empty, of that version; None: the other lane shall hear why not.

        A cancelled caller leaves a thread that ends with the answer's head, or with its body if that has begun.

        Raises:
            TransientBackendError, PreconditionFailed.
        """
        store = await self._open()
        if store is None:
            return None
        options: GetOptions = {"range": (extent.offset, extent.end)}
        if if_match is not None:
            options["if_match"] = quoted(if_match)
        gone = False

        def send() -> Body | None:
            answer = obstore.get(store, self._options.prefix + key, options=options)
            etag = (answer.meta["e_tag"] or "").removeprefix("W/").strip('"')
            if gone or answer.range != (extent.offset, extent.end) or (if_match is not None and etag != if_match):
                return None
            return memoryview(answer.bytes())

        try:
            body = await self._sent(what, key, send)
        finally:
            gone = True
        return body if body is not None and len(body) == extent.length else None

    async def _sent(self, what: str, key: ObjectKey, request: Callable[[], T]) -> T | None:
        """Have a thread make a request; None: the other lane shall hear why that was refused."""
        try:
            return await trio.to_thread.run_sync(request, limiter=self._threads, abandon_on_cancel=True)
        except (BaseError, FileNotFoundError) as exc:  # obstore's own, but for an absent key or bucket
            error = _translated(what, exc)
            if _OTHER_BYTES.search(str(exc)):
                return None
        if isinstance(error, Throttled):
            self._refused[key] = None
            if len(self._refused) > _MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
        if isinstance(error, TransientBackendError | PreconditionFailed):
            raise error
        return None

    async def _open(self) -> S3Store | None:
        found = await frozen_credentials(self._client)
        if found is None:
            return None
        signer = (found.access_key, found.secret_key, found.token)
        if signer != self._signer:
            session = {} if found.token is None else {"session_token": found.token}
            try:
                self._store = S3Store(
                    self._options.bucket,
                    access_key_id=found.access_key, secret_access_key=found.secret_key, **session, **self._config,
                )  # fmt: skip
            except BaseError as exc:  # at the limit of descriptors it finds no certificates: the next one tries again
                log.info("a small object goes the long way: %s", str(exc).splitlines()[0])
                return None
            self._signer = signer
        return self._store


def fast_lane(client: S3Client, options: S3Options, checksums: Checksums) -> FastLane | None:
    """Return a lane for a store whose requests say nothing but what is read, or written; else None."""
    unusual = options.sse, options.sse_kms_key_id, options.storage_class
    is_addressed_plainly = _is_aws(client) != options.force_path_style and _PLAIN_BUCKET.fullmatch(options.bucket)
    is_plain = is_addressed_plainly and not any(map(os.environ.get, _UNUSUAL_ENDPOINTS))
    is_trusted = str(client.meta.endpoint_url).startswith("http://") or not os.environ.get(_OWN_AUTHORITY)
    if not is_plain or not is_trusted or options.requester_pays:
        return None
    return FastLane(client, options, checksums, has_puts=not any(unusual))


def _is_aws(client: S3Client) -> bool:
    """Whether the endpoint is the one that a region implies."""
    host = urlsplit(str(client.meta.endpoint_url)).hostname
    return host in ("s3.amazonaws.com", f"s3.{client.meta.region_name}.amazonaws.com")


def _mode(if_match: ETag | None, if_none_match: bool) -> Literal["create", "overwrite"] | UpdateVersion:
    if if_none_match:
        return "create"
    return "overwrite" if if_match is None else {"e_tag": quoted(if_match)}


def _translated(what: str, exc: Exception) -> BackendError:
    """Classify by what the text holds of the answer: obstore's types tell only some statuses apart."""
    text = str(exc)
    status, code, message = (found and found[1] for found in (each.search(text) for each in (_STATUS, _CODE, _MESSAGE)))
    if status is None:
        why = text.splitlines()[0].rpartition(" - ")[2]  # before it: what was asked for, once more
        return classified("", 500, f"{what}: no answer: {why}")
    told = ": ".join(part for part in (what, code or f"status {status}", message) if part)
    return classified(code or "", int(status), told)
