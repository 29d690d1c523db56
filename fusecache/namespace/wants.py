"""What the store has to be told of a change to the tree: the tasks that it leaves, within its transaction."""

from __future__ import annotations

from collections.abc import Callable

from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Inode, Place, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo, Seq


class Wants:
    """Parts of link, rename, chmod and the like."""

    def __init__(
        self, tables: Tables, policies: Policies, *, delay_ns: int, is_staging: Callable[[list[bytes]], bool]
    ) -> None:
        self._t = tables
        self._policies = policies
        self._delay_ns = delay_ns
        self._is_staging = is_staging

    def linked(self, inode: Inode, place: Place, *, seq: Seq, now_ns: int) -> None:
        """The new name needs an object: a copy of another name's, or what is to be uploaded anyway."""
        t = self._t
        due_ns = now_ns + self._delay_ns
        upload = t.tasks.of_inode(inode.ino, TaskKind.UPLOAD)
        if upload is None or any(row.generation == inode.generation for row in t.dentries.of_inode(inode.ino)):
            # Of several names an upload sends none that has the bytes already, wherever that has them.
            store = t.directories.get(place.parent).store
            t.tasks.want(TaskKind.COPY, inode.ino, store, seq=seq, due_ns=due_ns, now_ns=now_ns)
        if upload is not None and upload.staged and not self._is_staging(t.directories.names(place)):
            t.tasks.unstage(upload.task, seq=seq, due_ns=now_ns + self._policies.delay_ns(place))
        elif upload is not None:
            t.tasks.stands_for(upload.task, seq)

    def instead(self, inode: Inode) -> None:
        """Its bytes change again: if it was closed and not sent yet, that upload is never made."""
        upload = self._t.tasks.of_inode(inode.ino, TaskKind.UPLOAD) if inode.size else None
        if upload is not None and upload.due_ns is not None:
            self._t.spared.add(inode.size)

    def left_staging(self, inode: Inode, *, seq: Seq, now_ns: int) -> None:
        """What was local, this file or all below this directory, is for the store now."""
        t = self._t
        due_ns = now_ns + self._policies.delay_ns_of(inode.ino)
        if inode.is_dir:
            store = t.directories.get(inode.ino).store
            t.tasks.want(TaskKind.ADOPT, inode.ino, store, seq=seq, due_ns=due_ns, now_ns=now_ns)
            return
        for task in t.tasks.all_of_inode(inode.ino):
            if task.staged:
                t.tasks.unstage(task.task, seq=seq, due_ns=due_ns)

    def attributes(self, inode: Inode, *, now_ns: int) -> None:
        """The metadata of its object is out of date; of a directory, that of the marker, if there is one."""
        t = self._t
        due_ns = now_ns + self._delay_ns
        if inode.is_dir:
            if t.directories.get(inode.ino).marker:
                self.marker(inode.ino, seq=t.database.next_seq(), now_ns=now_ns)
            return
        if not inode.nlink:
            return
        upload = t.tasks.of_inode(inode.ino, TaskKind.UPLOAD)
        if upload is not None and upload.key is None and inode.nlink == 1:
            return  # it has not begun, and will send the attributes of then
        dentry = t.dentries.of_inode(inode.ino)[0]
        t.tasks.want(
            TaskKind.COPY,
            inode.ino,
            t.directories.get(dentry.parent).store,
            seq=t.database.next_seq(),
            due_ns=due_ns,
            now_ns=now_ns,
            source=dentry.key,
            attributes=True,
        )

    def marker(self, ino: InodeNo, *, seq: Seq, now_ns: int) -> None:
        """The directory may be empty now: it may need its marker, which is looked into later."""
        t = self._t
        directory = t.directories.get(ino)
        if not directory.parent:
            return  # the root
        pending = t.tasks.of_inode(ino, TaskKind.MARKER)
        if pending is not None and pending.key is None and not pending.attempts:
            return  # it will look at what is there then
        due_ns = now_ns + self._delay_ns
        t.tasks.want(TaskKind.MARKER, ino, directory.store, seq=seq, due_ns=due_ns, now_ns=now_ns)
