"""Files that are made without a name (open(2), O_TMPFILE), and get one later, or never."""

from __future__ import annotations

from fusecache.errors import AlreadyExists
from fusecache.namespace.keys import check_storable
from fusecache.namespace.records import Dentry, Inode, Owner, Place, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo


class Tmpfiles:
    """One transaction a call. A restart forgets what has no name."""

    def __init__(self, tables: Tables) -> None:
        self._t = tables

    def make(self, owner: Owner, *, now_ns: int) -> Inode:
        """Make an empty file that has no name, as if it had been unlinked while somebody has it open."""
        times = (now_ns, now_ns, now_ns)
        with self._t.database.transaction():
            inode = Inode(InodeNo(0), *owner[:3], 0, 0, *times, 0, 1, None, None, None, None, None, None)
            return self._t.inodes.insert(inode._replace(xattrs=owner.xattrs))

    def name(self, ino: InodeNo, place: Place, *, now_ns: int) -> Inode:
        """Give it its name: from now on the store lacks it, which is sent after the next commit of its bytes.

        Raises:
            AlreadyExists: the name is taken. InvalidArgument: no store could keep it.
        """
        t = self._t
        check_storable(place.name)
        with t.database.transaction():
            present = t.dentries.get(*place)
            if present is not None and present.ino is not None:
                raise AlreadyExists(repr(place.name))
            seq = t.database.next_seq()
            t.dentries.put(Dentry(*place, ino, None, None, None, None, seq, 0))
            inode = t.inodes.update(t.inodes.get(ino), nlink=1, ctime_ns=now_ns)
            t.inodes.touched(place.parent, now_ns)
            store = t.directories.get(place.parent).store
            t.tasks.want(TaskKind.UPLOAD, ino, store, seq=seq, due_ns=None, now_ns=now_ns)
            t.requests.done()
        return inode
