"""What `stat` says of a path: its state on the way to the store, and what is local of it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import trio

from fusecache.cache.contents import Contents
from fusecache.errors import Stale
from fusecache.fs.names import Names
from fusecache.fs.opening import cached_bytes_of
from fusecache.namespace.marked import key_of
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Inode, Task, TaskKind
from fusecache.namespace.tasks import PAUSED_NS
from fusecache.types import ROOT_INO, InodeNo

STATES = ("local", "clean", "pending", "dirty", "uploading", "stuck")
"""From the calmest to the worst: a directory is as bad as the worst below it."""

_BATCH = 200  # rows between two looks at other requests


class Describer:
    """Answers `stat PATH`. `uploading` gives the inodes that are being sent now."""

    def __init__(
        self,
        namespace: Namespace,
        names: Names,
        contents: Contents,
        *,
        uploading: Callable[[], Collection[InodeNo]],
        wall_ns: Callable[[], int],
    ) -> None:
        self._ns = namespace
        self._t = namespace.tables
        self._names = names
        self._contents = contents
        self._uploading = uploading
        self._wall_ns = wall_ns

    async def resolve(self, path: bytes) -> tuple[InodeNo, Dentry | None]:
        """Return the inode at `path` (relative to the root) and its name's row, None for the root.

        Raises:
            NotFound: nothing is there.
        """
        ino, row = ROOT_INO, None
        for name in filter(None, path.split(b"/")):
            row = await self._names.find(ino, name)
            assert row.ino is not None
            ino = row.ino
        return ino, row

    async def describe(self, path: bytes) -> dict[str, Any]:
        """Return the facts of design's contract for `stat --json PATH`; a directory's are those below it.

        Raises:
            NotFound: nothing is there.
        """
        ino, row = await self.resolve(path)
        key = key_of(path)
        facts = await self.facts(ino, row)
        covered = {"pinned": self._ns.pins.covers(key), "paused": self._ns.pauses.covers(key)}
        return {"path": _text(path), **facts, **covered}

    async def facts(self, ino: InodeNo, row: Dentry | None = None) -> dict[str, Any]:
        """Return what `describe` says of an inode by its name `row`; by any of them, if none is given."""
        inode = self._t.inodes.get(ino)
        if inode.is_dir:
            return await self._directory(inode)
        row = row or next(iter(self._t.dentries.of_inode(ino)), None)
        tasks = self._tasks(inode, row)
        cached, dirty = self._bytes(inode, tasks)
        return {
            "type": _type(inode.mode),
            "size": inode.size,
            "state": self.state(ino, tasks) if row is not None else "local",
            "store": self._ns.url,
            "key": row.key if row is not None else None,
            "etag": row.etag if row is not None else None,
            "cached_bytes": cached,
            "dirty_bytes": dirty,
            "pinned": self._ns.pins.is_pinned(ino),
            **_rest(tasks),
        }

    def may_read(self, path: bytes, uid: int, gids: Sequence[int]) -> bool:
        """Whether this user could open `path`; for names that were never looked up, the nearest known one decides."""
        ino = ROOT_INO
        for name in filter(None, path.split(b"/")):
            if not _allows(self._t.inodes.get(ino), uid, gids, 0o1):
                return False
            row = self._t.dentries.get(ino, name)
            if row is None or row.ino is None:
                break
            ino = row.ino
        return _allows(self._t.inodes.get(ino), uid, gids, 0o4)

    async def _directory(self, inode: Inode) -> dict[str, Any]:
        directory = self._t.directories.get(inode.ino)
        own = self._t.tasks.all_of_inode(inode.ino)
        worst, size, cached, dirty, every = self.state(inode.ino, own), 0, 0, 0, list(own)
        for n, row in enumerate(self._t.dentries.below(inode.ino), 1):
            if n % _BATCH == 0:
                await trio.lowlevel.checkpoint()
            child = self._child(row)
            if child is None:
                continue
            tasks = self._tasks(child, row)
            every += tasks
            worst = max(worst, self.state(child.ino, tasks), key=STATES.index)
            if not child.is_dir:
                here, unsaved = self._bytes(child, tasks)
                size, cached, dirty = size + child.size, cached + here, dirty + unsaved
        return {
            "type": "dir",
            "size": size,
            "state": worst,
            "store": self._ns.url,
            "key": directory.prefix,
            "etag": None,
            "cached_bytes": cached,
            "dirty_bytes": dirty,
            "pinned": self._ns.pins.is_pinned(inode.ino),
            **_rest(every),
        }

    def _child(self, row: Dentry) -> Inode | None:
        try:
            return None if row.ino is None else self._t.inodes.get(row.ino)
        except Stale:
            return None

    def _tasks(self, inode: Inode, row: Dentry | None) -> list[Task]:
        """What is to be done for a file by this name: what waits below a staging name may be for another link."""
        tasks = self._t.tasks.all_of_inode(inode.ino)
        if row is None or row.generation != inode.generation or row.key != self._t.directories.home_key(row.place):
            return tasks
        return [task for task in tasks if not task.staged]

    def state(self, ino: InodeNo, tasks: Iterable[Task]) -> str:
        """Return where a file is on its way to the store, if this is to be done for it: one of `STATES`."""
        if ino in self._uploading():
            return "uploading"
        return max((self._task_state(task) for task in tasks), key=STATES.index, default="clean")

    def _task_state(self, task: Task) -> str:
        if task.stuck:
            return "stuck"
        if task.staged:
            return "local"
        if task.kind == TaskKind.MARKER:
            return "pending" if task.attempts or self._wants_marker(task.ino) else "clean"
        if task.due_ns is None or (self._wall_ns() < task.due_ns < PAUSED_NS and not task.attempts):
            return "dirty" if task.kind == TaskKind.UPLOAD else "pending"
        return "pending"

    def _wants_marker(self, ino: InodeNo | None) -> bool:
        return ino is None or self._ns.policies.wants_marker(ino)

    def _bytes(self, inode: Inode, tasks: Iterable[Task]) -> tuple[int, int]:
        """How many bytes are local, and how many of them are in no store yet."""
        if inode.symlink is not None or inode.is_special:
            return 0, 0
        cached = cached_bytes_of(self._contents, inode)
        unsaved = any(task.kind == TaskKind.UPLOAD for task in tasks)
        return cached, cached if unsaved else 0


def _rest(tasks: Sequence[Task]) -> dict[str, Any]:
    errors = [task.error for task in tasks if task.error is not None]
    return {
        "replicas": 1,
        "attempts": max((task.attempts for task in tasks), default=0),
        "last_error": errors[-1] if errors else None,
    }


def _type(mode: int) -> str:
    return {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}.get(stat.S_IFMT(mode), "other")


def _allows(inode: Inode, uid: int, gids: Sequence[int], bit: int) -> bool:
    if uid in (0, inode.uid):
        return uid == 0 or bool(inode.mode >> 6 & bit)
    return bool(inode.mode >> (3 if inode.gid in gids else 0) & bit)


def _text(path: bytes) -> str:
    return "/" + path.decode("utf-8", "surrogateescape").strip("/")
