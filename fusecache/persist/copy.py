"""Copies one object inside the store: to where its name is, or onto itself with other attributes."""

from __future__ import annotations

import logging

from fusecache.backends.metadata import UPLOAD_ID, metadata_of
from fusecache.cache.contents import Content
from fusecache.errors import NoSuchObject, PermanentBackendError, PreconditionFailed, StoreRefused
from fusecache.namespace.drain import Started
from fusecache.namespace.records import Dentry, Inode, Task
from fusecache.persist.local import BaseChanged, attributes, follow, make_whole, open_content
from fusecache.persist.plan import Job
from fusecache.persist.start import begin
from fusecache.persist.tools import Tools
from fusecache.types import LowerId

log = logging.getLogger(__name__)


def copied_metadata(inode: Inode, signature: str, *, onto_itself: bool) -> dict[str, str]:
    """What a copy carries beside what the source has: our signature, and our attributes if we know them."""
    if inode.headed or onto_itself:
        return metadata_of(attributes(inode), upload_id=signature)
    return {UPLOAD_ID: signature}


def object_size(inode: Inode) -> int:
    return 0 if inode.symlink is not None else inode.size


class Copier:
    """Carries out copies. After a cancellation the target may exist; it is recorded."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, job: Job) -> None:
        """Copy the object and read it from there.

        Raises:
            BaseChanged: the object is another one by now, and not all of its bytes are local.
            TheirsStays: somebody else's is where it was to go.
            BackendError: nothing is recorded but the target.
        """
        tools, dentry = self._tools, job.dentry
        assert dentry is not None
        assert job.task.ino is not None
        content = open_content(tools.contents, tools.namespace.tables.inodes.get(job.task.ino))
        try:
            await self._copy(job, dentry, content)
        finally:
            content.close()

    async def _copy(self, job: Job, dentry: Dentry, content: Content) -> None:
        tools = self._tools
        assert dentry.lower is not None
        assert dentry.generation is not None
        assert job.place is not None
        inode = tools.namespace.tables.inodes.get(content.ino)
        read = tools.namespace.tables.dentries.get(*dentry.place)
        if read is None or read.lower != dentry.lower or (started := begin(tools, job, content)) is None:
            return  # it changed since: planned again
        source = dentry.lower
        await tools.recorded()
        try:
            size = await self._size(inode, dentry)
            signature = tools.signer.copy(job.key, size, inode.ino, dentry.generation)
            metadata = copied_metadata(inode, signature, onto_itself=source.key == job.key)
            if source.key != job.key:
                await tools.overwriter.clear(source.store, job.key, is_retry=started.is_retry, may_yield=True)
            etag = await tools.copies.make(source, job.key, size=size, metadata=metadata)
        except (NoSuchObject, PreconditionFailed) as exc:
            await self._gone(started, dentry, content, exc)
        except StoreRefused:
            if source.key != job.key:
                raise
            await make_whole(content, tools.fetcher, tools.succession)  # a store that cannot do that
            self._upload_instead(started.task, content)
        else:
            lower = LowerId(source.store, job.key, etag)
            tools.namespace.drain.copied(started, lower, generation=dentry.generation, now_ns=tools.wall_ns())
            if dentry.place == job.place:  # else it was copied from another name, which is read as before
                follow(content, source, lower)

    async def _size(self, inode: Inode, dentry: Dentry) -> int:
        """Of the object, which may hold older bytes than the inode: an answer that is lost is known again by it."""
        assert dentry.lower is not None
        if dentry.generation == inode.generation:
            return object_size(inode)
        async with self._tools.slots:
            return (await self._tools.backends[dentry.lower.store].head(dentry.lower.key)).size

    async def _gone(self, started: Started, dentry: Dentry, content: Content, exc: PermanentBackendError) -> None:
        tools, task, old = self._tools, started.task, dentry.lower
        assert task.ino is not None
        assert old is not None
        assert dentry.generation is not None
        found = await tools.overwriter.look(old.store, old.key)
        rows = tools.namespace.tables.dentries.of_inode(task.ino)
        row = next((each for each in rows if each.lower == old), None)
        if row is None:
            return  # it was unlinked, or moved by somebody else: planned again
        deletes = tools.namespace.tables.tasks.deletes_of(old.store, old.key)
        is_unsure = started.is_retry or any(each.unsure for each in deletes)
        if found is not None and is_unsure and tools.signer.holds(found, task.ino, dentry.generation):
            lower = LowerId(old.store, old.key, found.etag)  # our own copy onto itself, whose answer was lost
            tools.namespace.drain.recognised(row, lower, now_ns=tools.wall_ns())
            follow(content, old, lower)
            return  # planned again
        if not content.whole:
            raise BaseChanged("base object changed") from exc
        self._upload_instead(task, content)

    def _upload_instead(self, task: Task, content: Content) -> None:
        tools = self._tools
        log.info("%s cannot be copied in the store: sent again from here", task.source)
        if content.base is not None:
            content.relabel(None)
        now_ns = tools.wall_ns()
        current = tools.namespace.tables.tasks.get(task.task)
        if current is not None:
            tools.namespace.drain.upload_instead(current, now_ns=now_ns)
