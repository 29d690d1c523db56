"""How far the drain is, in the words of `stat`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from fusecache.namespace.marked import path_of
from fusecache.namespace.records import Task
from fusecache.namespace.tasks import PAUSED_NS
from fusecache.persist.forecast import eta_s
from fusecache.persist.paths import Paths
from fusecache.persist.tools import Tools
from fusecache.persist.waits import Waits
from fusecache.types import InodeNo

_PAUSED = "a pause, until `fusecache resume`"
_ANSWERS = "the store's answers"
_EXPLAINED = 100
_SHOWN = 10
"""Of what waits for something else, so many are looked at, and told."""
_MAX_STUCK = 1000
"""Of a million stuck files the first thousand tell why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """Its fields are keys of `stat --json` of a mount."""

    files_dirty: int = 0
    """Changes that the store lacks: files to send, to move, to delete."""
    bytes_dirty: int = 0
    files_local: int = 0
    """Below staging names: not meant for the store."""
    bytes_local: int = 0
    oldest_dirty_s: float | None = None
    drain_bytes_per_s: float = 0.0
    eta_s: float | None = None
    throttled_per_s: float = 0.0
    limited_by: str | None = None
    """In words, what keeps it from going faster now."""
    waiting: tuple[str, ...] = ()
    """In words, what is due and waits for something else: the first few."""
    files_paused: int = 0
    paused: tuple[str, ...] = ()
    """Paths below which nothing is changed in the store until they are resumed."""
    relocating: tuple[dict[str, Any], ...] = ()
    """Renamed directories whose objects are being copied to the new path, and how many have been."""
    pace: tuple[dict[str, Any], ...] = ()
    stuck: tuple[dict[str, Any], ...] = ()
    bytes_spared: int = 0
    """Written, and never sent: removed, or written anew, before the upload. Over all mounts of this state."""

    def as_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class Reporter:
    """Says what the rows add up to: nothing here takes longer for a larger backlog."""

    def __init__(
        self,
        tools: Tools,
        waits: Waits,
        *,
        held: Callable[[], Collection[int]],
        open_for_writing: Callable[[], Collection[InodeNo]],
    ) -> None:
        """`held` gives the tasks that were due but had to wait for others."""
        self._tools = tools
        self._waits = waits
        self._held = held
        self._open_for_writing = open_for_writing
        self._paths = Paths(tools.namespace.tables)

    def report(self) -> DrainReport:
        tools = self._tools
        tables = tools.namespace.tables
        files_dirty, bytes_dirty, stuck_count = tables.backlog.dirty()
        files_local, bytes_local, _ = tables.backlog.local()
        oldest_ns = tables.backlog.oldest_ns()
        rate = tools.sent.per_s()
        stuck = tables.tasks.stuck(count=_MAX_STUCK)
        pauses = tools.namespace.pauses
        paused, waiting = pauses.tasks(), self._waiting() if files_dirty else ()
        moving = files_dirty - stuck_count - paused
        is_idle = self._is_idle(moving)
        moving_bytes = bytes_dirty * moving // files_dirty if files_dirty else 0  # the others' are not counted apart
        return DrainReport(
            files_dirty=files_dirty,
            bytes_dirty=bytes_dirty,
            files_local=files_local,
            bytes_local=bytes_local,
            oldest_dirty_s=None if oldest_ns is None else max(0.0, (tools.wall_ns() - oldest_ns) / 1e9),
            drain_bytes_per_s=rate,
            eta_s=(None if is_idle else self._eta_s(moving, moving_bytes, rate)) if files_dirty else 0.0,
            throttled_per_s=sum(pacer.throttled_per_s for pacer in tools.pacers.values()),
            limited_by=self._limited_by(moving, paused, waiting) if files_dirty else None,
            waiting=waiting,
            files_paused=paused,
            paused=tuple(map(path_of, pauses.keys())),
            relocating=tuple(self._relocating()),
            pace=tuple(self._pace()),
            stuck=tuple(self.stuck_entry(task) for task in stuck),
            bytes_spared=tables.spared.bytes,
        )

    def limited_by(self) -> str | None:
        """Return in words what keeps the drain from going faster now; None if there is nothing to drain."""
        files_dirty, _, stuck_count = self._tools.namespace.tables.backlog.dirty()
        paused = self._tools.namespace.pauses.tasks()
        return self._limited_by(files_dirty - stuck_count - paused, paused, self._waiting()) if files_dirty else None

    def stuck_entry(self, task: Task) -> dict[str, object]:
        since_s = max(0.0, (self._tools.wall_ns() - task.since_ns) / 1e9)
        return {
            "path": self._paths.path_of(task),
            "error": task.error,
            "attempts": task.attempts,
            "since_s": since_s,
        }

    def _is_idle(self, moving: int) -> bool:
        """Whether all that is neither stuck nor paused waits for something, or for a close: no rate says how long."""
        if self._is_all_paused():
            return True
        if self._tools.slots.borrowed_tokens or self._tools.inflight:
            return False
        return moving <= len(self._held()) + len(self._open_for_writing())

    def _is_all_paused(self) -> bool:
        return self._tools.namespace.pauses.covers("")

    def _eta_s(self, files: int, size_bytes: int, rate: float) -> float | None:
        """None: nothing is known, or nothing moves."""
        if files <= 0 or (self._tools.finished.is_quiet() and self._tools.sent.is_quiet()):
            return None
        return eta_s(files, size_bytes, files_per_s=self._tools.finished.per_s(), bytes_per_s=rate)

    def _waiting(self) -> tuple[str, ...]:
        """What is due and waits for something else, in words."""
        held = list(islice(self._held(), _EXPLAINED))
        tasks = (self._tools.namespace.tables.tasks.get(each) for each in held if each not in self._tools.inflight)
        waits = (self._waits.of(task) for task in tasks if task is not None and task.due_ns != PAUSED_NS)
        return tuple(islice((wait.words for wait in waits if wait is not None), _SHOWN))

    def _limited_by(self, moving: int, paused: int, waiting: tuple[str, ...]) -> str:
        requests = self._tools.slots.borrowed_tokens
        if moving <= 0 or self._is_all_paused():
            return (
                _PAUSED
                if paused or self._is_all_paused()
                else "stuck files: the store refuses them until somebody acts"
            )
        if waiting and self._is_idle(moving):
            return f"a dependency: {waiting[0]}"
        for pacer in self._tools.pacers.values():
            if reason := pacer.reason():
                return reason
        if self._tools.refused.per_s() > 0:
            return "the store: it refuses requests, or does not answer"
        if requests >= self._tools.slots.total_tokens:
            return "max-uploads"
        if requests:
            move = next(self._relocating(), None)
            return f"the move of {move['path']}, {move['objects_copied']:,} objects so far" if move else _ANSWERS
        if waiting:
            return f"a dependency: {waiting[0]}"
        if moving <= len(self._open_for_writing()):
            return "files that are open for writing"
        return "the delay before a file is sent (persist-delay)"

    def _relocating(self) -> Iterator[dict[str, Any]]:
        for number, count in self._tools.moved.items():
            if (task := self._tools.namespace.tables.tasks.get(number)) is not None:
                yield {"path": self._paths.path_of(task), "objects_copied": count}

    def _pace(self) -> list[dict[str, Any]]:
        return [
            {
                "store": self._tools.backends[store].url,
                "prefix": pace.prefix,
                "class": pace.kind.value,
                "rate_per_s": pace.per_s,
                "concurrency": pace.in_flight,
            }
            for store, pacer in self._tools.pacers.items()
            for pace in pacer.paces()
        ]
