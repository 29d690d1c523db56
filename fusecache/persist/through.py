"""Paths whose closes wait for the store, and whose bytes do not stay here once they are there."""

from __future__ import annotations

from collections.abc import Callable

import trio

from fusecache.errors import Stale, StoreUnreachable
from fusecache.namespace.records import Task, TaskKind
from fusecache.namespace.tasks import HURRIED_NS, PAUSED_NS
from fusecache.persist.barrier import Barriers
from fusecache.persist.flush import Flusher
from fusecache.persist.tools import Tools
from fusecache.types import FlushProgress, InodeNo, Seq

_TICK_S = 0.25
_LET_GO_S = 1.0


class Through:
    """Waits for uploads, one inode at a time: whatever else is waiting, a look costs the same."""

    def __init__(
        self, tools: Tools, barriers: Barriers, flusher: Flusher, *, ring: Callable[[], None], patience_s: float
    ) -> None:
        """`patience_s`: how long a wait may go on in which the store takes nothing."""
        self._tools = tools
        self._barriers = barriers
        self._flusher = flusher
        self._ring = ring
        self._patience_s = patience_s
        self._ended: dict[InodeNo, trio.Event] = {}
        self._passed: dict[InodeNo, None] = {}

    async def file(self, ino: InodeNo) -> None:
        """Return when the store has what was closed of a file before this call.

        Or, with less, if it stays here by its path, if it was removed, or if somebody goes on writing it: whose close
        waits in turn. A cancellation leaves its task due.

        Raises:
            StoreUnreachable: the patience is over. The file is dirty, and goes on being retried.
        """
        ns = self._tools.namespace
        seq, moved_s = ns.database.seq, trio.current_time()
        if self._awaited(ino, seq) is None:
            return
        await self._tools.durability.reached(seq)  # before it nothing is sent
        while (task := self._awaited(ino, seq)) is not None:
            if self._moves(task):
                moved_s = trio.current_time()
            elif trio.current_time() - moved_s >= self._patience_s:
                raise StoreUnreachable(f"inode {ino} is not in the store, and kept: {task.error or 'no answer'}")
            if not task.attempts and task.due_ns not in (HURRIED_NS, PAUSED_NS):
                ns.drain.hurried([task])
            self._ring()
            if self._barriers.blocker_of(task.task) is not None:
                await self._flushed(ino)  # a commit marker: all of its tree goes first, and before what else there is
            ended = self._ended.setdefault(ino, trio.Event())
            with trio.move_on_after(_TICK_S):
                await ended.wait()

    async def tree(self, ino: InodeNo) -> None:
        """Return when the store has all that was acknowledged below a directory before this call, as a flush does.

        Raises:
            StoreUnreachable: something is stuck, or the patience is over.
        """
        told = await self._flushed(ino)
        if told is None or told.stuck:
            raise StoreUnreachable(f"not all below inode {ino} is in the store: {told.stuck if told else 'no answer'}")

    def ended(self, ino: InodeNo) -> None:
        """A task of this inode was carried out, or failed."""
        if (event := self._ended.pop(ino, None)) is not None:
            event.set()
        namespace = self._tools.namespace
        if namespace.policies.passes_through(ino) and not namespace.pins.is_pinned(ino):
            self._passed[ino] = None

    async def let_go(self) -> None:
        """Every second, delete the bytes of what only passes through and is in the store, until cancelled."""
        while True:
            await trio.sleep(_LET_GO_S)
            if not self._passed:
                continue
            await self._tools.durability.reached(self._tools.namespace.database.seq)  # that it is clean
            for ino in list(self._passed):
                if self._is_gone(ino):
                    del self._passed[ino]

    # --- helpers ---

    async def _flushed(self, ino: InodeNo) -> FlushProgress | None:
        """Flush as long as that gets on; None: it did not for the time of the patience."""
        left = -1
        with trio.move_on_after(self._patience_s) as scope:

            def progress(now: FlushProgress) -> None:
                nonlocal left
                if now.files_left != left:
                    left, scope.deadline = now.files_left, trio.current_time() + self._patience_s

            return await self._flusher.flush(ino, progress=progress, is_asked=False)
        return None

    def _awaited(self, ino: InodeNo, seq: Seq) -> Task | None:
        """The task that stands between `seq` and the store."""
        task = self._tools.namespace.tables.tasks.of_inode(ino, TaskKind.UPLOAD)
        is_over = task is None or task.since_seq > seq or task.due_ns is None  # here for good, or being written
        return None if is_over else task

    def _moves(self, task: Task) -> bool:
        """Whether the store takes something, and not just what goes before a marker that waits for an application."""
        pacer = self._tools.pacers.get(task.store)
        if task.attempts or task.stuck or task.due_ns == PAUSED_NS or pacer is None:
            return False
        blocker = self._barriers.blocker_of(task.task)
        if blocker is not None and (blocker.stuck or blocker.due_ns is None):
            return False
        return pacer.quiet_s < 2 * _TICK_S

    def _is_gone(self, ino: InodeNo) -> bool:
        """Whether nothing is left to be let go of; what is open is looked at again."""
        t = self._tools.namespace.tables
        try:
            inode = t.inodes.get(ino)
        except Stale:
            return True
        if inode.base is None or t.tasks.of_inode(ino, TaskKind.UPLOAD) is not None:
            return True  # dirty: when it has been uploaded, this is asked again
        self._tools.contents.release(ino, inode.base)
        return not self._tools.contents.exists(ino)
