"""The changes that applications make to the tree: one transaction each, whatever the size.

None of them asks the store. A change that the store must follow leaves tasks; a name that the
store would still show leaves a whiteout, held by the tasks that it shields.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection

from fusecache.errors import (
    AlreadyExists,
    InvalidArgument,
    IsADirectory,
    NotFound,
)
from fusecache.namespace.departures import Departures
from fusecache.namespace.keys import check_storable
from fusecache.namespace.links import equal_object
from fusecache.namespace.moves import Moves
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Dentry, Inode, Place, TaskKind
from fusecache.namespace.records import Owner as Owner
from fusecache.namespace.seals import Held
from fusecache.namespace.tables import Tables as Tables
from fusecache.namespace.wants import Wants
from fusecache.types import InodeNo, LowerId, Seq


class Tree:
    """Create, write, rename, remove: acknowledged when the call returns."""

    def __init__(
        self, tables: Tables, policies: Policies, *, delay_ns: int, is_staging: Callable[[list[bytes]], bool]
    ) -> None:
        self._t = tables
        self._policies = policies
        self._delay_ns = delay_ns
        self._is_staging = is_staging
        self._departures = Departures(tables, delay_ns=delay_ns)
        self._moves = Moves(tables, policies, delay_ns=delay_ns)
        self._wants = Wants(tables, policies, delay_ns=delay_ns, is_staging=is_staging)

    def create(
        self, place: Place, owner: Owner, *, now_ns: int, symlink: bytes | None = None, is_open: bool = True
    ) -> Inode:
        """Make a file, which `is_open` for writing or empty for good, or a symbolic link.

        Raises:
            AlreadyExists: the name is taken. InvalidArgument: no store could keep it.
        """
        t = self._t
        with t.database.transaction():
            seq, inode = self._new(place, owner, now_ns=now_ns, symlink=symlink)
            due_ns = None if is_open and symlink is None else now_ns + self._policies.delay_ns(place)
            store = t.directories.get(place.parent).store
            t.written.begun(inode.ino, store, flow=place.parent, seq=seq, due_ns=due_ns, now_ns=now_ns)
        return inode

    def link(self, ino: InodeNo, place: Place, *, now_ns: int) -> Inode:
        """Give a file one more name.

        Raises:
            NotFound: it has none any more. AlreadyExists: the name is taken. InvalidArgument: no store could keep it.
        """
        t = self._t
        check_storable(place.name)
        with t.database.transaction():
            present = t.dentries.get(*place)
            if present is not None and present.ino is not None:
                raise AlreadyExists(repr(place.name))
            inode = t.inodes.get(ino)
            if not inode.nlink:
                raise NotFound(f"inode {ino} has no name any more")
            seq = t.database.next_seq()
            t.dentries.put(Dentry(*place, ino, None, None, None, None, seq, 0))
            inode = t.inodes.update(inode, nlink=inode.nlink + 1, ctime_ns=now_ns)
            t.inodes.touched(place.parent, now_ns)
            self._wants.linked(inode, place, seq=seq, now_ns=now_ns)
            t.requests.done()
        return inode

    def mknod(self, place: Place, owner: Owner, *, rdev: int, now_ns: int) -> Inode:
        """Make a fifo, socket or device: no store can keep it, so it stays here, as if its name were staging.

        Raises:
            As `create`.
        """
        t = self._t
        with t.database.transaction():
            seq, inode = self._new(place, owner, now_ns=now_ns, symlink=None, rdev=rdev)
            store = t.directories.get(place.parent).store
            t.tasks.want(TaskKind.UPLOAD, inode.ino, store, seq=seq, due_ns=None, now_ns=now_ns)
            upload = t.tasks.of_inode(inode.ino, TaskKind.UPLOAD)
            assert upload is not None
            t.tasks.stage(upload.task)
        return inode

    def mkdir(self, place: Place, owner: Owner, *, now_ns: int) -> Inode:
        """Make a directory. It is opaque: what the store showed here before stays hidden."""
        t = self._t
        with t.database.transaction():
            seq, inode = self._new(place, owner, now_ns=now_ns, symlink=None)
            t.inodes.linked(place.parent, 1)
            store = t.directories.get(place.parent).store
            t.directories.insert(inode.ino, store, None, epoch=seq)
            self._wants.marker(inode.ino, seq=seq, now_ns=now_ns)
        return inode

    def begin_write(
        self,
        ino: InodeNo,
        *,
        blocks: bytes | None,
        base_size: int | None,
        now_ns: int,
        changed: bytes | None = None,
    ) -> Inode:
        """The bytes begin to change: dirty from now on, and not uploaded before `closed`.

        `blocks` is the map of what is local, `changed` of what differs from the base, while it has one.
        """
        t = self._t
        with t.database.transaction():
            inode = t.inodes.dirtied(t.inodes.get(ino), blocks=blocks, base_size=base_size, changed=changed)
            if inode.nlink:
                self._wants.instead(inode)
                store = t.directories.get(t.dentries.of_inode(ino)[0].parent).store
                seq = t.database.next_seq()
                t.tasks.want(TaskKind.UPLOAD, ino, store, seq=seq, due_ns=None, now_ns=now_ns)
        return inode

    def wrote_blocks(
        self, ino: InodeNo, *, blocks: bytes | None, base_size: int | None, changed: bytes | None = None
    ) -> None:
        """More blocks of a partly local file were made local: before the write is acknowledged."""
        t = self._t
        with t.database.transaction():
            t.inodes.update(t.inodes.get(ino), blocks=blocks, base_size=base_size, changed=changed)

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
            gone = dict.fromkeys(("base_store", "base_key", "base_etag", "base_size", "blocks", "changed"))
            t.inodes.update(inode, **gone)

    def base_instead_of(self, ino: InodeNo, lost: LowerId) -> LowerId | None:
        """`lost` is gone from the store: return where missing bytes come from now. None: from nowhere."""
        t = self._t
        inode = t.inodes.get(ino)
        if inode.base != lost:
            return inode.base  # its object was moved by us
        equal = equal_object(t, ino, lost) if inode.nlink > 1 else None
        if equal is not None:
            with t.database.transaction():
                t.inodes.update(inode, base_store=equal.store, base_key=equal.key, base_etag=equal.etag)
        return equal

    def synced(self, ino: InodeNo, held: Held, *, sums: bytes | None = None) -> None:
        """So much of a dirty file is on the disk; `sums` are of all of that generation."""
        t = self._t
        with t.database.transaction():
            t.seals.synced(ino, held)
            if sums is not None:
                t.seals.summed(ino, held.generation, sums)

    def set_attributes(self, inode: Inode, *, now_ns: int) -> None:
        """Store mode, owner, times and xattrs; the object's metadata follows, which knows neither atime nor ctime."""
        t = self._t
        with t.database.transaction():
            before = t.inodes.get(inode.ino)
            t.inodes.update(
                before,
                mode=inode.mode,
                uid=inode.uid,
                gid=inode.gid,
                atime_ns=inode.atime_ns,
                mtime_ns=inode.mtime_ns,
                ctime_ns=now_ns,
                xattrs=inode.xattrs,
            )
            travelling = (inode.mode, inode.uid, inode.gid, inode.mtime_ns)
            if travelling != (before.mode, before.uid, before.gid, before.mtime_ns):
                self._wants.attributes(inode, now_ns=now_ns)

    def set_xattrs(self, changed: Inode, *, now_ns: int) -> None:
        """Store the extended attributes, and the mode that goes with them; the object's metadata follows."""
        t = self._t
        with t.database.transaction():
            inode = t.inodes.update(
                t.inodes.get(changed.ino), xattrs=changed.xattrs, mode=changed.mode, ctime_ns=now_ns
            )
            self._wants.attributes(inode, now_ns=now_ns)
            t.requests.done()

    def unlink(self, place: Place, *, now_ns: int, keep: bool) -> Inode:
        """Remove a file's name; `keep` its inode, which is open. Returns the inode as it is now.

        Raises:
            NotFound: there is no such name. IsADirectory: that is for `rmdir`.
        """
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            dentry = self._live(place)
            inode = t.inodes.get(dentry.inode_no)
            if inode.is_dir:
                raise IsADirectory(repr(place.name))
            hides = self._departures.unname(dentry, inode, seq=seq, now_ns=now_ns)
            self._departures.vacate(place, seq, hides=hides)
            unlinked = t.inodes.unlinked(inode, now_ns, keep=keep)
            t.inodes.touched(place.parent, now_ns)
            self._wants.marker(place.parent, seq=seq, now_ns=now_ns)
            t.requests.done()
        return unlinked

    def rmdir(self, place: Place, *, now_ns: int) -> None:
        """Remove a directory which the caller knows to be empty in the store.

        Raises:
            NotFound: there is no such name. NotADirectory. DirectoryNotEmpty: it has a name here.
        """
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            dentry = self._live(place)
            self._departures.unname_directory(dentry, seq=seq, now_ns=now_ns)
            self._departures.vacate(place, seq, hides=t.tasks.has_shielded(place))
            t.inodes.touched(place.parent, now_ns)
            t.inodes.linked(place.parent, -1)
            self._wants.marker(place.parent, seq=seq, now_ns=now_ns)
            t.requests.done()

    def rename(self, old: Place, new: Place, *, now_ns: int, keep: bool) -> Inode | None:
        """Move a name, over a file or over a directory known to be empty; returns the inode replaced.

        One transaction whatever the size. `keep` the inode that is replaced: it is open.
        Raises:
            NotFound: there is no `old`. InvalidArgument: `new` is below `old`, or no store could keep it.
            IsADirectory, NotADirectory, DirectoryNotEmpty: what is at `new` cannot be replaced by this.
        """
        t = self._t
        if old == new:
            self._live(old)
            return None
        with t.database.transaction():
            seq = t.database.next_seq()
            moved = self._live(old)
            inode = t.inodes.get(moved.inode_no)
            self._check_target(inode, new)
            replaced = self._replace(new, inode, seq=seq, now_ns=now_ns, keep=keep)
            was_staging = self._was_staging(old, inode)
            self._leave(moved, inode, seq=seq, now_ns=now_ns)
            t.dentries.put(moved._replace(parent=new.parent, name=new.name, epoch=seq))
            self._departures.vacate(old, seq, hides=t.tasks.has_shielded(old))
            self._arrived(moved, inode, new, now_ns=now_ns)
            if was_staging:
                self._wants.left_staging(inode, seq=seq, now_ns=now_ns)
            self._wants.marker(old.parent, seq=seq, now_ns=now_ns)
            if inode.is_special:  # it may have replaced the last file that the store had there
                self._wants.marker(new.parent, seq=seq, now_ns=now_ns)
            if replaced is not None and replaced.is_dir:
                t.inodes.linked(new.parent, -1)
            t.requests.done()
        return replaced

    def exchange(self, one: Place, other: Place, *, now_ns: int) -> None:
        """Swap two names, whatever they are: both move in one transaction, and each hides what the other left.

        Raises:
            NotFound: one of them is not there. InvalidArgument: one is below the other, or no store could keep it.
        """
        t = self._t
        with t.database.transaction():
            seq = t.database.next_seq()
            moves = [(row, t.inodes.get(row.inode_no)) for row in (self._live(one), self._live(other))]
            if moves[0][1].ino == moves[1][1].ino:
                return
            for (_, inode), to in zip(moves, (other, one), strict=True):
                self._check_target(inode, to)
            were_staging = [inode for row, inode in moves if self._was_staging(row.place, inode)]
            for row, inode in moves:
                self._leave(row, inode, seq=seq, now_ns=now_ns)
            for (row, inode), to in zip(moves, (other, one), strict=True):
                t.dentries.put(row._replace(parent=to.parent, name=to.name, epoch=seq))
                self._arrived(row, inode, to, now_ns=now_ns)
            for inode in were_staging:
                self._wants.left_staging(inode, seq=seq, now_ns=now_ns)
            for parent in {one.parent, other.parent}:  # all that is left of one may be a fifo
                self._wants.marker(parent, seq=seq, now_ns=now_ns)
            t.requests.done()

    def reap(self, ino: InodeNo) -> None:
        """Forget an unlinked inode: nobody has it open any more."""
        with self._t.database.transaction():
            self._t.inodes.delete(ino)

    def recover(self, *, now_ns: int, still_written: Collection[InodeNo] = ()) -> None:
        """After a restart: what was being written falls due, but for what is `still_written`."""
        due_ns, latest_ns = now_ns + self._delay_ns, now_ns + self._policies.longest_delay_ns
        with self._t.database.transaction():
            self._t.tasks.recover(due_ns, latest_ns=latest_ns, still_written=still_written)

    # --- parts of the above, within their transaction ---

    def _new(
        self, place: Place, owner: Owner, *, now_ns: int, symlink: bytes | None, rdev: int = 0
    ) -> tuple[Seq, Inode]:
        t = self._t
        check_storable(place.name)
        assert stat.S_IFMT(owner.mode)
        present = t.dentries.get(*place)
        if present is not None and present.ino is not None:
            raise AlreadyExists(repr(place.name))
        seq = t.database.next_seq()
        size = len(symlink) if symlink is not None else 0
        times = (now_ns, now_ns, now_ns)
        nlink = 2 if stat.S_ISDIR(owner.mode) else 1
        fresh = (
            InodeNo(0),
            *owner[:3],
            nlink,
            size,
            *times,
            0,
            1,
            symlink,
            None,
            None,
            None,
            None,
            None,
            rdev,
            owner.xattrs,
        )
        inode = t.inodes.insert(Inode(*fresh))
        t.dentries.put(Dentry(*place, inode.ino, None, None, None, None, seq, 0))
        t.inodes.touched(place.parent, now_ns)
        t.requests.done()
        return seq, inode

    def _live(self, place: Place) -> Dentry:
        dentry = self._t.dentries.get(*place)
        if dentry is None or dentry.ino is None:
            raise NotFound(repr(place.name))
        return dentry

    def _replace(self, new: Place, by: Inode, *, seq: Seq, now_ns: int, keep: bool) -> Inode | None:
        t = self._t
        present = t.dentries.get(*new)
        if present is None or present.ino is None or present.ino == by.ino:
            return None
        inode = t.inodes.get(present.ino)
        if by.is_dir:
            self._departures.unname_directory(present, seq=seq, now_ns=now_ns)
            return inode
        if inode.is_dir:
            raise IsADirectory(repr(new.name))
        self._departures.unname(present, inode, seq=seq, now_ns=now_ns)
        return t.inodes.unlinked(inode, now_ns, keep=keep)

    def _check_target(self, inode: Inode, to: Place) -> None:
        check_storable(to.name)
        if inode.is_dir and inode.ino in (to.parent, *self._t.directories.ancestors(to.parent)):
            raise InvalidArgument("a directory cannot be moved below itself")

    def _leave(self, row: Dentry, inode: Inode, *, seq: Seq, now_ns: int) -> None:
        if inode.is_dir:
            self._moves.settle(self._departures.leave_tree(row, seq=seq, now_ns=now_ns), seq, now_ns=now_ns)
        else:
            self._departures.leave(row, seq=seq, now_ns=now_ns)

    def _arrived(self, moved: Dentry, inode: Inode, to: Place, *, now_ns: int) -> None:
        """A name moved: what the inodes of both directories say of it, and whether it is back where its object is."""
        t, old, new = self._t, moved.parent, to.parent
        t.directories.moved(inode.ino)
        t.inodes.changed(inode, now_ns)
        for parent in {old, new}:
            t.inodes.touched(parent, now_ns)
        if inode.is_dir and old != new:
            t.inodes.linked(old, -1)
            t.inodes.linked(new, 1)
        if moved.key is not None and moved.key == t.directories.home_key(to):
            self._moves.use_above(new, now_ns=now_ns)

    def _was_staging(self, place: Place, inode: Inode) -> bool:
        """Whether a name is, or is below, a staging name, some for directories only; or there may be some below it."""
        names = self._t.directories.names(place)
        if not inode.is_dir:
            return self._is_staging(names)
        return self._is_staging([*names, b""]) or self._policies.may_keep_below(names)
