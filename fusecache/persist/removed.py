"""Commit markers go first: before all that was acknowledged after their removal in their tree.

And before what was deleted there earlier, where that is still to go: who removes a whole table does so in the order of
its directory, and to a reader of the bucket a marker over the rest of it is as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fusecache.namespace.keys import TMP_PREFIX, ancestors
from fusecache.namespace.moves import is_waiting_at_home
from fusecache.namespace.records import Dentry, Place, Removal, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.persist.staging import Patterns
from fusecache.types import ROOT_INO, ObjectKey, Seq, StoreNo


class Removed:
    """Tells whether a change has to wait until a removed commit marker is gone from the store.

    The rows decide; remembered is only which deletes are of markers, as no query can tell: it is told of each.
    """

    def __init__(self, tables: Tables, patterns: Patterns, *, is_read: Callable[[StoreNo, ObjectKey], bool]) -> None:
        """`is_read`: an open, partly cached file still needs this object."""
        self._t = tables
        self._patterns = patterns
        self._is_read = is_read
        self._deletes: dict[tuple[StoreNo, str], dict[int, Seq]] = {}
        """Of each tree: the delete tasks of its markers, and their earliest acknowledgements."""
        self._trees: dict[int, tuple[StoreNo, str]] = {}

    def note(self, delete: Removal) -> None:
        """There is a new delete."""
        tree = self._patterns.tree_of(delete.key)
        if tree is not None:
            self._trees[delete.task] = (delete.store, tree)
            self._deletes.setdefault((delete.store, tree), {})[delete.task] = delete.since_seq

    def forget(self, task: int) -> None:
        """The task may be gone."""
        if task in self._trees and self._t.tasks.get(task) is None:
            tree = self._trees.pop(task)
            del self._deletes[tree][task]
            if not self._deletes[tree]:
                del self._deletes[tree]

    def blocker(self, task: Task, key: str, place: Place | None) -> Task | None:
        """Return the delete of a marker that must be carried out before `task` changes `key`, for `place` if given.

        Or the relocation that will want such a delete, if it takes the tree away.

        A delete that waits for an application, or is stuck, holds up nobody: there is no telling when that ends.
        Nor is a marker held up, which has a barrier of its own, nor the key of a directory, which is no data.
        """
        if key.endswith("/") != (task.kind == TaskKind.RELOCATE) or key.startswith(TMP_PREFIX):
            return None
        if task.kind == TaskKind.DELETE and (moving := self._moving_away(task, key)) is not None:
            return moving
        if not self._deletes or self._patterns.tree_of(key) is not None:
            return None
        trees = [tree for tree in ("", *ancestors(key)) if (task.store, tree) in self._deletes]
        seq = max(task.seq, self._placed(place)) if trees else task.seq
        is_delete = task.kind == TaskKind.DELETE
        until = None if is_delete else seq
        for delete in (each for tree in trees for each in self._of_tree(task.store, tree, until)):
            is_before = delete.since_seq <= seq or (is_delete and self._goes_alone(delete))
            if is_before and self._is_going(delete):
                return delete
        return None

    def _moving_away(self, task: Task, key: str) -> Task | None:
        """The relocation that leaves `key` behind, and markers above it maybe, which nobody may have listed yet."""
        if not self._t.tasks.has_relocations() or self._patterns.tree_of(key) is not None:
            return None
        above = ancestors(key)
        moving = self._t.tasks.relocations_over(task.store, above) if above else []
        still = (each for each in moving if each.source in above and each.source != each.key and not each.stuck)
        leaving = (each for each in still if not is_waiting_at_home(self._t, each))
        return next((each for each in leaving if each.since_seq <= task.seq), None)

    def _placed(self, place: Place | None) -> Seq:
        """When a name, or a directory above it, became what it is: a rename brings what was acknowledged before it."""
        if place is None or self._t.directories.find(place.parent) is None:
            return Seq(0)
        above = [ino for ino in (place.parent, *self._t.directories.ancestors(place.parent)) if ino != ROOT_INO]
        rows = [self._t.dentries.get(*place), *(row for ino in above for row in self._t.dentries.of_inode(ino))]
        return max((row.epoch for row in rows if row is not None), default=Seq(0))

    def _of_tree(self, store: StoreNo, tree: str, until: Seq | None) -> Iterator[Task]:
        """The deletes that are still to be carried out, of markers removed `until` then or whenever, lazily."""
        for number, since_seq in tuple(self._deletes[store, tree].items()):
            if until is not None and since_seq > until:
                continue
            delete = self._t.tasks.get(number)
            if delete is not None:
                yield delete
            else:
                self.forget(number)

    def _goes_alone(self, delete: Task) -> bool:
        """Whether it waits for nothing, and so never for what waits for it."""
        assert delete.key is not None
        is_parked = delete.due_ns is None or bool(self._t.dentries.readers(delete.store, delete.key))
        return not is_parked and self._moving_away(delete, delete.key) is None

    def _is_going(self, delete: Task) -> bool:
        assert delete.key is not None
        if delete.stuck or self._is_read(delete.store, delete.key):
            return False
        readers = self._t.dentries.readers(delete.store, delete.key)
        return all(map(self._is_leaving, readers)) and (bool(readers) or delete.due_ns is not None)

    def _is_leaving(self, row: Dentry) -> bool:
        """Whether the marker's name, which is another one by now, gets an object of its own without anybody's help."""
        tasks = [each for each in self._t.tasks.all_of_inode(row.inode_no) if each.kind != TaskKind.DELETE]
        return bool(tasks) and all(each.due_ns is not None and not each.stuck for each in tasks)
