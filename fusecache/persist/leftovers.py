"""Uploads in parts that nobody goes on with: whatever ended them, none stays in the bucket."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

import trio

from fusecache.backends.base import Backend
from fusecache.backends.repeat import Repeats
from fusecache.errors import (
    BackendError,
    BackendUnavailable,
    NoSuchObject,
    PermanentBackendError,
    Throttled,
    TransientBackendError,
)
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.uploads import Upload
from fusecache.persist.backoff import Backoff
from fusecache.persist.succession import Succession
from fusecache.types import ObjectKey, StoreNo

log = logging.getLogger(__name__)

_PATIENCE_S = 5.0
_TICK_S = 0.05


class Leftovers:
    """Aborts them: those of files that changed, moved or went, and those that a crash left without a name."""

    def __init__(
        self,
        namespace: Namespace,
        durability: Durability,
        backends: Mapping[StoreNo, Backend],
        slots: trio.CapacityLimiter,
        succession: Succession,
        repeats: Repeats,
        backoff_s: Backoff,
    ) -> None:
        self._namespace = namespace
        self._durability = durability
        self._repeats = repeats
        self._backends = backends
        self._slots = slots
        self._succession = succession
        self._backoff_s = backoff_s
        self._held: set[int] = set()
        self._bell = trio.Event()

    async def run(self) -> None:
        """Abort what there is and what there will be, until cancelled. What could not be aborted is tried again."""
        failures = 0
        while True:
            self._bell = trio.Event()
            failed = [error for row in self._unwanted() if (error := await self._end(row)) is not None]
            if failed:
                failures += 1
                await trio.sleep(self._delay_s(failures, failed))
                continue
            failures = 0
            await self._bell.wait()

    async def tidy(self) -> None:
        """Return when there is nothing left to be aborted; after some seconds anyway, if the store does not do it."""
        with trio.move_on_after(_PATIENCE_S):
            while self._namespace.tables.uploads.unwanted():
                self.look()
                await trio.sleep(_TICK_S)

    def look(self) -> None:
        """There may be something to be aborted. Cheap."""
        if self._unwanted():
            self._bell.set()

    @contextmanager
    def held(self, upload: int) -> Iterator[None]:
        """In the block somebody is at this upload: it is left alone whatever becomes of its file."""
        self._held.add(upload)
        try:
            yield
        finally:
            self._held.remove(upload)
            self.look()

    async def begin(self, upload: Upload, request: Callable[[], Awaitable[str]]) -> Upload:
        """Ask for an upload that is recorded, again after a transient error, and record how the store calls it.

        Each step is safe from a power loss before the next: none can be forgotten.
        Raises:
            BackendError: what may have been begun is aborted.
        """
        uploads, is_lost = self._namespace.tables.uploads, False

        async def start() -> str:
            nonlocal is_lost
            try:
                async with self._slots:
                    return await request()
            except TransientBackendError as exc:
                is_lost = is_lost or not isinstance(exc, Throttled)
                raise

        await self._recorded()
        try:
            upload_id = await self._repeats.ask(start)
        except PermanentBackendError:
            if not is_lost:
                self.forget(upload)
            raise
        with self._namespace.database.transaction():
            if is_lost:
                uploads.lost(upload)
            begun = uploads.begun(upload, upload_id)
        await self._recorded()
        return begun

    def forget(self, upload: Upload) -> None:
        """The store has nothing of it."""
        with self._namespace.database.transaction():
            self._namespace.tables.uploads.forget(upload.upload)

    async def clear(self, store: StoreNo, key: ObjectKey) -> Collection[str] | None:
        """Abort our earlier uploads to `key`, and return the store's names for those of others; None: it doesn't tell.

        What cannot be aborted now will be.
        Raises:
            TransientBackendError: the store does not answer.
        """
        for row in self._unwanted():
            if (row.store, row.key) == (store, key):
                await self._end(row)
        try:
            return await self._listed(store, key)
        except PermanentBackendError as exc:
            log.info("%s: uploads in parts cannot be listed, so that a crash may leave one behind: %s", key, exc)
            return None

    async def _recorded(self) -> None:
        await self._durability.reached(self._namespace.database.seq)

    def _unwanted(self) -> list[Upload]:
        return [row for row in self._namespace.tables.uploads.unwanted() if row.upload not in self._held]

    async def _end(self, row: Upload) -> BackendError | None:
        """Abort an upload and forget it, or return why that has to wait."""
        if row.upload in self._held:
            return None
        self._held.add(row.upload)
        try:
            for upload_id in await self._ids(row):
                await self._abort(row, upload_id)
            if row.replaced is not None:
                async with self._slots:
                    await self._succession.look(row)  # it may have been completed
            self.forget(row)
        except BackendError as exc:
            log.info("%s: an upload in parts could not be aborted yet: %s", row.key, exc)
            return exc
        finally:
            self._held.remove(row.upload)
        return None

    async def _abort(self, row: Upload, upload_id: str) -> None:
        """Abort it, and look: S3 may store a part that is under way meanwhile, of an upload that is there again then.

        Raises:
            BackendUnavailable: it did.
        """
        backend = self._backends[row.store]
        async with self._slots:
            await backend.abort_multipart(row.key, upload_id)
        with suppress(PermanentBackendError):  # it is gone, as it should be; or this store does not tell
            async with self._slots:
                left = await backend.list_parts(row.key, upload_id)
            if left:
                raise BackendUnavailable(f"{row.key}: a part arrived after its upload was aborted")

    async def _ids(self, row: Upload) -> list[str]:
        """What the store may call it. If its answer was lost, all that is new, not known, and has no part yet.

        We send no part before the name is recorded; somebody else may have begun one since, and goes on with it.
        """
        if row.upload_id is not None:
            return [row.upload_id]
        if row.not_ours is None:
            return []
        found = set(await self._listed(row.store, row.key)) - set(row.not_ours)
        found -= self._namespace.tables.uploads.known_ids(row.store, row.key)
        return [upload_id for upload_id in sorted(found) if await self._is_empty(row, upload_id)]

    async def _listed(self, store: StoreNo, key: ObjectKey) -> list[str]:
        async with self._slots:
            return [upload.upload_id for upload in await self._backends[store].list_uploads(key)]

    async def _is_empty(self, row: Upload, upload_id: str) -> bool:
        try:
            async with self._slots:
                return not await self._backends[row.store].list_parts(row.key, upload_id)
        except NoSuchObject:
            return False

    def _delay_s(self, failures: int, errors: list[BackendError]) -> float:
        asked_s = max((each.retry_after_s for each in errors if isinstance(each, TransientBackendError)), default=None)
        if asked_s is None:
            return self._backoff_s.settings.stuck_retry_s
        return self._backoff_s(failures, retry_after_s=asked_s)
