"""One bucket below a prefix: how our keys, conditions and names become the arguments of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from fusecache.backends.options import S3Options
from fusecache.backends.pace import Refused, RequestClass
from fusecache.backends.repeat import Repeats
from fusecache.backends.s3.client import S3Client
from fusecache.backends.s3.errors import translated
from fusecache.backends.s3.headers import quoted
from fusecache.errors import BackendUnavailable, NoSuchObject, StoreRefused
from fusecache.types import ETag, ObjectKey

T = TypeVar("T")


class S3Bucket:
    """The client together with what every request to this store says. Holds no state of its own."""

    def __init__(self, client: S3Client, options: S3Options, refused: Refused) -> None:
        """`refused` hears of requests that were sent again, and of no others: those raise."""
        self._refused = refused
        self._repeats = Repeats()
        self.client = client
        self.options = options
        self.url = f"s3://{options.bucket}/{options.prefix}".rstrip("/")
        self._common: dict[str, Any] = {"Bucket": options.bucket}
        if options.requester_pays:
            self._common["RequestPayer"] = "requester"

    def args(self, key: ObjectKey | None = None, **more: Any) -> dict[str, Any]:
        """Return the arguments of a request on `key`, or on the bucket; those that are None are left out."""
        named = {} if key is None else {"Key": self.full_key(key)}
        return self._common | named | {name: value for name, value in more.items() if value is not None}

    def full_key(self, key: str) -> str:
        return self.options.prefix + key

    def relative_key(self, full_key: str) -> ObjectKey:
        return ObjectKey(full_key.removeprefix(self.options.prefix))

    def copy_source(self, key: ObjectKey) -> dict[str, str]:
        return {"Bucket": self.options.bucket, "Key": self.full_key(key)}

    def what(self, operation: str, key: str = "") -> str:
        """Name a request in an error message."""
        return f"{operation} s3://{self.options.bucket}/{self.full_key(key)}"

    async def ask(self, kind: RequestClass, key: str, request: Callable[[], Awaitable[T]]) -> T:
        """Make one request of several, again after a transient error. It may be carried out twice."""
        return await self._repeats.ask(request, lambda asked_s: self._refused(kind, key, asked_s))

    async def send(self, kind: RequestClass, key: str, request: Callable[[], Awaitable[T]]) -> T:
        """Likewise, of a request that changes what its repeat would find: see `Repeats.send`."""
        return await self._repeats.send(request, lambda asked_s: self._refused(kind, key, asked_s))

    async def look(self, kind: RequestClass, key: ObjectKey, *, if_match: ETag | None = None) -> dict[str, Any]:
        """Return the raw HEAD of `key`, for a write of that kind: again after a transient error."""
        return await self.ask(kind, key, lambda: self.head(key, if_match=if_match))

    async def head(self, key: ObjectKey, *, if_match: ETag | None = None) -> dict[str, Any]:
        """Return the raw HEAD of `key`.

        Raises:
            NoSuchObject: the store has said that it is the key that is absent, and not the bucket.
        """
        try:
            return await self.glance(key, if_match=if_match)
        except NoSuchObject:
            await self.ask(RequestClass.READ, key, lambda: self._look_again(key))
            raise

    async def glance(self, key: ObjectKey, *, if_match: ETag | None = None) -> dict[str, Any]:
        """The same, for whoever writes there next: of NoSuchObject the bucket may be the reason, or a proxy."""
        condition = None if if_match is None else quoted(if_match)
        try:
            with translated(self.what("HEAD", key)):
                return await self.client.head_object(**self.args(key, IfMatch=condition))
        except StoreRefused:
            await self._first_byte(key)  # 400 may mean that a session has expired: only a body says so
            raise

    async def _look_again(self, key: ObjectKey) -> None:
        """See that a key is absent, by an answer with a body: a HEAD's 404 does not tell what it is that is absent.

        Raises:
            BackendError: something else is, or nothing is by now.
        """
        try:
            await self._first_byte(key)
        except NoSuchObject:
            return
        raise BackendUnavailable(f"{self.what('GET', key)}: not found at first, and there a moment later")

    async def _first_byte(self, key: ObjectKey) -> None:
        """Read it, if there is one: what is empty is refused that."""
        with suppress(StoreRefused), translated(self.what("GET", key)):
            async with (await self.client.get_object(**self.args(key, Range="bytes=0-0")))["Body"]:
                pass

    async def delete(self, key: ObjectKey, *, if_match: ETag | None = None) -> None:
        """Delete one key; an absent one may raise NoSuchObject."""
        condition = None if if_match is None else quoted(if_match)
        with translated(self.what("DELETE", key)):
            await self.client.delete_object(**self.args(key, IfMatch=condition))
