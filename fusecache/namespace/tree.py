"""The changes that applications make to the tree: one transaction each, whatever the size.

None of them asks the store. A change that the store must follow leaves tasks; a name that the
store would still show leaves a whiteout, held by the tasks that it shields.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass

from fusecache.errors import AlreadyExists, InvalidArgument, NotFound
from fusecache.namespace.database import Database
from fusecache.namespace.dentries import Dentries
from fusecache.namespace.directories import Directories
from fusecache.namespace.inodes import Inodes
from fusecache.namespace.records import Dentry, Inode, Place, TaskKind
from fusecache.namespace.tasks import Tasks
from fusecache.types import InodeNo, Seq

_MAX_DELAY_FACTOR = 10
"""A file that is rewritten again and again is uploaded at the latest after so many delays."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The repositories of one database."""

    database: Database
    inodes: Inodes
    dentries: Dentries
    directories: Directories
    tasks: Tasks

    @classmethod
    def of(cls, database: Database) -> Tables:
        return cls(database, Inodes(database), Dentries(database), Directories(database), Tasks(database))


@dataclass(frozen=True, slots=True)
class Owner:
    """Who makes a new file, and with which st_mode."""

    mode: int
    uid: int
    gid: int


class Tree:
    """Create, write, rename, remove: acknowledged when the call returns."""

    def __init__(self, tables: Tables, *, delay_ns: int, is_staging: Callable[[list[bytes]], bool]) -> None:
        self._t = tables
        self._delay_ns = delay_ns
        self._is_staging = is_staging

    def create(self, place: Place, owner: Owner, *, now_ns: int, symlink: bytes | None = None) -> Inode:
        """Make a file, open for writing, or a symbolic link.

        Raises:
            AlreadyExists: the name is taken.
        """
        t = self._t
        with t.database.transaction():
            seq, inode = self._new(place, owner, now_ns=now_ns, symlink=symlink)
            due_ns = None if symlink is None else now_ns + self._delay_ns
            store = t.directories.get(place.parent).store
            t.tasks.want(TaskKind.UPLOAD, inode.ino, store, seq=seq, due_ns=due_ns, now_ns=now_ns)
        return inode

    def mkdir(self, place: Place, owner: Owner, *, now_ns: int) -> Inode:
        """Make a directory. It is opaque: what the store showed here before stays hidden."""
        t = self._t
        with t.database.transaction():
            seq, inode = self._new(place, owner, now_ns=now_ns, symlink=None)
            store = t.directories.get(place.parent).store
            t.directories.insert(inode.ino, store, None)
            self._maybe_empty(inode.ino, seq=seq, now_ns=now_ns)
        return inode

    def begin_write(self, ino: InodeNo, *, blocks: bytes | None, base_size: int | None, now_ns: int) -> Inode:
        """The bytes begin to change: dirty from now on, and not uploaded before `closed`.

        `blocks` is the map of what is local, when not everything is.
        """
        t = self._t
        with t.database.transaction():
            inode = t.inodes.dirtied(t.inodes.get(ino), blocks=blocks, base_size=base_size)
            if inode.nlink:
                store = t.directories.get(t.dentries.of_inode(ino)[0].parent).store
                seq = t.database.next_seq()
                t.tasks.want(TaskKind.UPLOAD, ino, store, seq=seq, due_ns=None, now_ns=now_ns)
        return inode

    def wrote_blocks(self, ino: InodeNo, *, blocks: bytes | None, base_size: int | None) -> None:
        """More blocks of a partly local file were made local: before the write is acknowledged."""
        t = self._t
        with t.database.transaction():
            t.inodes.update(t.inodes.get(ino), blocks=blocks, base_size=base_size)

    def made_whole(self, ino: InodeNo) -> None:
        """Every byte of a dirty file is local now: it needs its base no more, which may be overwritten.

        The uploader commits this before it sends the first byte: after a crash in between, the missing
        blocks could come from nowhere.
        """
        t = self._t
        inode = t.inodes.get(ino)
        if inode.base_key is None:
            return
        with t.database.transaction():
            t.inodes.update(inode, base_store=None, base_key=None, base_etag=None, base_size=None, blocks=None)

    def closed(self, inode: Inode, *, now_ns: int) -> None:
        """Size, times and block map of `inode` are final for now: its upload falls due."""
        t = self._t
        with t.database.transaction():
            t.inodes.written(inode)
            due_ns, cap_ns = now_ns + self._delay_ns, self._delay_ns * _MAX_DELAY_FACTOR
            t.tasks.closed(inode.ino, seq=t.database.next_seq(), due_ns=due_ns, cap_ns=cap_ns)

    def set_attributes(self, inode: Inode, *, now_ns: int) -> None:
        """Store mode, owner and times; the object's metadata follows."""
        t = self._t
        with t.database.transaction():
            t.inodes.update(
                t.inodes.get(inode.ino),
                mode=inode.mode,
                uid=inode.uid,
                gid=inode.gid,
                atime_ns=inode.atime_ns,
                mtime_ns=inode.mtime_ns,
                ctime_ns=now_ns,
            )
            self._attributes_changed(inode, now_ns)

    def unlink(self, place: Place, *, now_ns: int, keep: bool) -> Inode:
        """Remove a file's name; `keep` its inode, which is open. Returns the inode as it is now.

        Raises:
            NotFound: there is no such name.
        """
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            dentry = self._live(place)
            inode = self._unname(dentry, seq=seq, now_ns=now_ns, keep=keep)
            self._vacate(place, seq)
            t.inodes.touched(place.parent, now_ns)
            self._maybe_empty(place.parent, seq=seq, now_ns=now_ns)
        return inode

    def rmdir(self, place: Place, *, now_ns: int) -> None:
        """Remove a directory which the caller knows to be empty, here and in the store."""
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            dentry = self._live(place)
            self._unname_directory(dentry, seq=seq, now_ns=now_ns)
            self._vacate(place, seq)
            t.inodes.touched(place.parent, now_ns)
            self._maybe_empty(place.parent, seq=seq, now_ns=now_ns)

    def rename(self, old: Place, new: Place, *, now_ns: int, keep: bool) -> Inode | None:
        """Move a name, over a file or over a directory known to be empty; returns the inode replaced.

        One transaction whatever the size. `keep` the inode that is replaced: it is open.
        Raises:
            NotFound: there is no `old`. InvalidArgument: `new` is below `old`.
        """
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            moved = self._live(old)
            assert moved.ino is not None
            if moved.ino == new.parent or moved.ino in t.directories.ancestors(new.parent):
                raise InvalidArgument("a directory cannot be moved below itself")
            replaced = self._replace(new, moved.ino, seq=seq, now_ns=now_ns, keep=keep)
            was_staging = self._is_staging(t.directories.names(old))
            self._leave(moved, seq=seq, now_ns=now_ns)
            t.dentries.delete(old)
            t.dentries.put(moved._replace(parent=new.parent, name=new.name, epoch=seq))
            t.directories.moved(moved.ino)
            self._vacate(old, seq)
            t.inodes.update(t.inodes.get(moved.ino), ctime_ns=now_ns)
            if was_staging:
                self._left_staging(moved.ino, seq=seq, now_ns=now_ns)
            for parent in {old.parent, new.parent}:
                t.inodes.touched(parent, now_ns)
            self._maybe_empty(old.parent, seq=seq, now_ns=now_ns)
        return replaced

    def reap(self, ino: InodeNo) -> None:
        """Forget an unlinked inode: nobody has it open any more."""
        with self._t.database.transaction():
            self._t.inodes.delete(ino)

    def recover(self, *, now_ns: int) -> None:
        """After a restart: nothing is open, what was being written falls due."""
        with self._t.database.transaction():
            self._t.tasks.recover(now_ns + self._delay_ns)

    # --- parts of the above, within their transaction ---

    def _new(self, place: Place, owner: Owner, *, now_ns: int, symlink: bytes | None) -> tuple[Seq, Inode]:
        t = self._t
        present = t.dentries.get(*place)
        if present is not None and present.ino is not None:
            raise AlreadyExists(repr(place.name))
        seq = t.database.next_seq()
        size = len(symlink) if symlink is not None else 0
        times = (now_ns, now_ns, now_ns)
        fresh = (InodeNo(0), *_values(owner), 1, size, *times, 0, 1, symlink, None, None, None, None, None)
        inode = t.inodes.insert(Inode(*fresh))
        t.dentries.put(Dentry(*place, inode.ino, None, None, None, None, seq, 0))
        t.inodes.touched(place.parent, now_ns)
        return seq, inode

    def _live(self, place: Place) -> Dentry:
        dentry = self._t.dentries.get(*place)
        if dentry is None or dentry.ino is None:
            raise NotFound(repr(place.name))
        return dentry

    def _unname(self, dentry: Dentry, *, seq: Seq, now_ns: int, keep: bool) -> Inode:
        """Take a file's name away: its objects, finished or begun, have to go."""
        t = self._t
        assert dentry.ino is not None
        inode = t.inodes.get(dentry.ino)
        directory = t.directories.get(dentry.parent)
        due_ns = now_ns + self._delay_ns
        for task in t.tasks.all_of_inode(inode.ino):
            if task.key is not None:
                t.tasks.want_deleted(
                    task.store, task.key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=dentry.place
                )
            t.tasks.drop(task.task)
        if dentry.key is not None:
            t.tasks.want_deleted(
                directory.store,
                dentry.key,
                etag=dentry.etag,
                seq=seq,
                due_ns=due_ns,
                now_ns=now_ns,
                shield=dentry.place,
            )
            t.tasks.release(directory.store, dentry.key, due_ns)
        t.tasks.release_shielded(dentry.place, due_ns)
        if keep:
            return t.inodes.update(inode, nlink=0, ctime_ns=now_ns)
        t.inodes.delete(inode.ino)
        return inode._replace(nlink=0, ctime_ns=now_ns)

    def _unname_directory(self, dentry: Dentry, *, seq: Seq, now_ns: int) -> None:
        """Take a directory away: its marker has to go, what was being deleted below it stays hidden."""
        t = self._t
        assert dentry.ino is not None
        directory = t.directories.get(dentry.ino)
        due_ns = now_ns + self._delay_ns
        keys: set[str] = set()
        if directory.marker:
            keys.add(directory.prefix if directory.prefix is not None else t.directories.home_prefix(dentry.ino))
        for task in t.tasks.all_of_inode(dentry.ino):
            if task.kind == TaskKind.RELOCATE and task.key is not None:
                continue  # it finds its directory gone, and removes what it has copied
            if task.key is not None:
                keys.add(task.key)
            t.tasks.drop(task.task)
        for key in keys:
            t.tasks.want_deleted(
                directory.store, key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=dentry.place
            )
        t.tasks.shield_instead(dentry.ino, dentry.place)
        t.dentries.delete_below(dentry.ino)
        t.directories.delete(dentry.ino)
        t.inodes.delete(dentry.ino)

    def _replace(self, new: Place, ino: InodeNo, *, seq: Seq, now_ns: int, keep: bool) -> Inode | None:
        t = self._t
        present = t.dentries.get(*new)
        if present is None or present.ino is None or present.ino == ino:
            return None
        inode = t.inodes.get(present.ino)
        if inode.is_dir:
            self._unname_directory(present, seq=seq, now_ns=now_ns)
            return inode
        return self._unname(present, seq=seq, now_ns=now_ns, keep=keep)

    def _leave(self, moved: Dentry, *, seq: Seq, now_ns: int) -> None:
        """The lower of a name that moves stays behind for now: note what has to follow."""
        t = self._t
        assert moved.ino is not None
        due_ns = now_ns + self._delay_ns
        store = t.directories.get(moved.parent).store
        directory = t.directories.find(moved.ino)
        if directory is not None:
            source = directory.prefix
            if source is None and directory.used:
                source = t.directories.home_prefix(moved.ino)
            if source is not None:
                t.tasks.want(
                    TaskKind.RELOCATE,
                    moved.ino,
                    store,
                    seq=seq,
                    due_ns=due_ns,
                    now_ns=now_ns,
                    source=source,
                    shield=moved.place,
                )
            return
        tasks = {task.kind: task for task in t.tasks.all_of_inode(moved.ino)}
        for task in tasks.values():
            if task.key is not None and task.key != moved.key:
                t.tasks.want_deleted(
                    store, task.key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=moved.place
                )
        if moved.key is None:
            return
        t.tasks.want_deleted(store, moved.key, etag=moved.etag, seq=seq, due_ns=None, now_ns=now_ns, shield=moved.place)
        if TaskKind.UPLOAD not in tasks:
            t.tasks.want(TaskKind.COPY, moved.ino, store, seq=seq, due_ns=due_ns, now_ns=now_ns, source=moved.key)

    def _vacate(self, place: Place, seq: Seq) -> None:
        """Nothing of ours is under this name any more: hide what the lower, or an older listing of it, shows."""
        t = self._t
        shielded = t.tasks.shielded_by(place)
        if t.directories.get(place.parent).prefix is None and not shielded:
            t.dentries.delete(place)
            return
        t.dentries.whiteout(place, seq)
        if not shielded:
            t.dentries.settle(place, seq)

    def _left_staging(self, ino: InodeNo, *, seq: Seq, now_ns: int) -> None:
        t = self._t
        due_ns = now_ns + self._delay_ns
        if (directory := t.directories.find(ino)) is not None:
            t.tasks.want(TaskKind.ADOPT, ino, directory.store, seq=seq, due_ns=due_ns, now_ns=now_ns)
            return
        for task in t.tasks.all_of_inode(ino):
            if task.staged:
                t.tasks.unstage(task.task, seq=seq, due_ns=due_ns)

    def _attributes_changed(self, inode: Inode, now_ns: int) -> None:
        t = self._t
        due_ns = now_ns + self._delay_ns
        if inode.is_dir:
            if t.directories.get(inode.ino).marker:
                self._maybe_empty(inode.ino, seq=t.database.next_seq(), now_ns=now_ns)
            return
        if not inode.nlink:
            return
        upload = t.tasks.of_inode(inode.ino, TaskKind.UPLOAD)
        if upload is not None and upload.key is None:
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
        )

    def _maybe_empty(self, ino: InodeNo, *, seq: Seq, now_ns: int) -> None:
        """The directory may be empty now: it may need its marker, which is looked into later."""
        t = self._t
        if (directory := t.directories.find(ino)) is not None and directory.parent:
            due_ns = now_ns + self._delay_ns
            t.tasks.want(TaskKind.MARKER, ino, directory.store, seq=seq, due_ns=due_ns, now_ns=now_ns)


def _values(owner: Owner) -> tuple[int, int, int]:
    assert stat.S_IFMT(owner.mode)
    return owner.mode, owner.uid, owner.gid
