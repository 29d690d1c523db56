"""Sends a large file in parts; what was sent before a failure or a restart is not sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import trio

from fusecache.backends.metadata import UPLOAD_ID
from fusecache.cache.changes import unchanged
from fusecache.cache.content import Content
from fusecache.errors import (
    BackendError,
    BackendUnavailable,
    NoSuchObject,
    PreconditionFailed,
    StoreRefused,
)
from fusecache.namespace.drain import Started
from fusecache.namespace.uploads import Upload
from fusecache.nurseries import unwrapped
from fusecache.persist.local import Stamp, stamp_of
from fusecache.persist.overwrite import Condition
from fusecache.persist.proven import BytesChanged, Proof, ProvenRange
from fusecache.persist.ranges import Part
from fusecache.persist.reuse import missing_of, plan
from fusecache.persist.signature import signed
from fusecache.persist.tools import Tools
from fusecache.persist.verify import Sent
from fusecache.types import ETag, ObjectInfo

_RUN = 16
"""Parts of one file before those of the next: of a very large file the others don't wait for the end."""


class Parts:
    """Uploads in parts. Whatever interrupts one, it is recorded: the next attempt goes on, or it is aborted."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._next = trio.StrictFIFOLock()
        """Held by the file that takes slots. Were they taken by turns, all files would be ready at the same time, late,
        and a server would put together what its caches have lost by then (a tenth of versitygw's CPU)."""

    async def send(
        self, started: Started, content: Content, proof: Proof, before: Stamp | None, metadata: Mapping[str, str]
    ) -> ETag | None:
        """Send what is missing and return the object's etag, or None if the file changed: then nothing has appeared.

        Raises:
            BackendError: the next attempt goes on from there, if the file has the same bytes then.
            BytesChanged: the file is not what was written; the upload is given up.
        """
        store, signature = started.task.store, metadata[UPLOAD_ID]
        upload = self._unfinished(started, signature)
        if upload is None:
            others = await self._tools.leftovers.clear(store, started.key)
            if not self._is_current(started):
                return None
            with self._tools.namespace.database.transaction():
                upload = self._tools.namespace.tables.uploads.intend(
                    content.ino,
                    store,
                    started.key,
                    others=others,
                    signature=signature,
                    part_bytes=self._tools.settings.part_size,
                    unchanged=unchanged(content),
                    base=None if content.base is None else content.base.label,
                )
        with self._tools.leftovers.held(upload.upload):
            if upload.upload_id is None:
                backend = self._tools.backends[upload.store]
                begin = partial(backend.start_multipart, upload.key, metadata=metadata)
                upload = await self._tools.leftovers.begin(upload, begin)
            parts = plan(self._tools, upload.store, proof.size, upload.part_bytes, upload.unchanged_extents)
            extents = [part.extent for part in parts if not part.is_copied]
            sent = Sent(proof.size, {each.offset: ProvenRange(content.fd(), *each, proof) for each in extents})
            try:
                etags = await self._send_missing(upload, parts, content, proof, before)
                return None if etags is None else await self._complete(started, upload, etags, sent)
            except NoSuchObject:
                return await self._answer_lost(upload, sent)
            except BytesChanged:
                self._give_up(upload)
                raise

    def _is_current(self, started: Started) -> bool:
        """Whether the task still has that target: what tells of an end of it tells those that are recorded by then."""
        task = self._tools.namespace.tables.tasks.get(started.task.task)
        return task is not None and task.key == started.key and not task.staged

    def _unfinished(self, started: Started, signature: str) -> Upload | None:
        """Return what an earlier attempt has begun with these very bytes; anything else of the file is given up."""
        tools = self._tools
        assert started.task.ino is not None
        found = None
        for row in tools.namespace.tables.uploads.of_inode(started.task.ino):
            if row.upload_id is not None and (row.key, row.signature) == (started.key, signature):
                found = row
            else:
                self._give_up(row)
        return found

    async def _send_missing(
        self, upload: Upload, parts: Sequence[Part], content: Content, proof: Proof, before: Stamp | None
    ) -> list[ETag] | None:
        """Return the etags of all parts; None if the file changed."""
        tools, uploads = self._tools, self._tools.namespace.tables.uploads
        etags = uploads.parts(upload.upload)
        left = [(number, part) for number, part in enumerate(parts, start=1) if number not in etags]
        failures: list[BackendError] = []

        def is_same() -> bool:
            return before == stamp_of(content) and uploads.is_wanted(upload.upload)

        async def send(number: int, part: Part, turn: object) -> None:
            try:
                etags[number] = await self._send_part(
                    upload, number, part, ProvenRange(content.fd(), *part.extent, proof)
                )
            except BackendError as exc:
                failures.append(exc)  # no other part is begun; those under way come to their end
                return
            finally:
                tools.slots.release_on_behalf_of(turn)
            tools.sent.add(part.extent.length)
            if is_same():
                with tools.namespace.database.transaction():
                    uploads.sent(upload.upload, number, etags[number])

        async def begin(run: Sequence[tuple[int, Part]], nursery: trio.Nursery) -> bool:
            for number, part in run:
                # Taken here, so that a large file has no more tasks than requests.
                turn = object()
                await tools.slots.acquire_on_behalf_of(turn)
                if failures or not is_same():
                    tools.slots.release_on_behalf_of(turn)
                    return False
                nursery.start_soon(send, number, part, turn)
            return True

        if missing_of(content, [part for _, part in left]):
            self._give_up(upload)  # what had been fetched to be sent was forgotten in a crash
            return None
        with unwrapped():
            async with trio.open_nursery() as nursery:
                for first in range(0, len(left), _RUN):
                    async with self._next:
                        if not await begin(left[first : first + _RUN], nursery):
                            break
        if failures:
            raise failures[0]
        return [etags[number] for number in sorted(etags)] if is_same() else None

    async def _send_part(self, upload: Upload, number: int, part: Part, source: ProvenRange) -> ETag:
        backend, key, extent = self._tools.backends[upload.store], upload.key, part.extent
        assert upload.upload_id is not None
        if not part.is_copied:
            return await backend.put_part(key, upload.upload_id, number, source)
        assert upload.base_key is not None
        assert upload.base_etag is not None
        try:
            return await backend.put_part_copy(
                key, upload.upload_id, number, upload.base_key, extent, if_match=upload.base_etag
            )
        except (PreconditionFailed, StoreRefused):
            self._give_up(upload)  # the base was moved, or replaced; or this store cannot do that
            raise

    async def _complete(self, started: Started, upload: Upload, etags: list[ETag], sent: Sent) -> ETag:
        tools = self._tools
        assert upload.upload_id is not None
        upload_id, is_completed = upload.upload_id, False

        async def complete(condition: Condition) -> ETag:
            nonlocal is_completed
            etag = await tools.backends[upload.store].complete_multipart(
                upload.key,
                upload_id,
                etags,
                if_match=condition.if_match,
                if_none_match=condition.if_none_match,
            )
            is_completed = True
            await tools.verifier.written(upload.store, upload.key, etag, sent)
            return etag

        async def holds(found: ObjectInfo) -> bool:
            return await tools.verifier.holds(upload.store, found, sent)

        try:
            etag = await tools.overwriter.put(
                upload.store, upload.key, upload.signature, complete, holds=holds, is_retry=started.is_retry
            )
        except StoreRefused:
            self._give_up(upload)  # it has other parts than we know, say: the next attempt sends them all
            raise
        if not is_completed:
            self._give_up(upload)  # the object is there, by an earlier attempt; maybe so are the parts
        return etag

    async def _answer_lost(self, upload: Upload, sent: Sent) -> ETag:
        """The upload is gone: it was completed, or aborted by somebody's clean-up."""
        tools = self._tools
        found = await tools.overwriter.look(upload.store, upload.key)
        is_made = found is not None and tools.signer.is_ours(found) and signed(found) == upload.signature
        if found is not None and is_made and await tools.verifier.holds(upload.store, found, sent):
            return found.etag
        self._give_up(upload)  # what was made, if anything was, may be what its base is by now
        raise BackendUnavailable(f"{upload.key}: its upload in parts is gone, and is begun anew")

    def _give_up(self, upload: Upload) -> None:
        with self._tools.namespace.database.transaction():
            self._tools.namespace.tables.uploads.give_up(upload.upload)

    def _forget(self, upload: Upload) -> None:
        with self._tools.namespace.database.transaction():
            self._tools.namespace.tables.uploads.forget(upload.upload)
