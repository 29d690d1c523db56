"""Where in the tree a task is, for people and for barriers."""

from __future__ import annotations

from fusecache.errors import Stale
from fusecache.namespace.records import Place, Task
from fusecache.namespace.tables import Tables
from fusecache.types import ROOT_INO, InodeNo


class Paths:
    """Looks up the tree from a task."""

    def __init__(self, tables: Tables) -> None:
        self._t = tables

    def path_of(self, task: Task) -> str:
        """Return the path, or for a delete the key."""
        return task.key or "" if task.ino is None else self.path_of_inode(task.ino)

    def path_of_inode(self, ino: InodeNo) -> str:
        """Return the path below the mount point; '' for the root and for what has no name any more."""
        rows = self._t.dentries.of_inode(ino)
        try:
            names = self._t.directories.names(rows[0].place) if rows else []
        except Stale:
            return ""
        return b"/".join(names).decode("utf-8", "surrogateescape")

    def is_within(self, task: Task, ino: InodeNo) -> bool:
        """Whether `task` is about `ino` or, if that is a directory, about something below it."""
        if ino == ROOT_INO or task.ino == ino:
            return True
        if task.ino is None:
            return self._is_delete_within(task, ino)
        return self.is_inode_within(task.ino, ino)

    def is_inode_within(self, inode: InodeNo, ino: InodeNo) -> bool:
        """Whether an inode is `ino` or has a name below it."""
        return inode == ino or any(self.is_below(row.parent, ino) for row in self._t.dentries.of_inode(inode))

    def is_below(self, directory: InodeNo, ino: InodeNo) -> bool:
        """Whether `directory` is `ino`, or below it."""
        try:
            return directory == ino or ino == ROOT_INO or ino in self._t.directories.ancestors(directory)
        except Stale:
            return False

    def _is_delete_within(self, task: Task, ino: InodeNo) -> bool:
        assert task.key is not None
        if task.shield is not None and self.is_below(task.shield.parent, ino):
            return True
        directory = self._t.directories.find(ino)
        if directory is None:
            return any(self._t.directories.home_key(row.place) == task.key for row in self._t.dentries.of_inode(ino))
        home = self._t.directories.home_key(Place(directory.parent, directory.name))
        return task.key.startswith(f"{home}/")
