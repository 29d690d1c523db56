"""How far the drain is, in the words of `stat`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fusecache.namespace.records import Task
from fusecache.persist.paths import Paths
from fusecache.persist.tools import Tools

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
    pace: tuple[dict[str, Any], ...] = ()
    stuck: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class Reporter:
    """Says what the rows add up to: nothing here takes longer for a larger backlog."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._paths = Paths(tools.namespace.tables)

    def report(self, *, requests: int) -> DrainReport:
        """`requests`: how many are in flight."""
        tools = self._tools
        tables = tools.namespace.tables
        files_dirty, bytes_dirty, stuck_count = tables.backlog.dirty()
        files_local, bytes_local, _ = tables.backlog.local()
        oldest_ns = tables.backlog.oldest_ns()
        rate = tools.sent.per_s()
        stuck = tables.tasks.stuck(count=_MAX_STUCK)
        return DrainReport(
            files_dirty=files_dirty,
            bytes_dirty=bytes_dirty,
            files_local=files_local,
            bytes_local=bytes_local,
            oldest_dirty_s=None if oldest_ns is None else max(0.0, (tools.wall_ns() - oldest_ns) / 1e9),
            drain_bytes_per_s=rate,
            eta_s=self._eta_s(files_dirty, bytes_dirty, rate),
            throttled_per_s=tools.refused.per_s(),
            limited_by=self._limited_by(files_dirty - stuck_count, requests) if files_dirty else None,
            pace=tuple(self._pace()),
            stuck=tuple(self.stuck_entry(task) for task in stuck),
        )

    def stuck_entry(self, task: Task) -> dict[str, object]:
        since_s = max(0.0, (self._tools.wall_ns() - task.since_ns) / 1e9)
        return {
            "path": self._paths.path_of(task),
            "error": task.error,
            "attempts": task.attempts,
            "since_s": since_s,
        }

    def _eta_s(self, files_dirty: int, bytes_dirty: int, rate: float) -> float | None:
        """None: nothing is known, or nothing moves."""
        if not files_dirty:
            return 0.0
        return bytes_dirty / rate if rate and bytes_dirty and not self._tools.sent.is_quiet() else None

    def _limited_by(self, files_moving: int, requests: int) -> str:
        if files_moving <= 0:
            return "stuck files: the store refuses them until somebody acts"
        for pacer in self._tools.pacers.values():
            if reason := pacer.reason():
                return reason
        if self._tools.refused.per_s() > 0:
            return "the store: it refuses requests, or does not answer"
        if requests >= self._tools.settings.max_uploads:
            return "max-uploads"
        return "the store's answers" if requests else "the delay before a file is sent"

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
