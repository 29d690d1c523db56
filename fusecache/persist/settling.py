"""What is deleted in a finished table waits until no more is: its commit marker may be the last that goes.

Who removes a table does so in the order of its directory, and that may take longer than the delay before a delete. What
it is about is seen at the marker, or when it has ended: until then a reader of the bucket, who sees the marker, finds
all that it is of.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusecache.namespace.closes import MAX_DELAY_FACTOR
from fusecache.namespace.keys import TMP_PREFIX, ancestors
from fusecache.namespace.links import lacking
from fusecache.namespace.records import Removal, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.namespace.tasks import HURRIED_NS, PAUSED_NS
from fusecache.persist.staging import Patterns
from fusecache.types import StoreNo

_LOOKED_AT = 1000
"""Keys that may be markers of a tree: of more it is believed that one is."""
_SETTLED = 250
"""Deletes that go on in one step, at some 20 µs each."""

_Tree = tuple[StoreNo, str]


class Settling:
    """Tells until when a delete waits for others, and which have waited for long enough.

    A delete in a tree with a commit marker waits until `delay_ns` have passed since the last one there, and at most
    ten times as long since it was wanted. It is postponed by that, once, and brought back when the tree is quiet:
    what waits is not looked at meanwhile. That is in memory only; after a restart the rows say when it is due.
    """

    def __init__(self, tables: Tables, patterns: Patterns, *, delay_ns: int) -> None:
        self._t = tables
        self._patterns = patterns
        self._delay_ns = delay_ns
        self._latest: dict[_Tree, int] = {}
        """When the last delete below a prefix was wanted, the longest ago first."""
        self._waiting: dict[_Tree, list[int]] = {}
        """The deletes of a tree that wait."""
        self._quiet: list[int] = []
        """Those that waited in trees that are quiet."""
        self._marked: dict[_Tree, bool] = {}

    def note(self, delete: Removal) -> None:
        """There is a new delete."""
        for prefix in _trees_of(delete.key):
            tree = (delete.store, prefix)
            self._latest[tree] = max(self._latest.pop(tree, 0), delete.since_ns)

    def settled(self, now_ns: int) -> list[Task]:
        """Return deletes that waited for long enough, and are due later. Each once; with none there are no more."""
        self._marked.clear()
        for tree in [tree for tree in self._waiting if self._quiet_ns(tree) <= now_ns]:
            self._quiet += self._waiting.pop(tree)
        while self._latest and self._quiet_ns(tree := next(iter(self._latest))) <= now_ns:
            del self._latest[tree]
        found: list[Task] = []
        while self._quiet and not found:
            numbers, self._quiet = self._quiet[:_SETTLED], self._quiet[_SETTLED:]
            tasks = (self._t.tasks.get(number) for number in numbers)
            found = [task for task in tasks if task is not None and _is_put_off(task, now_ns)]
        return found

    def until_ns(self, task: Task, now_ns: int) -> int | None:
        """Return until when a delete that is due has to wait at most, or None: it need not, or not any more.

        One that a flush waits for does not; nor does that of a marker, or of the key of a directory, which is no data.
        """
        assert task.kind == TaskKind.DELETE
        key = task.key or ""
        until_ns = min(task.since_ns, now_ns) + MAX_DELAY_FACTOR * self._delay_ns
        if task.due_ns == HURRIED_NS or until_ns <= now_ns or key.endswith("/") or key.startswith(TMP_PREFIX):
            return None
        busy = ((task.store, prefix) for prefix in _trees_of(key))
        tree = next((tree for tree in busy if self._quiet_ns(tree) > now_ns and self._is_marked(tree)), None)
        if tree is None or self._patterns.tree_of(key) is not None:
            return None
        self._waiting.setdefault(tree, []).append(task.task)
        return until_ns

    def may_delay(self, task: Task) -> bool:
        """Whether what is in the way of another task may be a delete that only has its time here."""
        if not self._waiting:
            return False
        directories = self._t.directories
        if task.kind == TaskKind.RELOCATE:
            keys = [directories.home_prefix(task.inode_no)] if directories.find(task.inode_no) is not None else []
        else:
            keys = [directories.home_key(row.place) for row in lacking(self._t, task)]
        trees = [prefix for store, prefix in self._waiting if store == task.store]
        return any(tree.startswith(key) or key.startswith(tree) for tree in trees for key in keys)

    def next_ns(self) -> int | None:
        """Return when the next tree may be quiet, if anything waits for that."""
        return min(map(self._quiet_ns, self._waiting), default=None)

    def _quiet_ns(self, tree: _Tree) -> int:
        """From when on a tree is quiet, if nothing else is deleted there."""
        return self._latest.get(tree, 0) + self._delay_ns

    def _is_marked(self, tree: _Tree) -> bool:
        """Whether the store may have a commit marker of that tree, that no delete is about."""
        if tree not in self._marked:
            self._marked[tree] = self._has_marker(*tree)
        return self._marked[tree]

    def _has_marker(self, store: StoreNo, prefix: str) -> bool:
        heads = self._patterns.marker_heads
        keys = self._t.dentries.keys_from(store, [prefix + head for head in heads], count=_LOOKED_AT)
        if len(keys) == _LOOKED_AT or any(self._patterns.tree_of(key) == prefix for key in keys):
            return True
        # What is in `_delta_log/` is not known before somebody has looked there.
        logs = [prefix + head for head in heads if head.endswith("/")]
        return bool(self._t.directories.reading(store, logs))


def _is_put_off(task: Task, now_ns: int) -> bool:
    """Whether it is due later, but not as it is paused, or was refused."""
    return task.due_ns is not None and now_ns < task.due_ns < PAUSED_NS and not task.attempts


def _trees_of(key: str) -> Iterator[str]:
    """The prefixes of the trees that a key is in."""
    yield ""
    yield from ancestors(key)
