"""What is next: decided from the rows and from what is in flight, without waiting for anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from fusecache.errors import Stale
from fusecache.namespace.links import copied_from, is_sent, lacking
from fusecache.namespace.moves import is_moving, is_settled
from fusecache.namespace.pauses import Pauses
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Dentry, Place, Task, TaskKind
from fusecache.namespace.relocations import only_markers_left
from fusecache.namespace.tables import Tables
from fusecache.namespace.tasks import HURRIED_NS, PAUSED_NS
from fusecache.persist.barrier import Barriers
from fusecache.persist.circles import Circles
from fusecache.persist.holds import Fate, Holds
from fusecache.persist.inflight import InFlight
from fusecache.persist.queue import Queue
from fusecache.persist.removals import Removals
from fusecache.persist.removed import Removed
from fusecache.persist.settings import MAX_BATCH
from fusecache.persist.settling import Settling
from fusecache.persist.staging import Patterns
from fusecache.persist.stalemate import Stalemate
from fusecache.types import ObjectKey, Seq

_EXAMINED = 256
"""Tasks looked at in one step, so that a queue of held ones does not hold up the loop."""


@dataclass(frozen=True, slots=True)
class Job:
    """A task that may be carried out now, and where its object goes."""

    task: Task
    place: Place | None
    key: ObjectKey
    dentry: Dentry | None = None
    is_held: bool = False
    """A relocation that has to wait, and only takes away what is in the way of those it waits for."""


@dataclass(slots=True)
class Plan:
    """One step of the persister."""

    jobs: list[Job] = field(default_factory=list)
    deletes: list[Task] = field(default_factory=list)
    """One request."""
    void: list[Task] = field(default_factory=list)
    """Deletes of keys that belong to a live name again."""
    abandon: list[Task] = field(default_factory=list)
    adopt: list[Task] = field(default_factory=list)
    stage: list[Task] = field(default_factory=list)
    pause: list[Task] = field(default_factory=list)
    postpone: list[tuple[Task, int | None]] = field(default_factory=list)
    is_cut: bool = False
    """There is more to look at: plan again at once."""


class Planner:
    """Makes plans. What it offers as a job is claimed in `inflight`; the rest changes nothing."""

    def __init__(
        self,
        tables: Tables,
        holds: Holds,
        barriers: Barriers,
        removed: Removed,
        inflight: InFlight,
        patterns: Patterns,
        policies: Policies,
        pauses: Pauses,
    ) -> None:
        self._t = tables
        self._holds = holds
        self._barriers = barriers
        self._removed = removed
        self._settling = settling = Settling(tables, patterns, delay_ns=policies.usual_delay_ns)
        self._removals = Removals(tables, removed.note, settling.note)
        self._inflight = inflight
        self._patterns = patterns
        self._policies = policies
        self._pauses = pauses
        self._stalemate = Stalemate(tables)
        self._circles = Circles(tables)
        self._queue = Queue(tables.tasks, tables.flows, inflight)

    def plan(self, *, now_ns: int, synced_seq: Seq, capacity: int, may_delete: bool) -> Plan:
        """Return what to do now: at most `capacity` jobs, and a batch of deletes if there may be one."""
        plan = Plan(is_cut=self._removals.look(now_ns))
        if plan.is_cut:
            return plan
        settled = self._settling.settled(now_ns)
        plan.postpone = [(task, now_ns) for task in settled]
        for examined, task in enumerate(self._queue.due(now_ns=now_ns, synced_seq=synced_seq)):
            if len(plan.jobs) >= capacity:
                break  # a worker that ends asks again
            if examined == _EXAMINED:
                plan.is_cut = True
                break
            self._decide(plan, task, now_ns)
        if settled:
            plan.is_cut = True  # they go with the others, in as few requests as there can be
            return plan
        if may_delete:
            self._plan_deletes(plan, now_ns, synced_seq)
        if not self._recall(plan, now_ns, synced_seq):
            self._break_circle(plan, now_ns)
        return plan

    def forget(self, task: int) -> None:
        """The task has been carried out, or is gone."""
        self._stalemate.forget(task)
        self._removed.forget(task)
        self._circles.forget(task)

    def prune(self) -> None:
        """Forget some of what was held and is gone without having been carried out: of files that were removed."""
        for task in self._stalemate.gone(count=_EXAMINED):
            self.forget(task)
            self._barriers.forget(task)

    def is_paused(self, job: Job) -> bool:
        """Whether a job would change something below a paused path."""
        if job.task.kind == TaskKind.RELOCATE:
            return any(self._pauses.touches(prefix) for prefix in (job.key, job.task.source) if prefix)
        return self._pauses.covers(job.key)

    def next_ns(self) -> int | None:
        """Return when what waits for neither a task nor a worker is to be looked at; None if there is nothing."""
        return self._settling.next_ns()

    def held(self) -> Collection[int]:
        """Return the tasks that were due, but had to wait for others, when they were last looked at."""
        return self._stalemate.held()

    # --- the tasks but deletes ---

    def _decide(self, plan: Plan, task: Task, now_ns: int) -> None:
        match task.kind:
            case TaskKind.UPLOAD | TaskKind.COPY:
                jobs = self._file_jobs(plan, task)
            case TaskKind.RELOCATE:
                jobs = self._relocation(plan, task)
            case TaskKind.MARKER:
                jobs = self._marker(plan, task)
            case _:
                plan.adopt.append(task)
                return
        if jobs and self._pauses:
            jobs = [job for job in jobs if not self.is_paused(job)]
            if not jobs:
                plan.pause.append(task)
        if not jobs:
            return
        free = (job for job in jobs if not self._must_wait(job) and not self._is_early(plan, job, now_ns))
        job = next(free, None) or self._no_marker_any_more(jobs)
        if job is None:
            plan.postpone.append((task, now_ns + self._stalemate.hold_ns(task)))
            return
        keys = () if task.kind == TaskKind.RELOCATE else (job.key,)
        self._inflight.claim(task.task, task.store, keys)
        self._stalemate.forget(task.task)
        plan.jobs.append(job)

    def _file_jobs(self, plan: Plan, task: Task) -> list[Job]:
        """One for each name that the task is about: whichever need not wait goes first."""
        rows = lacking(self._t, task)
        if not rows:
            plan.abandon.append(task)
        elif task.kind == TaskKind.COPY:
            return self._copies(plan, task, rows)
        else:
            jobs = [Job(task, row.place, self._t.directories.home_key(row.place), row) for row in rows]
            jobs.sort(key=lambda job: job.key != task.key)  # first what an attempt without an answer may have made
            if sent := [job for job in jobs if not self._is_local(job)]:
                return sent
            plan.stage.append(task)
        return []

    def _is_local(self, job: Job) -> bool:
        """Whether a file stays here: its name is staging, and the store has not seen it under another one.

        Or it is a fifo, socket or device.
        """
        assert job.dentry is not None
        if self._t.inodes.get(job.dentry.inode_no).is_special:
            return True
        names = self._t.directories.names(job.dentry.place)
        return self._patterns.is_staging(names) and job.dentry.key in (None, job.key)

    def _copies(self, plan: Plan, task: Task, rows: list[Dentry]) -> list[Job]:
        jobs, is_local = [], False
        for row in rows:
            home, source = self._t.directories.home_key(row.place), copied_from(self._t, row)
            if source is None:
                continue  # an upload sends it
            if source.key == home and (row.key is None or not task.attributes):
                continue  # until the other name has one of its own; or it is back there
            job = Job(task, row.place, home, source)
            if row.key is None and self._is_local(Job(task, row.place, home, row)):
                is_local = True  # a link, which is wanted once it is renamed out, maybe with the directory above it
            else:
                jobs.append(job)
        upload = self._t.tasks.of_inode(rows[0].inode_no, TaskKind.UPLOAD)
        if upload is not None and upload.task not in self._inflight and len(rows) == 1 and is_sent(self._t, rows[0]):
            jobs, is_local = [], False  # that sends the attributes, to the right place
        if not jobs:
            (plan.stage if is_local else plan.abandon).append(task)
        return jobs

    def _relocation(self, plan: Plan, task: Task) -> list[Job]:
        assert task.ino is not None
        directory = self._t.directories.find(task.ino)
        if directory is None:
            return [Job(task, None, task.key or ObjectKey(""))]
        if task.source == task.key:
            return [Job(task, task.target, task.key or ObjectKey(""))]  # looks for strays
        place = Place(directory.parent, directory.name)
        if task.key is not None:
            return [Job(task, task.target, task.key)]
        home = ObjectKey(self._t.directories.home_prefix(task.ino))
        if is_settled(self._t, task.ino, task.source or ""):
            plan.abandon.append(task)
            return []
        return [Job(task, place, home)]

    def _marker(self, plan: Plan, task: Task) -> list[Job]:
        assert task.ino is not None
        directory = self._t.directories.find(task.ino)
        is_wanted = directory is not None and directory.parent and self._policies.wants_marker(task.ino)
        if directory is None or not is_wanted:
            plan.abandon.append(task)
            return []
        place = Place(directory.parent, directory.name)
        # Opaque, it is here whatever the store has; else the store has seen it, and would show that it is gone.
        if directory.prefix is None and self._patterns.is_staging([*self._t.directories.names(place), b""]):
            plan.abandon.append(task)
            return []
        return [Job(task, Place(task.ino, b""), ObjectKey(self._t.directories.home_prefix(task.ino)))]

    def _must_wait(self, job: Job) -> bool:
        task, place = job.task, job.place
        if task.kind == TaskKind.RELOCATE:
            if place is None or task.source == task.key:
                return False
            return self._overlaps_itself(job) or self._holds.relocation(task, job.key)
        assert place is not None
        if task.kind == TaskKind.MARKER:
            assert task.ino is not None
            if is_moving(self._t, task.ino):
                return True  # then the marker is where the relocation finds it
            return self._holds.write(task.store, job.key, place, None)
        if self._inflight_upload(task) or self._holds.write(task.store, job.key, place, task.ino):
            return True
        return self._barriers.holds(task, place)

    def _is_early(self, plan: Plan, job: Job, now_ns: int) -> bool:
        """Whether a reader would believe a marker wrongly: one that is removed but there, or that arrives too soon."""
        task = job.task
        if task.kind == TaskKind.RELOCATE and (job.place is None or task.source == task.key):
            return False  # it only looks for strays
        before = self._removed.blocker(task, job.key, job.place)
        if before is None and only_markers_left(task):
            before = self._barriers.arriving(task)
        if before is None:
            return False
        soon_ns = HURRIED_NS if task.due_ns == HURRIED_NS else now_ns
        if soon_ns < (before.due_ns or 0) < PAUSED_NS and not before.attempts and before.task not in self.held():
            plan.postpone.append((before, soon_ns))  # somebody waits for it now
        return True

    def _no_marker_any_more(self, jobs: list[Job]) -> Job | None:
        """A marker that becomes data of its own tree waits for its own delete, which waits for it: it steps aside."""
        for job in jobs:
            delete = self._removed.blocker(job.task, job.key, job.place)
            if delete is not None and job.dentry is not None and job.dentry.key == delete.key:
                return None if self._inflight_upload(job.task) else self._aside(job.task)
        return None

    def _inflight_upload(self, task: Task) -> bool:
        """Another task of the same inode is in flight; or its bytes go first, to each of several names."""
        assert task.ino is not None
        every = self._t.tasks.all_of_inode(task.ino)
        if any(each.task in self._inflight for each in every):
            return True
        return task.kind == TaskKind.COPY and any(each.kind == TaskKind.UPLOAD and not each.staged for each in every)

    def _overlaps_itself(self, job: Job) -> bool:
        source = job.task.source or ""
        return source.startswith(job.key) or job.key.startswith(source)

    # --- deletes ---

    def _plan_deletes(self, plan: Plan, now_ns: int, synced_seq: Seq) -> None:
        examined = 0
        keys: set[str] = set()
        for task in islice(self._deletes_due(now_ns, synced_seq), 2 * MAX_BATCH):
            if len(plan.deletes) == MAX_BATCH:
                break  # the next batch's are looked at when it is their turn
            examined += 1
            if self._pauses.covers(task.key or ""):
                plan.pause.append(task)
                continue
            if (until_ns := self._settling.until_ns(task, now_ns)) is not None:
                plan.postpone.append((task, until_ns))
                continue
            fate = self._delete_fate(task)
            if fate is Fate.GO and self._is_early(plan, Job(task, None, task.key or ObjectKey("")), now_ns):
                fate = Fate.WAIT
            if fate is Fate.GO and task.key not in keys:
                plan.deletes.append(task)
                keys.add(task.key or "")
            elif fate is Fate.VOID:
                plan.void.append(task)
            elif fate is not Fate.GO:
                plan.postpone.append((task, None if fate is Fate.PARK else now_ns + self._stalemate.hold_ns(task)))
        if plan.deletes:
            first = plan.deletes[0]
            for task in plan.deletes:
                assert task.key is not None
                self._inflight.claim(task.task, first.store, (task.key,))
        plan.is_cut = plan.is_cut or (examined >= 2 * MAX_BATCH and not plan.deletes)

    def _deletes_due(self, now_ns: int, synced_seq: Seq) -> Iterator[Task]:
        due = self._t.tasks.deletes_due(now_ns=now_ns, synced_seq=synced_seq)
        return (task for task in due if task.task not in self._inflight)

    def _delete_fate(self, task: Task) -> Fate:
        try:
            return self._holds.delete(task, goes_first=self._is_commit_marker(task))
        except Stale:
            return Fate.WAIT

    def _is_commit_marker(self, task: Task) -> bool:
        """Then it goes before its successor comes, which waits for it: a reader takes neither for the other."""
        return self._patterns.tree_of(task.key or "") is not None

    # --- circles ---

    def _recall(self, plan: Plan, now_ns: int, synced_seq: Seq) -> bool:
        """When nothing goes on, all that is held is looked at once more, in one step: True if that comes next."""
        is_synced = synced_seq >= self._t.database.seq  # else there may be more that is due, once it is
        recalled = self._stalemate.recalled(is_idle=is_synced and self._is_idle(plan) and not plan.is_cut)
        if recalled:
            held = self.held()
            plan.postpone = [each for each in plan.postpone if each[0].task not in held]
            plan.postpone += [(task, now_ns) for task in recalled]
            plan.is_cut = True
        return bool(recalled)

    def _is_idle(self, plan: Plan) -> bool:
        return not plan.jobs and not plan.deletes and not self._inflight

    def _break_circle(self, plan: Plan, now_ns: int) -> None:
        """The oldest task that keeps a key from others steps aside: when nothing goes on, or they are known to wait
        for each other."""
        is_idle, is_changed = self._is_idle(plan), plan.void or plan.abandon or plan.adopt or plan.stage
        is_sure = is_idle and not is_changed and self._stalemate.is_sure(now_ns)
        waiting = [task for task, due_ns in plan.postpone if due_ns is not None]
        waiting = [task for task in waiting if self._stalemate.is_over(task, is_idle=is_idle, is_sure=is_sure)]
        waiting = [task for task in waiting if self._may_step_aside(task, is_idle)]
        for task in self._circles.by_cost(waiting):
            job = self._aside(task)
            if job is not None and (is_idle or not self._must_wait(job)):
                break
        else:
            return
        plan.postpone = [each for each in plan.postpone if each[0].task != task.task]
        self._inflight.claim(task.task, task.store, () if task.kind == TaskKind.RELOCATE else (job.key,))
        self._stalemate.start_anew()
        plan.jobs.append(job)

    def _may_step_aside(self, task: Task, is_idle: bool) -> bool:
        if not self._circles.may_step_aside(task) or self._settling.may_delay(task):
            return False
        return is_idle or self._circles.is_in_one(task, self.held())

    def _aside(self, task: Task) -> Job | None:
        aside = self._circles.aside(task)
        return None if aside is None else Job(task, *aside)
