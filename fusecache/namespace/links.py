"""Several names of one inode. Each has an object of its own; all of them follow the inode's bytes."""

from __future__ import annotations

from fusecache.namespace.records import Dentry, Inode, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo, LowerId, Seq


def lacking(tables: Tables, task: Task) -> list[Dentry]:
    """Return the names of the task's inode whose objects it has yet to bring up to date.

    A name that is alone lacks what there is a task for; only its absence says that nothing is left.
    """
    assert task.ino is not None
    rows = tables.dentries.of_inode(task.ino)
    if len(rows) < 2:
        return rows
    inode = tables.inodes.get(task.ino)
    if task.kind == TaskKind.UPLOAD:
        return [row for row in rows if row.generation != inode.generation]
    return [row for row in rows if _lacks_copy(tables, task, row)]


def _lacks_copy(tables: Tables, task: Task, row: Dentry) -> bool:
    if task.attributes and row.epoch <= task.seq:
        return True
    return row.key is None or tables.directories.home_key(row.place) != row.key


def is_sent(tables: Tables, row: Dentry) -> bool:
    """Whether an upload is to bring a name's object up to date: of several names, those whose bytes are old."""
    if tables.tasks.of_inode(row.inode_no, TaskKind.UPLOAD) is None:
        return False
    inode = tables.inodes.get(row.inode_no)
    return inode.nlink < 2 or row.generation != inode.generation


def copied_from(tables: Tables, row: Dentry) -> Dentry | None:
    """Return the name whose object has the bytes of `row`: itself, or one that it was linked to."""
    if row.key is not None:
        return row
    inode = tables.inodes.get(row.inode_no)
    rows = (each for each in tables.dentries.of_inode(inode.ino) if each.key is not None)
    return next((each for each in rows if each.generation == inode.generation), None)


def written_name(tables: Tables, task: Task, key: str) -> Dentry | None:
    """Return the name whose object a request of `task` to `key` has made, wherever it is by now."""
    assert task.ino is not None
    rows = tables.dentries.of_inode(task.ino)
    if len(rows) < 2:
        return rows[0] if rows else None
    at_target = (row for row in rows if row.place == task.target)
    moved = (row for row in rows if row.key == key)
    return next(at_target, None) or next(moved, None)


def equal_object(tables: Tables, ino: InodeNo, lost: LowerId) -> LowerId | None:
    """Return another name's object that has the same bytes as `lost`, which one of the inode's names had."""
    rows = tables.dentries.of_inode(ino)
    generation = next((row.generation for row in rows if row.lower == lost), None)
    equal = (row.lower for row in rows if row.generation == generation and row.lower != lost)
    return next((lower for lower in equal if lower is not None), None)


def others(tables: Tables, inode: Inode, place: Place) -> list[Dentry]:
    """Return the names of `inode` but the one at `place`."""
    if inode.nlink < 2:
        return []
    return [row for row in tables.dentries.of_inode(inode.ino) if row.place != place]


class Heirs:
    """What a name that goes leaves to the other names of its inode, within its transaction."""

    def __init__(self, tables: Tables) -> None:
        self._t = tables

    def hand_over(self, gone: Dentry, left: list[Dentry], *, seq: Seq, now_ns: int, due_ns: int) -> bool:
        """See that the bytes are still read from somewhere. True: from the object of `gone`, which has to stay for now.

        A name with an equal object of its own serves as well; else one takes over the object, as if `gone` had been
        renamed to it.
        """
        t = self._t
        if gone.lower is None:
            return False
        inode = t.inodes.get(gone.inode_no)
        equal = next((row for row in left if row.key is not None and row.generation == gone.generation), None)
        if equal is not None:
            if inode.base == gone.lower:
                t.inodes.update(inode, base_store=equal.store, base_key=equal.key, base_etag=equal.etag)
            return False
        heir = next((row for row in left if row.key is None), left[0])
        if heir.key is not None and inode.base != gone.lower:
            return False  # both are older than what is to be uploaded, and nothing is read from either
        if heir.key is not None:
            t.tasks.want_deleted(
                gone.lower.store,
                heir.key,
                etag=heir.etag,
                seq=seq,
                due_ns=due_ns,
                now_ns=now_ns,
                shield=heir.place,
            )
        store, key, etag = gone.lower
        t.dentries.put(heir._replace(store=store, key=key, etag=etag, generation=gone.generation, epoch=seq))
        t.tasks.want(TaskKind.COPY, inode.ino, store, seq=seq, due_ns=due_ns, now_ns=now_ns, source=key)
        return True
