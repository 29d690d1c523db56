"""Moves the tree of a renamed directory inside the store: page by page, resumed after a crash.

Copy all keys below the old prefix, commit markers last, then read the new one (the flip), then look for strays:
copies of names that were removed meanwhile. Sources are deleted after the flip, by tasks of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import trio

from fusecache.backends.metadata import UPLOAD_ID
from fusecache.errors import NoSuchObject, TransientBackendError
from fusecache.namespace.keys import TMP_PREFIX, ancestors
from fusecache.namespace.links import is_sent
from fusecache.namespace.lower import LowerObject
from fusecache.namespace.records import Task, TaskKind
from fusecache.namespace.relocations import Relocated, only_markers_left
from fusecache.nurseries import unwrapped
from fusecache.persist.barrier import Barriers
from fusecache.persist.copy import copied_metadata
from fusecache.persist.local import follow, open_content
from fusecache.persist.plan import Job
from fusecache.persist.resolve import Owner, Resolved, resolve
from fusecache.persist.staging import Patterns
from fusecache.persist.start import set_out
from fusecache.persist.tools import Tools
from fusecache.types import ETag, InodeNo, LowerId, ObjectInfo, ObjectKey, Seq

_PAGE = 1000
_ATTEMPTS = 8
"""Of one copy before the page is given up: one refusal must not repeat a thousand copies."""
_BUSY_S = 0.1
"""How soon to look again whether a target key is free."""


class Relocator:
    """Carries out relocations. What a cancellation interrupts is done again from the last whole page."""

    def __init__(self, tools: Tools, barriers: Barriers, patterns: Patterns) -> None:
        self._tools = tools
        self._barriers = barriers
        self._patterns = patterns
        self._t = tools.namespace.tables
        self._drain = tools.namespace.drain
        self._relocations = tools.namespace.drain.relocations

    async def run(self, job: Job) -> None:
        """Go on with a relocation, from wherever it is, to its end.

        Raises:
            BackendError: every finished page is recorded.
        """
        try:
            await self._run(job)
        finally:
            self._tools.moved.pop(job.task.task, None)

    async def _run(self, job: Job) -> None:
        task = job.task
        assert task.ino is not None
        if job.is_held:
            await self._clear_way(task)
            return
        if job.place is not None and task.key is None:
            if (begun := set_out(self._tools, job)) is None:
                return  # planned again
            task = begun
            await self._tools.recorded()
        if self._is_there(task) and task.source != task.key:
            if not await self._copy_all(task):
                return  # planned again
            if self._is_there(task):
                self._relocations.flipped(task, now_ns=self._tools.wall_ns())
        current = self._t.tasks.get(task.task)
        if current is None:
            return
        if self._is_there(current):
            await self._sweep(current)
        else:
            await self._sweep_removed(current)

    def _is_there(self, task: Task) -> bool:
        assert task.ino is not None
        return self._t.directories.find(task.ino) is not None

    # --- copying ---

    async def _copy_all(self, task: Task) -> bool:
        """Copy what is below the old prefix, commit markers last. False: they have to wait."""
        if not only_markers_left(task):
            is_held_back = await self._copy_pages(task, self._is_data, task.position) or task.position is not None
            if not is_held_back or not self._is_there(task):
                return True
            await self._clear_way(task)
            task = self._relocations.held_back(task)
            if self._barriers.arriving(task) is not None:
                return False
        await self._copy_pages(task, self._is_commit, None)
        return True

    async def _copy_pages(
        self, task: Task, is_wanted: Callable[[Task, ObjectInfo], bool], position: str | None
    ) -> bool:
        """Copy what is wanted of the keys above `position`. Returns whether some were not."""
        assert task.source is not None
        is_last, is_rest = False, False
        while not is_last:
            start, seq = position, self._tools.namespace.database.seq
            async with self._tools.slots:
                page = await self._tools.backends[task.store].list(
                    task.source, delimiter=None, start_after=position, limit=_PAGE
                )
            is_last = page.next_token is None
            wanted = tuple(info for info in page.objects if is_wanted(task, info))
            is_rest = is_rest or len(wanted) < len(page.objects)
            position = page.objects[-1].key if page.objects else position
            if wanted and position is not None:
                self._notice(task, wanted, seq)
                there = await self._there(task, start, position)
                await self._copy_page(task, wanted, there, max(position, task.position or ""))
            if not self._is_there(task):
                break
        return is_rest

    def _is_commit(self, task: Task, info: ObjectInfo) -> bool:
        """Whether a key is a commit marker where it goes; what steps aside is none to anybody."""
        target = self._target(task, info.key)
        return not target.startswith(TMP_PREFIX) and self._patterns.tree_of(target) is not None

    def _is_data(self, task: Task, info: ObjectInfo) -> bool:
        return not self._is_commit(task, info)

    def _notice(self, task: Task, objects: tuple[ObjectInfo, ...], seq: Seq) -> None:
        """A known object that somebody else has replaced is that of the name now, as after any listing."""
        for info in objects:
            found = self._resolve(task, info.key)
            row = found.dentry
            if row is not None and row.key == info.key and row.etag != info.etag:
                evidence = LowerObject(info.key, info.size, info.etag, info.mtime_ns)
                self._tools.namespace.lower.merge(row.parent, [(row.name, evidence)], epoch=seq)

    async def _there(self, task: Task, start: str | None, end: str) -> dict[ObjectKey, ETag]:
        """What the store has where a page of copies, of the keys above `start` up to `end`, is to go."""
        found: dict[ObjectKey, ETag] = {}
        position, last = self._target(task, start) if start else None, self._target(task, end)
        while True:
            page = await self._page(task, position)
            found |= {info.key: info.etag for info in page if info.key <= last}
            if len(page) < _PAGE or page[-1].key >= last:
                return found
            position = page[-1].key

    def _target(self, task: Task, source: str) -> ObjectKey:
        assert task.source is not None
        return ObjectKey(f"{task.key}{source[len(task.source) :]}")

    async def _copy_page(
        self, task: Task, objects: tuple[ObjectInfo, ...], there: Mapping[ObjectKey, ETag], position: str
    ) -> None:
        moved: dict[ObjectKey, Relocated] = {}
        try:
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    todo = iter(objects)
                    for _ in range(min(len(objects), int(self._tools.slots.total_tokens))):
                        nursery.start_soon(self._move_all, task, todo, there, moved)
            if self._is_there(task):
                self._record(task, [moved[info.key] for info in objects if info.key in moved], position)
        finally:
            self._tools.inflight.release_keys(task.task)

    async def _move_all(
        self,
        task: Task,
        todo: Iterator[ObjectInfo],
        there: Mapping[ObjectKey, ETag],
        moved: dict[ObjectKey, Relocated],
    ) -> None:
        for info in todo:  # shared with the others
            await self._move(task, info, there, moved)

    async def _move(
        self, task: Task, info: ObjectInfo, there: Mapping[ObjectKey, ETag], moved: dict[ObjectKey, Relocated]
    ) -> None:
        target = self._target(task, info.key)
        while self._is_there(task):
            if self._is_anothers(task, info.key):
                return
            found = self._resolve(task, info.key)
            if not self._is_copied(task, found, info):
                if self._is_left(task, found, info):
                    moved[info.key] = Relocated(info.key, self._meant(found, info), None, None)
                return
            if not self._is_busy(task, target):
                self._tools.inflight.claim(task.task, task.store, (target,))
                if there.get(target, info.etag) != info.etag and not target.endswith("/"):
                    await self._tools.overwriter.clear(task.store, target, is_retry=True, may_yield=False)
                moved |= await self._copied(task, info, target, found)
                return
            await trio.sleep(_BUSY_S)

    def _resolve(self, task: Task, key: ObjectKey) -> Resolved:
        assert task.ino is not None
        assert task.source is not None
        return resolve(self._t, task.ino, task.source, key)

    def _is_copied(self, task: Task, found: Resolved, info: ObjectInfo) -> bool:
        """What is known and clean, and what is not known; but nothing that somebody else is deleting."""
        match found.owner:
            case Owner.UNKNOWN:
                return not self._is_going(task, info.key)
            case Owner.MARKER:
                return not self._is_own_marker(found, info.key) and not self._is_going(task, info.key)
            case Owner.FILE:
                assert found.dentry is not None
                is_known = found.dentry.key == info.key and found.dentry.etag == info.etag
                return is_known and not is_sent(self._t, found.dentry)
            case _:
                return False

    def _is_own_marker(self, found: Resolved, key: ObjectKey) -> bool:
        """Whether we wrote it, or may have: the answer is lost if the task is still there."""
        if found.directory is None or found.directory.marker:
            return found.directory is not None
        task = self._t.tasks.of_inode(found.directory.ino, TaskKind.MARKER)
        return task is not None and task.key == key

    def _is_going(self, task: Task, key: ObjectKey) -> bool:
        """What this relocation itself deletes is behind its position."""
        return bool(self._t.tasks.deletes_of(task.store, key))

    def _is_anothers(self, task: Task, key: ObjectKey) -> bool:
        """A directory reads it that was below this one and has moved, or that has come to the old path since."""
        assert task.ino is not None
        assert task.source is not None
        above = [prefix for prefix in ancestors(key) if len(prefix) > len(task.source)]
        if key.endswith("/") and len(key) > len(task.source):
            above.append(key)
        if not above:
            return False
        if any(each.task != task.task for each in self._t.tasks.relocations_over(task.store, above)):
            return True
        reading = self._t.directories.reading(task.store, above)
        return any(task.ino not in (ino, *self._t.directories.ancestors(ino)) for ino in reading)

    def _is_left(self, task: Task, found: Resolved, info: ObjectInfo) -> bool:
        """The key is not copied but has to go, and has no delete yet that shows so."""
        if found.owner is Owner.MARKER:
            return True
        deletes = self._t.tasks.deletes_of(task.store, info.key)
        return found.owner is Owner.FILE and all(each.shield is None for each in deletes)

    def _meant(self, found: Resolved, info: ObjectInfo) -> ETag | None:
        """The version that has to go: the one that the name stood for, else one of ours."""
        row = found.dentry
        return row.etag if row is not None and row.key == info.key else None

    def _has(self, ino: InodeNo | None, kind: TaskKind) -> bool:
        return ino is not None and self._t.tasks.of_inode(ino, kind) is not None

    def _is_busy(self, task: Task, target: ObjectKey) -> bool:
        tools = self._tools
        return tools.inflight.conflicts(task.store, target, but=task.task) or tools.contents.readers_of(
            task.store, target
        )

    async def _copied(
        self, task: Task, info: ObjectInfo, target: ObjectKey, found: Resolved
    ) -> dict[ObjectKey, Relocated]:
        signature = self._tools.signer.relocation(target, info.size)
        metadata = {UPLOAD_ID: signature}
        if found.dentry is not None and found.dentry.ino is not None and self._has(found.dentry.ino, TaskKind.COPY):
            metadata = copied_metadata(self._t.inodes.get(found.dentry.ino), signature, onto_itself=True)
        attempts = 0
        while True:
            try:
                source = LowerId(task.store, info.key, info.etag)
                etag = await self._tools.copies.make(source, target, size=info.size, metadata=metadata)
            except NoSuchObject:
                return {}
            except TransientBackendError as exc:
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise
                self._tools.refused.add()
                await trio.sleep(self._tools.backoff_s(attempts, retry_after_s=exc.retry_after_s))
            else:
                self._tools.moved[task.task] += 1
                return {info.key: Relocated(info.key, info.etag, None, LowerId(task.store, target, etag))}

    def _record(self, task: Task, page: list[Relocated], position: str) -> None:
        """Look again whose each object is, and have its name read the copy."""
        owned = [self._owned(task, moved) for moved in page]
        contents = []
        for moved in owned:
            row = self._t.dentries.get(*moved.place) if moved.place is not None else None
            if row is not None and row.ino is not None:
                contents.append((open_content(self._tools.contents, self._t.inodes.get(row.ino)), moved))
        try:
            self._relocations.relocated(task, owned, position, now_ns=self._tools.wall_ns())
            for content, moved in contents:
                if moved.target is not None and moved.etag is not None:
                    follow(content, LowerId(task.store, moved.source, moved.etag), moved.target)
        finally:
            for content, _ in contents:
                content.close()

    def _owned(self, task: Task, moved: Relocated) -> Relocated:
        if self._is_anothers(task, moved.source):
            return replace(moved, stray=task.target, is_anothers=True)
        if moved.target is None or moved.source == task.source:
            return moved
        found = self._resolve(task, moved.source)
        row = found.dentry
        if found.owner is Owner.FILE and row is not None and row.key == moved.source:
            # A version that replaced the known one behind our back is not what the name stands for.
            return replace(moved, place=found.place if row.etag == moved.etag else None)
        if found.owner is Owner.UNKNOWN or (found.owner is Owner.MARKER and not self._is_going(task, moved.source)):
            return moved
        return replace(moved, stray=found.place or task.target)

    # --- strays ---

    async def _sweep(self, task: Task) -> None:
        """Look for copies whose names are gone: of a crash, or of names removed when just copied."""
        assert task.ino is not None
        assert task.key is not None
        position: ObjectKey | None = None
        while True:
            page = await self._page(task, position)
            if not self._is_there(task):
                return
            ours = [info.key for info in page if not self._is_anothers(task, info.key)]
            found = [(key, resolve(self._t, task.ino, task.key, key)) for key in ours]
            strays = [(key, each.place or task.target) for key, each in found if self._is_stray(task, key, each)]
            self._relocations.swept(task, strays, now_ns=self._tools.wall_ns())
            if len(page) < _PAGE:
                break
            position = page[-1].key
        current = self._t.tasks.get(task.task)
        if current is not None:
            self._relocations.relocated_all(current, now_ns=self._tools.wall_ns())

    def _is_stray(self, task: Task, key: ObjectKey, found: Resolved) -> bool:
        """Whether nothing stands for a key, whoever has its name now.

        A file that was written meanwhile isn't copied again, and reads its old object until it is sent: then a copy
        there is of a killed attempt, and ours to replace, though its file's upload has recorded that it makes the key.
        """
        if found.owner is Owner.FILE and found.dentry is not None and found.dentry.key != key:
            return not self._t.dentries.readers(task.store, key)
        return self._is_gone(task, key, found)

    async def _clear_way(self, task: Task) -> None:
        """Before others may go below the target: the same for what has no name any more where it came from.

        Also for those that this waits for, and that wait for it: a file's object where a killed attempt has copied
        what was in a directory, or the reverse.
        """
        assert task.source is not None
        position: ObjectKey | None = None
        while True:
            page = await self._page(task, position)
            if not self._is_there(task):
                return
            found = [(info.key, self._resolve(task, self._source(task, info.key))) for info in page]
            strays = [(key, each.place or task.target) for key, each in found if self._is_gone(task, key, each)]
            self._relocations.swept(task, strays, now_ns=self._tools.wall_ns())
            if len(page) < _PAGE:
                return
            position = page[-1].key

    def _source(self, task: Task, target: ObjectKey) -> ObjectKey:
        assert task.key is not None
        return ObjectKey(f"{task.source}{target[len(task.key) :]}")

    def _is_gone(self, task: Task, key: ObjectKey, found: Resolved) -> bool:
        if found.owner is Owner.OTHER:
            return not self._t.dentries.readers(task.store, key) and not self._t.tasks.has_target(task.store, key)
        return found.owner is Owner.HIDDEN

    async def _sweep_removed(self, task: Task) -> None:
        """The directory is gone: so is whatever was copied."""
        position: ObjectKey | None = None
        while task.key is not None:
            page = await self._page(task, position)
            self._relocations.swept(task, [(info.key, task.target) for info in page], now_ns=self._tools.wall_ns())
            if len(page) < _PAGE:
                break
            position = page[-1].key
        self._drain.abandoned(task, now_ns=self._tools.wall_ns())

    async def _page(self, task: Task, position: ObjectKey | None) -> tuple[ObjectInfo, ...]:
        assert task.key is not None
        async with self._tools.slots:
            listing = self._tools.backends[task.store].list(task.key, delimiter=None, start_after=position, limit=_PAGE)
            return (await listing).objects
