"""Sends the bytes of a file, read from its sparse file as they go out."""

from __future__ import annotations

from collections.abc import Mapping

from fusecache.backends.base import Backend, Source
from fusecache.backends.metadata import UPLOAD_ID, metadata_of
from fusecache.backends.sources import BytesSource, SourceTruncated
from fusecache.cache.contents import Base, Content
from fusecache.cache.sums import SUM_BYTES
from fusecache.errors import PermanentBackendError, PreconditionFailed, StoreRefused
from fusecache.namespace.drain import Started
from fusecache.namespace.records import Inode
from fusecache.namespace.seals import Held
from fusecache.persist.local import BaseChanged, attributes, find_base, make_whole, open_content, stamp_of
from fusecache.persist.overwrite import Condition
from fusecache.persist.parts import Parts
from fusecache.persist.plan import Job
from fusecache.persist.proven import BytesChanged, Proof, ProvenRange
from fusecache.persist.reuse import make_ready, may_copy
from fusecache.persist.start import begin
from fusecache.persist.tools import Tools
from fusecache.persist.verify import Sent
from fusecache.types import ETag, LowerId, ObjectInfo

_AGAIN_NS = 500_000_000
"""After a file changed while it was sent: whoever writes goes on for a while."""
_AT_ONCE_BYTES = 1 << 20
"""Bodies up to this size are in memory while they are sent, one for each upload in flight."""


class Uploader:
    """Carries out uploads. A cancellation leaves the task as it was, and parts that the next attempt need not send."""

    def __init__(self, tools: Tools, parts: Parts) -> None:
        self._tools = tools
        self._parts = parts

    async def run(self, job: Job) -> None:
        """Upload the file, and mark it clean if it did not change meanwhile.

        Raises:
            BackendError: nothing is recorded but the target.
        """
        tools = self._tools
        assert job.task.ino is not None
        inode = tools.namespace.tables.inodes.get(job.task.ino)
        if inode.symlink is not None:
            started = begin(tools, job)
            if started is not None:
                await tools.recorded()
                await self._finish(started, inode, BytesSource(b""), self._proof(inode))
            return
        content = open_content(tools.contents, inode)
        try:
            is_copied = may_copy(tools, job.task.store, inode, content) and await make_ready(
                tools, job.task.store, content
            )
            if not is_copied and not content.whole:
                await make_whole(content, tools.fetcher, tools.succession)
            is_same = True
            if content.base is not None or tools.namespace.tables.seals.get(inode.ino).synced_base_size is not None:
                is_same = await self._hold(content)
            if is_same or content.whole:
                await self._send(job, content, is_copied=is_copied)
            else:
                tools.namespace.drain.put_off(job.task, due_ns=tools.wall_ns() + _AGAIN_NS)
        finally:
            content.close()

    async def _hold(self, content: Content) -> bool:
        """The object that some bytes come from may be overwritten: a power loss must not take the others now.

        Returns whether it cannot: False if the file was written to meanwhile.
        """
        tree, inodes = self._tools.namespace.tree, self._tools.namespace.tables.inodes
        synced = await self._tools.contents.sync(content)
        if synced.changes != content.changes:
            return False
        generation = inodes.get(content.ino).generation
        tree.synced(content.ino, Held(generation, synced.size, synced.blocks, synced.base_size))
        return True

    async def _send(self, job: Job, content: Content, *, is_copied: bool) -> None:
        tools = self._tools
        started = begin(tools, job, content)
        if started is None:
            return
        if not is_copied:
            self._forget_base(content)
        await tools.recorded()
        inode = tools.namespace.tables.inodes.get(content.ino)
        if not content.whole and inode.size <= tools.settings.multipart_threshold:
            self._again(started)  # it was cut meanwhile: now all of it is sent
            return
        try:
            with content.held():
                proof = self._proof(inode)  # now, as the end of the task forgets the sums
                await self._finish(started, inode, self._source(content, inode, proof), proof, content)
        except SourceTruncated:
            self._again(started)
        except BytesChanged:
            if tools.namespace.tables.inodes.get(inode.ino).generation == inode.generation:
                raise
            self._again(started)  # somebody writes through the mount
        except (PreconditionFailed, StoreRefused) as exc:
            await self._not_copied(started, content, exc)

    async def _not_copied(self, started: Started, content: Content, exc: PermanentBackendError) -> None:
        """The store would not copy what is missing here: from where it is now, or not at all."""
        tools = self._tools
        if isinstance(exc, StoreRefused) and (content.whole or self._backend(started).capabilities.multipart_copy):
            raise exc
        try:
            await find_base(content, tools.succession, exc)
        except BaseChanged:
            if not content.whole:
                raise
            self._forget_base(content)
        self._again(started)

    def _forget_base(self, content: Content) -> None:
        """All of it is here, and all of it is sent."""
        if content.base is not None:
            content.relabel(None)
        self._tools.namespace.tree.made_whole(content.ino)

    def _source(self, content: Content, inode: Inode, proof: Proof) -> Source:
        """A small body is read at once: no write of this process can come between, and none while it is sent."""
        if not inode.size:
            return BytesSource(b"")
        source = ProvenRange(content.fd(), 0, inode.size, proof)
        return source if inode.size > _AT_ONCE_BYTES else BytesSource(b"".join(source))

    def _proof(self, inode: Inode) -> Proof:
        """What is known of the bytes that `inode` has just now."""
        seal = self._tools.namespace.tables.seals.get(inode.ino)
        return Proof(inode.ino, inode.size, seal.sums_of(inode.generation))

    async def _finish(
        self, started: Started, inode: Inode, source: Source, proof: Proof, content: Content | None = None
    ) -> None:
        tools = self._tools
        before = stamp_of(content) if content is not None and inode.size else None
        signature = tools.signer.upload(started.key, inode, source.length, before)
        metadata = metadata_of(attributes(inode), upload_id=signature)
        if content is not None and source.length > tools.settings.multipart_threshold:
            etag = await self._parts.send(started, content, proof, before, metadata)
        else:
            etag = await self._put(started, source, metadata)
            tools.sent.add(source.length)
        if etag is None or (content is not None and before is not None and before != stamp_of(content)):
            self._again(started)
            return
        lower = LowerId(started.task.store, started.key, etag)
        clean = tools.namespace.drain.uploaded(started, lower, inode, now_ns=tools.wall_ns(), signature=signature)
        if clean and content is not None:
            hashes = proof.hashes() if content.block_size == SUM_BYTES else b""
            content.relabel(Base(*lower, size=inode.size), hashes=hashes)
        elif content is not None and content.base is not None:
            content.rebase(Base(*lower, size=content.base.size))

    async def _put(self, started: Started, source: Source, metadata: Mapping[str, str]) -> ETag:
        backend, verifier, store = self._backend(started), self._tools.verifier, started.task.store
        sent = Sent.whole(source)

        async def send(condition: Condition) -> ETag:
            etag = await backend.put(
                started.key,
                source,
                metadata=metadata,
                if_match=condition.if_match,
                if_none_match=condition.if_none_match,
            )
            await verifier.written(store, started.key, etag, sent)
            return etag

        async def holds(found: ObjectInfo) -> bool:
            return await verifier.holds(store, found, sent)

        return await self._tools.overwriter.put(
            store, started.key, metadata[UPLOAD_ID], send, holds=holds, is_retry=started.is_retry
        )

    def _again(self, started: Started) -> None:
        """The file changed while it was sent."""
        tools = self._tools
        tools.namespace.drain.put_off(started.task, due_ns=tools.wall_ns() + _AGAIN_NS)

    def _backend(self, started: Started) -> Backend:
        return self._tools.backends[started.task.store]
