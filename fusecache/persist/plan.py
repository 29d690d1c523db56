"""What is next: decided from the rows and from what is in flight, without waiting for anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fusecache.errors import Stale
from fusecache.namespace.keys import TMP_PREFIX
from fusecache.namespace.moves import is_settled
from fusecache.namespace.records import Dentry, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.persist.barrier import Barriers
from fusecache.persist.holds import Fate, Holds
from fusecache.persist.inflight import InFlight
from fusecache.persist.settings import MAX_BATCH
from fusecache.persist.staging import Patterns
from fusecache.types import ObjectKey, Seq

_EXAMINED = 256
"""Tasks looked at in one step, so that a queue of held ones does not hold up the loop."""
_HOLD_NS = 50_000_000
_MAX_HOLD_NS = 1_000_000_000
"""What is held is looked at again after 50 ms, doubling to 1 s: mostly a worker that ends soon is in the way."""
_CIRCLE_HOLDS = 4
"""Held so often, with nothing in flight: it waits for somebody who waits for it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A task that may be carried out now, and where its object goes."""

    task: Task
    place: Place | None
    key: ObjectKey
    dentry: Dentry | None = None


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
    postpone: list[tuple[Task, int | None]] = field(default_factory=list)
    is_cut: bool = False
    """There is more to look at: plan again at once."""


class Planner:
    """Makes plans. What it offers as a job is claimed in `inflight`; the rest changes nothing."""

    def __init__(
        self, tables: Tables, holds: Holds, barriers: Barriers, inflight: InFlight, patterns: Patterns
    ) -> None:
        self._t = tables
        self._holds = holds
        self._barriers = barriers
        self._inflight = inflight
        self._patterns = patterns
        self._held: dict[int, int] = {}

    def plan(self, *, now_ns: int, synced_seq: Seq, capacity: int, may_delete: bool) -> Plan:
        """Return what to do now: at most `capacity` jobs, and a batch of deletes if there may be one."""
        plan = Plan()
        for examined, task in enumerate(self._due(now_ns, synced_seq)):
            if len(plan.jobs) >= capacity:
                break  # a worker that ends asks again
            if examined == _EXAMINED:
                plan.is_cut = True
                break
            self._decide(plan, task, now_ns)
        if may_delete:
            self._plan_deletes(plan, now_ns, synced_seq)
        if not plan.jobs and not plan.deletes and not self._inflight:
            self._break_circle(plan)
        return plan

    def forget(self, task: int) -> None:
        """The task has been carried out, or is gone."""
        self._held.pop(task, None)

    # --- the tasks but deletes ---

    def _due(self, now_ns: int, synced_seq: Seq) -> Iterator[Task]:
        """Lazily: with one free slot, one row is read."""
        due = self._t.tasks.due(now_ns=now_ns, synced_seq=synced_seq)
        return (task for task in due if task.task not in self._inflight)

    def _decide(self, plan: Plan, task: Task, now_ns: int) -> None:
        match task.kind:
            case TaskKind.UPLOAD | TaskKind.COPY:
                job = self._file_job(plan, task)
            case TaskKind.RELOCATE:
                job = self._relocation(plan, task)
            case TaskKind.MARKER:
                job = self._marker(plan, task)
            case _:
                plan.adopt.append(task)
                return
        if job is None:
            return
        if self._must_wait(job):
            plan.postpone.append((task, now_ns + self._hold_ns(task)))
            return
        keys = () if task.kind == TaskKind.RELOCATE else (job.key,)
        self._inflight.claim(task.task, task.store, keys)
        self._held.pop(task.task, None)
        plan.jobs.append(job)

    def _file_job(self, plan: Plan, task: Task) -> Job | None:
        assert task.ino is not None
        rows = self._t.dentries.of_inode(task.ino)
        if not rows:
            plan.abandon.append(task)
            return None
        dentry = rows[0]
        home = self._t.directories.home_key(dentry.place)
        if task.kind == TaskKind.COPY:
            upload = self._t.tasks.of_inode(task.ino, TaskKind.UPLOAD)
            if dentry.key is None or (upload is not None and upload.task not in self._inflight):
                plan.abandon.append(task)  # the upload sends the attributes, to the right place
                return None
        elif self._patterns.is_staging(self._t.directories.names(dentry.place)) and dentry.key in (None, home):
            plan.stage.append(task)
            return None
        return Job(task, dentry.place, home, dentry)

    def _relocation(self, plan: Plan, task: Task) -> Job | None:
        assert task.ino is not None
        directory = self._t.directories.find(task.ino)
        if directory is None:
            return Job(task, None, task.key or ObjectKey(""))
        if task.source == task.key:
            return Job(task, task.target, task.key or ObjectKey(""))  # looks for strays
        place = Place(directory.parent, directory.name)
        if task.key is not None:
            return Job(task, task.target, task.key)
        home = ObjectKey(self._t.directories.home_prefix(task.ino))
        if is_settled(self._t, task.ino, task.source or ""):
            plan.abandon.append(task)
            return None
        return Job(task, place, home)

    def _marker(self, plan: Plan, task: Task) -> Job | None:
        assert task.ino is not None
        directory = self._t.directories.find(task.ino)
        if directory is None or not directory.parent or self._t.dentries.has_live(task.ino):
            plan.abandon.append(task)
            return None
        place = Place(directory.parent, directory.name)
        if self._patterns.is_staging([*self._t.directories.names(place), b""]):
            plan.abandon.append(task)
            return None
        return Job(task, Place(task.ino, b""), ObjectKey(self._t.directories.home_prefix(task.ino)))

    def _must_wait(self, job: Job) -> bool:
        task, place = job.task, job.place
        if task.kind == TaskKind.RELOCATE:
            if place is None or task.source == task.key:
                return False
            return self._overlaps_itself(job) or self._holds.relocation(task, job.key)
        assert place is not None
        if task.kind == TaskKind.MARKER:
            assert task.ino is not None
            if self._holds.is_moving(task.ino):
                return True  # then the marker is where the relocation finds it
            return self._holds.write(task.store, job.key, place, None)
        if self._inflight_upload(task) or self._holds.write(task.store, job.key, place, task.ino):
            return True
        return self._barriers.holds(task, self._t.directories.names(place))

    def _inflight_upload(self, task: Task) -> bool:
        assert task.ino is not None
        return any(each.task in self._inflight for each in self._t.tasks.all_of_inode(task.ino))

    def _overlaps_itself(self, job: Job) -> bool:
        source = job.task.source or ""
        return source.startswith(job.key) or job.key.startswith(source)

    def _hold_ns(self, task: Task) -> int:
        count = self._held[task.task] = self._held.get(task.task, 0) + 1
        return min(_HOLD_NS << min(count, 10), _MAX_HOLD_NS)

    # --- deletes ---

    def _plan_deletes(self, plan: Plan, now_ns: int, synced_seq: Seq) -> None:
        examined = 0
        keys: set[str] = set()
        for task in list(self._deletes_due(now_ns, synced_seq)):
            examined += 1
            fate = self._delete_fate(task)
            if fate is Fate.GO and task.key not in keys and len(plan.deletes) < MAX_BATCH:
                plan.deletes.append(task)
                keys.add(task.key or "")
            elif fate is Fate.VOID:
                plan.void.append(task)
            elif fate is not Fate.GO:
                plan.postpone.append((task, None if fate is Fate.PARK else now_ns + self._hold_ns(task)))
        if plan.deletes:
            first = plan.deletes[0]
            for task in plan.deletes:
                assert task.key is not None
                self._inflight.claim(task.task, first.store, (task.key,))
        plan.is_cut = plan.is_cut or (examined >= 2 * MAX_BATCH and not plan.deletes)

    def _deletes_due(self, now_ns: int, synced_seq: Seq) -> list[Task]:
        found = []
        for task in self._t.tasks.deletes_due(now_ns=now_ns, synced_seq=synced_seq):
            if task.task in self._inflight:
                continue
            found.append(task)
            if len(found) == 2 * MAX_BATCH:
                break
        return found

    def _delete_fate(self, task: Task) -> Fate:
        try:
            return self._holds.delete(task)
        except Stale:
            return Fate.WAIT

    # --- circles ---

    def _break_circle(self, plan: Plan) -> None:
        """Nothing goes on: the oldest task that keeps a key from others steps aside, to one that is nobody's."""
        waiting = [task for task, due_ns in plan.postpone if due_ns is not None and self._may_step_aside(task)]
        # Uploads last: theirs are bytes to be sent, the others' are copied in the store.
        waiting.sort(key=lambda each: (each.kind == TaskKind.UPLOAD, each.seq))
        aside = ((task, self._aside(task)) for task in waiting)
        task, job = next(((task, job) for task, job in aside if job is not None), (None, None))
        if task is None or job is None:
            return
        plan.postpone = [each for each in plan.postpone if each[0].task != task.task]
        self._inflight.claim(task.task, task.store, () if task.kind == TaskKind.RELOCATE else (job.key,))
        self._held.clear()
        plan.jobs.append(job)

    def _may_step_aside(self, task: Task) -> bool:
        """An upload, too: what is below its old object waits for that, and maybe the upload itself."""
        if self._held.get(task.task, 0) < _CIRCLE_HOLDS:
            return False
        if task.kind == TaskKind.RELOCATE:
            return task.key is None
        return task.kind in (TaskKind.UPLOAD, TaskKind.COPY)

    def _aside(self, task: Task) -> Job | None:
        assert task.ino is not None
        name = f"{TMP_PREFIX}{task.task}/"
        if task.kind == TaskKind.RELOCATE:
            directory = self._t.directories.get(task.ino)
            if (task.source or "").startswith(TMP_PREFIX):
                return None
            return Job(task, Place(directory.parent, directory.name), ObjectKey(name))
        dentry = self._t.dentries.of_inode(task.ino)[0]
        if dentry.key is None or dentry.key.startswith(TMP_PREFIX):
            return None
        return Job(task, dentry.place, ObjectKey(f"{name}object"), dentry)
