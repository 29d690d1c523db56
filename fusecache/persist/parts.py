"""Sends a large file in parts."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import trio

from fusecache.backends.base import Backend
from fusecache.backends.metadata import UPLOAD_ID
from fusecache.backends.sources import FileRange
from fusecache.cache.content import Content
from fusecache.errors import BackendUnavailable, FusecacheError, NoSuchObject
from fusecache.namespace.drain import Started
from fusecache.nurseries import unwrapped
from fusecache.persist.local import Stamp
from fusecache.persist.overwrite import Condition
from fusecache.persist.tools import Tools
from fusecache.types import ETag, ObjectKey

log = logging.getLogger(__name__)

_ABORT_S = 5.0
"""How long a cancelled upload may take to clean up its parts."""


class Parts:
    """Uploads in parts. A cancellation leaves none behind if the store answers."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def send(
        self, started: Started, content: Content, size: int, before: Stamp | None, metadata: Mapping[str, str]
    ) -> ETag | None:
        """Return the etag, or None if the file changed: then nothing has appeared."""
        tools, backend = self._tools, self._tools.backends[started.task.store]
        async with tools.slots:
            upload_id = await backend.start_multipart(started.key, metadata=metadata)
        completed = False

        async def complete(condition: Condition) -> ETag:
            nonlocal completed
            etag = await self._complete(started, upload_id, etags, condition)
            completed = True
            return etag

        try:
            etags = await self._parts(backend, started.key, upload_id, content, size)
            if before != Stamp.of(content.fd()):
                return None
            return await tools.overwriter.put(
                started.task.store, started.key, metadata[UPLOAD_ID], complete, is_retry=started.is_retry
            )
        finally:
            if not completed:
                await _abort(backend, started.key, upload_id)

    async def _complete(self, started: Started, upload_id: str, etags: list[ETag], condition: Condition) -> ETag:
        try:
            return await self._tools.backends[started.task.store].complete_multipart(
                started.key,
                upload_id,
                etags,
                if_match=condition.if_match,
                if_none_match=condition.if_none_match,
            )
        except NoSuchObject as exc:  # aborted by somebody's clean-up, or completed and the answer lost
            raise BackendUnavailable(str(exc)) from exc

    async def _parts(self, backend: Backend, key: ObjectKey, upload_id: str, content: Content, size: int) -> list[ETag]:
        part_size = _part_size(size, self._tools.settings.part_size)
        ranges = [
            FileRange(content.fd(), offset, min(part_size, size - offset)) for offset in range(0, size, part_size)
        ]
        etags: list[ETag] = [ETag("")] * len(ranges)

        async def send(number: int, source: FileRange) -> None:
            try:
                etags[number] = await backend.put_part(key, upload_id, number + 1, source)
            finally:
                self._tools.slots.release_on_behalf_of(source)

        with unwrapped():
            async with trio.open_nursery() as nursery:
                for number, source in enumerate(ranges):
                    # Taken here, so that a large file has no more tasks than requests.
                    await self._tools.slots.acquire_on_behalf_of(source)
                    nursery.start_soon(send, number, source)
        return etags


def _part_size(size: int, wanted: int) -> int:
    """S3 takes 10,000 parts of an object."""
    return max(wanted, -(-size // 10_000))


async def _abort(backend: Backend, key: ObjectKey, upload_id: str) -> None:
    with trio.move_on_after(_ABORT_S, shield=True):
        try:
            await backend.abort_multipart(key, upload_id)
        except FusecacheError as exc:
            log.info("%s: the parts of upload %s stay behind: %s", key, upload_id, exc)
