"""The tasks that bring the store up to date: one that plans, one that syncs, and a worker a job."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import trio

from fusecache.backends.base import Backend
from fusecache.backends.pace import Pacer
from fusecache.cache.contents import Contents
from fusecache.cache.fetch import Fetcher
from fusecache.errors import (
    NamespaceError,
    NoSpace,
    ReadOnly,
)
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Place, Task, TaskKind
from fusecache.nurseries import unwrapped
from fusecache.persist.barrier import Barriers
from fusecache.persist.census import Census
from fusecache.persist.flush import Flusher
from fusecache.persist.gathering import Gathering
from fusecache.persist.holds import Holds
from fusecache.persist.pages import pages
from fusecache.persist.paths import Paths
from fusecache.persist.plan import Job, Plan, Planner
from fusecache.persist.remembered import Remembered
from fusecache.persist.removed import Removed
from fusecache.persist.report import DrainReport, Reporter
from fusecache.persist.settings import MAX_BATCH, Settings
from fusecache.persist.staging import Patterns
from fusecache.persist.through import Through
from fusecache.persist.tools import equip
from fusecache.persist.waits import Waits
from fusecache.persist.workers import Workers
from fusecache.types import ROOT_INO, FlushProgress, InodeNo, StoreNo

log = logging.getLogger(__name__)

_SYNC_S = 0.2
"""How long commits gather before one sync makes them safe from a power loss, and due."""
_CHECKPOINT_S = 5.0
_RELEASED = 500
"""Tasks that fall due in one step when a pause ends: some 10 ms of the loop."""
_MAX_BATCHES = 2
"""Delete requests in flight: a thousand keys each."""


class Persister:
    """Drains the upper into the stores, for ever.

    `run` does it; the rest is sync and cheap, or waits for it. What is in flight lives in memory only.
    """

    def __init__(
        self,
        namespace: Namespace,
        durability: Durability,
        contents: Contents,
        fetcher: Fetcher,
        backends: Mapping[StoreNo, Backend],
        settings: Settings,
        *,
        wall_ns: Callable[[], int],
        rng: random.Random,
        open_for_writing: Callable[[], Collection[InodeNo]],
        pacers: Mapping[StoreNo, Pacer],
        stale: Callable[[Place], None],
    ) -> None:
        """`open_for_writing` gives the inodes whose latest bytes wait for a close.

        `stale` is told of names that lead elsewhere since somebody else's version stays where ours was to go.
        """
        self._ns = namespace
        self._durability = durability
        self._batches: list[Sequence[Task]] = []
        self._gathering = Gathering()
        self._jobs: dict[int, Job] = {}
        self._scopes: dict[int, trio.CancelScope] = {}
        self._ended = trio.lowlevel.ParkingLot()
        self._is_resuming = False
        self._bell = trio.Event()
        self._unsynced = trio.Event()
        self._tools = equip(
            namespace, durability, contents, fetcher, backends, settings, pacers=pacers, wall_ns=wall_ns, rng=rng
        )
        self._inflight = self._tools.inflight
        patterns = Patterns(staging=settings.staging, markers=settings.markers, rules=settings.rules)
        holds = Holds(namespace.tables, namespace.policies, self._inflight, is_read=contents.readers_of)
        barriers = Barriers(namespace.tables, patterns)
        removed = Removed(namespace.tables, patterns, is_read=contents.readers_of)
        self._planner = Planner(
            namespace.tables, holds, barriers, removed, self._inflight, patterns, namespace.policies, namespace.pauses
        )
        self.base_instead_of = self._tools.succession.instead_of
        """Tells readers where bytes come from whose version is gone from the store."""
        self._workers = Workers(self._tools, barriers, patterns, stale)
        waits = Waits(namespace.tables, barriers, removed, is_read=contents.readers_of)
        held = self._planner.held
        self._reporter = Reporter(self._tools, waits, held=held, open_for_writing=open_for_writing)
        census = Census(self._tools, self._reporter, barriers, waits, patterns, held=held)
        self._flusher = Flusher(
            self._tools, durability, self._reporter, census, open_for_writing=open_for_writing, ring=self.ring
        )
        self._paths = Paths(namespace.tables)
        self._remembered = Remembered(namespace.database, pacers, wall_ns=wall_ns)
        self.through = Through(self._tools, barriers, self._flusher, ring=self.ring, patience_s=settings.patience_s)

    def __repr__(self) -> str:
        requests, batches = self._tools.slots.borrowed_tokens, len(self._batches)
        held = len(self._planner.held())
        return f"<Persister {self._inflight!r}, {requests} requests, {batches} batches, {held} held>"

    async def run(self) -> None:
        """Carry out what is due, until cancelled. What is interrupted is still due."""
        try:
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_synced)
                    nursery.start_soon(self._keep_checkpointed)
                    nursery.start_soon(self._tools.leftovers.run)
                    nursery.start_soon(self.through.let_go)
                    await self._plan_for_ever(nursery)
        except (NamespaceError, ReadOnly) as exc:
            if self._ns.database.degraded is None:
                raise
            log.error("nothing is sent any more: %s", exc)  # noqa: TRY400 - the traceback was of a request
            await trio.sleep_forever()

    def changed(self) -> None:
        """Something was committed that has to be persisted: planned once it is synced. Cheap, for every request."""
        self._unsynced.set()

    def ring(self) -> None:
        """Plan again now."""
        self._bell.set()
        self._unsynced.set()
        self._ended.unpark_all()

    def uploading(self) -> Collection[InodeNo]:
        """Return the inodes whose objects are being written now."""
        return {job.task.ino for job in self._jobs.values() if job.task.ino is not None}

    def drained(self) -> tuple[float, float]:
        """Return how many bytes the store has taken since the start, and how many a second now."""
        return self._tools.sent.total, self._tools.sent.per_s()

    def report(self) -> DrainReport:
        """Return how far the drain is."""
        return self._reporter.report()

    async def flush(self, ino: InodeNo, *, progress: Callable[[FlushProgress], None] | None = None) -> FlushProgress:
        """Wait until what was acknowledged at or below `ino` before this call is in the store.

        Not waited for: what is open for longer than a moment, below a staging name, paused, or refused once more; the
        answer lists it.
        """
        return await self._flusher.flush(ino, progress=progress, is_asked=True)

    async def drain(self) -> FlushProgress:
        """Flush everything."""
        return await self.flush(ROOT_INO)

    async def tidy(self) -> None:
        """Wait a moment until nothing of ours is in the stores that nobody will ever need: the next start may never be.

        What is left of it is recorded.
        """
        await self._tools.leftovers.tidy()

    # --- what people say ---

    async def pause(self, key: str) -> None:
        """Change nothing at or below `key` in the store any more, after a restart either, until it is resumed.

        When this returns, what was under way there has ended: what it was about is kept, and due once it is resumed.
        """
        self._ns.pauses.add(key)
        for number, scope in self._scopes.items():
            if self._planner.is_paused(self._jobs[number]):
                scope.cancel()
        self.ring()
        await self._tools.recorded()
        while self._is_at_paused():
            await self._ended.park()

    def _is_at_paused(self) -> bool:
        deletes = (task.key or "" for batch in self._batches for task in batch)
        return any(map(self._planner.is_paused, self._jobs.values())) or any(map(self._ns.pauses.covers, deletes))

    async def resume(self, key: str) -> list[str]:
        """Go on with what was paused at or below `key`; return the keys that were."""
        resumed = self._ns.pauses.remove(key)
        self._is_resuming |= bool(resumed)
        self.ring()
        await self._tools.recorded()
        return resumed

    async def retry(self, ino: InodeNo) -> int:
        """Try again now what was refused, or not answered, at or below `ino`; return how many tasks that are."""
        count = 0
        async for page in pages(self._ns.tables, self._ns.database.seq):
            refused = [task for task in page if (task.stuck or task.attempts) and self._paths.is_within(task, ino)]
            self._ns.drain.retried(refused, now_ns=self._tools.wall_ns())
            count += len(refused)
        self.ring()
        return count

    def tune(self, *, max_uploads: int) -> None:
        """Allow so many uploads at once from now on; those under way go on."""
        self._tools.slots.total_tokens = max_uploads
        self.ring()

    # --- planning ---

    async def _plan_for_ever(self, nursery: trio.Nursery) -> None:
        while True:
            self._bell = trio.Event()
            plan = self._step()
            self._tools.leftovers.look()
            for job in plan.jobs:
                self._jobs[job.task.task], self._scopes[job.task.task] = job, trio.CancelScope()
                nursery.start_soon(self._carry_out, job)
            if plan.deletes:
                self._batches.append(plan.deletes)
                nursery.start_soon(self._delete, plan.deletes)
            if plan.is_cut or plan.adopt or plan.void or self._is_resuming:
                await trio.lowlevel.checkpoint()
                continue
            with trio.move_on_after(self._idle_s()):
                await self._bell.wait()

    def _step(self) -> Plan:
        """Make a plan, and do at once what needs no request."""
        now_ns = self._tools.wall_ns()
        if self._is_resuming:
            self._is_resuming = self._ns.pauses.release(now_ns, count=_RELEASED)
        plan = self._planner.plan(
            now_ns=now_ns,
            synced_seq=self._ns.database.synced_seq,
            capacity=int(self._tools.slots.total_tokens) - len(self._jobs),
            may_delete=len(self._batches) < _MAX_BATCHES and not self._is_gathering(now_ns),
        )
        drain = self._ns.drain
        if plan.postpone:
            drain.postponed(plan.postpone)  # before what may release some of them
        for task in plan.abandon:
            drain.abandoned(task, now_ns=now_ns)
        for task in plan.adopt:
            drain.adopted(task, now_ns=now_ns)
        if plan.void:
            drain.deleted(plan.void, now_ns=now_ns)
        if plan.stage:
            drain.staged(plan.stage)
        if plan.pause:
            drain.paused(plan.pause)
        for task in (*plan.abandon, *plan.adopt, *plan.void, *plan.stage, *plan.pause):
            self._planner.forget(task.task)
        return plan

    def _is_gathering(self, now_ns: int) -> bool:
        """Whether deletes wait until those of files that are still being copied join them."""
        is_copying = any(job.task.kind == TaskKind.COPY for job in self._jobs.values())
        going = sum(map(len, self._batches))
        synced_seq = self._ns.database.synced_seq
        count = self._ns.tables.backlog.deletes(now_ns=now_ns, synced_seq=synced_seq, at_most=going + MAX_BATCH)
        return self._gathering.holds(count - going, more=is_copying and not self._planner.held(), now_ns=now_ns)

    def _idle_s(self) -> float:
        """Until the next task falls due; for ever if only a bell can bring one."""
        now_ns = self._tools.wall_ns()
        next_ns = (self._ns.tables.tasks.next_due_ns(after_ns=now_ns), self._planner.next_ns())
        due_ns = min((each for each in next_ns if each is not None), default=None)
        return float("inf") if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9)

    async def _keep_synced(self) -> None:
        while True:
            await self._unsynced.wait()
            self._unsynced = trio.Event()
            await trio.sleep(_SYNC_S)
            await self._durability.reached(self._ns.database.seq)
            self._bell.set()

    async def _keep_checkpointed(self) -> None:
        while True:
            await trio.sleep(_CHECKPOINT_S)
            with suppress(NoSpace):
                self._ns.tables.spared.save()
                self._remembered.save()
            self._planner.prune()
            await self._durability.checkpoint()

    # --- workers ---

    async def _carry_out(self, job: Job) -> None:
        try:
            with self._scopes[job.task.task]:  # a pause ends it
                await self._workers.carry_out(job)
        finally:
            del self._jobs[job.task.task], self._scopes[job.task.task]
            self._inflight.release(job.task.task)
            self._planner.forget(job.task.task)
            self.through.ended(job.task.inode_no)
            self.ring()

    async def _delete(self, tasks: Sequence[Task]) -> None:
        try:
            await self._workers.delete(tasks)
        finally:
            self._batches.remove(tasks)
            for task in tasks:
                self._inflight.release(task.task)
                self._planner.forget(task.task)
            self.ring()
