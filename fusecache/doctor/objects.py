"""The bucket against the rows: what others changed, and what is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import trio

from fusecache.backends.base import Backend
from fusecache.doctor.files import Look
from fusecache.doctor.findings import Abort, Finding, Kind
from fusecache.doctor.keys import KeyCheck
from fusecache.doctor.snapshot import Snapshot
from fusecache.errors import NoSuchObject
from fusecache.namespace.keys import TMP_PREFIX
from fusecache.types import ObjectInfo, ObjectKey

_DAY_NS = 86_400 * 10**9
_LAST = "\U0010ffff"
"""Above every key."""
_ABOVE_ALL = 1 << 62
"""Above every inode number."""
_ROWS = """
    SELECT parent, name, ino, key, etag FROM dentry
     WHERE store = :store AND (key, parent, name) > (:key, :parent, :name) AND key <= :high AND ino IS NOT NULL
     ORDER BY key, parent, name LIMIT 1000"""
_ROW = "SELECT parent, name, ino, key, etag FROM dentry WHERE parent = ? AND name = ?"
# On its way: a task makes just this key. (Deletes wait for who reads it.)
_MOVING = "SELECT 1 FROM task WHERE key = ? AND kind <> 5"
# A name that has not reached home yet, or a dirty file whose blocks are not all here, reads this very version.
_NEEDED = """
    SELECT 1 FROM task WHERE ino = :ino AND kind = 2 OR kind = 3 AND substr(:key, 1, length(source)) = source
    UNION ALL
    SELECT 1 FROM inode WHERE ino = :ino AND blocks IS NOT NULL AND base_key = :key AND base_etag = :etag"""
_DIRTY = "SELECT 1 FROM task WHERE ino = ? AND kind = 1"
_BEGUN = "SELECT 1 FROM upload WHERE upload_id = ?"
_OURS = "SELECT 1 FROM dentry WHERE key = :key UNION ALL SELECT 1 FROM task WHERE key = :key"
_TEMPORARY = """
    SELECT 1 FROM dentry WHERE key = :key
    UNION ALL SELECT 1 FROM task WHERE key = :key OR key = :prefix OR source = :key OR source = :prefix
    UNION ALL SELECT 1 FROM directory WHERE prefix >= :prefix AND prefix < :end"""


class Known(NamedTuple):
    """A live name with an object."""

    parent: int
    name: bytes
    ino: int
    key: ObjectKey
    etag: str


class Bucket:
    """Compares one store with the rows that speak of it."""

    def __init__(
        self, snapshot: Snapshot, backend: Backend, *, store: int, threads: trio.CapacityLimiter, look: Look
    ) -> None:
        self._snapshot = snapshot
        self._store = store
        self._backend = backend
        self._threads = threads
        self._look = look

    async def check(self, path_key: str) -> AsyncIterator[Finding]:
        """Yield what is odd at the key and below it; all of the store for ''.

        Raises:
            BackendError: the store does not answer; what came before holds.
        """
        keys = KeyCheck()
        low, end = Known(-1, b"", 0, ObjectKey(path_key), ""), f"{path_key}0" if path_key else _LAST  # "0" follows "/"
        token: str | None = None
        while True:
            page = await self._backend.list(path_key, delimiter=None, token=token)
            found = [info for info in page.objects if _is_within(info.key, path_key)]
            self._look("objects", len(page.objects))
            token = page.next_token
            high = end if token is None else page.objects[-1].key if page.objects else low.key
            for finding in [each for info in found for each in keys.check(info)]:
                yield finding
            for info in found:
                if info.key.startswith(TMP_PREFIX) and await self._is_left(info.key):
                    yield Finding(Kind.TEMPORARY, info.key, f"{info.size} bytes")
            async for row in self._differing(low, high, page.objects, path_key):
                if (changed := await self._changed(row)) is not None:
                    yield changed
            if token is None:
                return
            low = low._replace(key=ObjectKey(high), parent=_ABOVE_ALL)

    async def uploads(self, *, now_ns: int) -> AsyncIterator[Finding]:
        """Yield the uploads in parts that began more than a day ago and that nobody continues."""
        for upload in await self._backend.list_uploads():
            age_ns = now_ns - upload.started_ns
            if age_ns < _DAY_NS:
                continue
            detail = f"upload {upload.upload_id}, begun {age_ns // _DAY_NS} days ago"
            if upload.key is None:
                yield Finding(Kind.UPLOAD, ".fusecache-staging", detail, Abort(ObjectKey(""), upload.upload_id))
            elif not await self._asked(_OURS, {"key": upload.key}):
                yield Finding(Kind.STRANGER, upload.key, detail)
            elif not await self._asked(_BEGUN, (upload.upload_id,)):
                yield Finding(Kind.UPLOAD, upload.key, detail, Abort(upload.key, upload.upload_id))

    async def _differing(
        self, low: Known, high: str, listed: Iterable[ObjectInfo], path_key: str
    ) -> AsyncIterator[Known]:
        """Yield the rows above `low`, up to the key `high`, that the page contradicts."""
        etags = {info.key: info.etag for info in listed}
        while rows := await self._between(low, high):
            self._look("rows", len(rows))
            for row in rows:
                if _is_within(row.key, path_key) and etags.get(row.key) != row.etag:
                    yield row
            low = rows[-1]

    async def _between(self, low: Known, high: str) -> list[Known]:
        bounds = {"store": self._store, "key": low.key, "parent": low.parent, "name": low.name, "high": high}
        find = partial(self._snapshot.rows, _ROWS, bounds)
        return [Known._make(row) for row in await trio.to_thread.run_sync(find, limiter=self._threads)]

    async def _changed(self, row: Known) -> Finding | None:
        """Look again, at the store and then at the row: it may be we who changed it."""
        if await self._asked(_MOVING, (row.key,)):
            return None
        try:
            etag = (await self._backend.head(row.key)).etag
        except NoSuchObject:
            etag = None
        if etag == row.etag or not await self._is_still(row):
            return None
        needed = await self._asked(_NEEDED, {"ino": row.ino, "key": row.key, "etag": row.etag})
        if not needed and await self._asked(_DIRTY, (row.ino,)):
            return None  # the upload will find out, and keep both
        path = await trio.to_thread.run_sync(self._snapshot.path_of, row.ino, limiter=self._threads)
        detail = f"{row.key} is gone" if etag is None else f"{row.key} has etag {etag}, was {row.etag}"
        return Finding(Kind.BASE if needed else Kind.CHANGED, path, detail)

    async def _is_still(self, row: Known) -> bool:
        find = partial(self._snapshot.first, _ROW, (row.parent, row.name))
        return await trio.to_thread.run_sync(find, limiter=self._threads) == row

    async def _is_left(self, key: ObjectKey) -> bool:
        """Whether no row, and no task, speaks of a key below `.fusecache-tmp/N/`."""
        prefix = TMP_PREFIX + key.removeprefix(TMP_PREFIX).partition("/")[0] + "/"
        values = {"key": key, "prefix": prefix, "end": prefix[:-1] + "0"}  # "0" follows "/"
        return not await self._asked(_TEMPORARY, values)

    async def _asked(self, query: str, values: Mapping[str, object] | tuple[object, ...]) -> bool:
        find = partial(self._snapshot.first, query, values)
        return await trio.to_thread.run_sync(find, limiter=self._threads) is not None


def _is_within(key: str, path_key: str) -> bool:
    return not path_key or key == path_key or key.startswith(f"{path_key}/")
