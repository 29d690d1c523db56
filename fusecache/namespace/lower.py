"""What the lower shows, merged with the rows: foreign objects become names, and stop being names.

Rows win over a listing or HEAD wherever they know better: a name that is dirty, being moved or
hidden, and a name whose object we changed after the request began (`epoch`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fusecache.namespace.keys import component_of
from fusecache.namespace.records import Dentry, Directory, Inode, Place
from fusecache.namespace.tables import Tables
from fusecache.namespace.xattrs import row_of
from fusecache.types import Attributes, ETag, InodeNo, LowerId, ObjectKey, Seq, StoreNo


@dataclass(frozen=True, slots=True)
class LowerObject:
    """A key as a listing or HEAD showed it; `attributes` only from a HEAD."""

    key: ObjectKey
    size: int
    etag: ETag
    mtime_ns: int
    attributes: Attributes | None = None


@dataclass(frozen=True, slots=True)
class LowerPrefix:
    """A directory of the lower: there are keys below `prefix`, which ends in a slash."""

    prefix: str


Evidence = LowerObject | LowerPrefix | None
"""What the lower has under a name; None: nothing."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Attributes of what carries none: foreign objects and directories."""

    uid: int
    gid: int
    file_mode: int
    dir_mode: int


class Lost(NamedTuple):
    """A name that the store has taken away, or given to another version."""

    place: Place
    ino: InodeNo
    is_last: bool
    """The inode has no other name: its version is no more."""


class Lower:
    """Takes evidence from the store into the rows."""

    def __init__(self, tables: Tables, defaults: Defaults) -> None:
        self._t = tables
        self._defaults = defaults
        self._lost: list[Lost] = []

    def is_ours(self, dentry: Dentry, directory: Directory) -> bool:
        """The row alone decides: no evidence from the store counts for this name now."""
        if dentry.ino is None:
            return not dentry.settled
        own = self._t.directories.find(dentry.ino)
        reads = dentry.key if own is None else own.prefix
        if reads is None:
            return True  # nothing of it was ever in the store
        if self._t.tasks.all_of_inode(dentry.ino):
            return True
        # Else it may not be where this directory's listing would show it.
        shown = f"{directory.prefix}{component_of(dentry.name)}"
        return directory.prefix is not None and reads != (shown if own is None else f"{shown}/")

    def merge(self, parent: InodeNo, found: Iterable[tuple[bytes, Evidence]], *, epoch: Seq) -> list[Dentry | None]:
        """Bring the rows of some names up to date with evidence that a request begun at `epoch` gave.

        Returns for each name its row, or None where there is nothing. One transaction if anything changed.
        """
        directory = self._t.directories.get(parent)
        plan = [(name, evidence, self._t.dentries.get(parent, name)) for name, evidence in found]
        if not any(self._differs(row, evidence, directory, epoch) for _, evidence, row in plan):
            return [row if row is not None and row.ino is not None else None for _, _, row in plan]
        lost_before = len(self._lost)
        try:
            with self._t.database.transaction():
                return [self._take(directory, name, row, evidence, epoch) for name, evidence, row in plan]
        except BaseException:
            del self._lost[lost_before:]  # they lead where they did
            raise

    def take_lost(self) -> list[Lost]:
        """Return, once, the names that do not lead any more where they did; a directory before what was below it."""
        lost, self._lost = self._lost, []
        return lost

    def headed(self, inode: Inode, attributes: Attributes | None) -> Inode:
        """A HEAD of this version was made: keep what it told."""
        with self._t.database.transaction():
            if attributes is None:
                return self._t.inodes.update(inode, headed=1)
            symlink = attributes.symlink_target
            return self._t.inodes.update(
                inode,
                headed=1,
                mode=attributes.mode,
                uid=attributes.uid,
                gid=attributes.gid,
                mtime_ns=attributes.mtime_ns,
                ctime_ns=attributes.mtime_ns,
                symlink=symlink,
                size=len(symlink) if symlink is not None else inode.size,
                xattrs=row_of(attributes.xattrs),
            )

    def marker_seen(self, ino: InodeNo) -> None:
        """A listing showed the key `dir/`."""
        if not self._t.directories.get(ino).marker:
            with self._t.database.transaction():
                self._t.directories.marked(ino, 1)

    def forget_whiteouts(self, whiteouts: Sequence[Dentry], *, epoch: Seq) -> None:
        """A listing that began at `epoch` is the oldest about: what was settled before needs no row any more."""
        over = [row for row in whiteouts if row.settled and row.epoch <= epoch]
        if over:
            with self._t.database.transaction():
                for row in over:
                    self._t.dentries.delete(row.place)

    # --- within the transaction of `merge` ---

    def _differs(self, row: Dentry | None, evidence: Evidence, directory: Directory, epoch: Seq) -> bool:
        if row is None:
            return evidence is not None
        if row.epoch > epoch:
            return False
        if isinstance(evidence, LowerObject) and row.etag == evidence.etag and row.key == evidence.key:
            return False  # the most frequent answer, without a query
        if self.is_ours(row, directory):
            return False
        if row.ino is None:
            return evidence is not None  # a settled whiteout, which something newer replaces
        if isinstance(evidence, LowerPrefix):
            return self._t.directories.find(row.ino) is None
        return True

    def _take(
        self, directory: Directory, name: bytes, row: Dentry | None, evidence: Evidence, epoch: Seq
    ) -> Dentry | None:
        if row is not None and not self._differs(row, evidence, directory, epoch):
            return row if row.ino is not None else None
        place = Place(directory.ino, name)
        if row is not None and row.ino is not None:
            if not self._drop(row, epoch):
                return row
        elif row is not None:
            self._t.dentries.delete(place)
        if evidence is None:
            self._t.dentries.whiteout(place, epoch, settled=True)  # an older listing may still show it
            return None
        if isinstance(evidence, LowerPrefix):
            return self._add_directory(directory, place, evidence, epoch)
        return self._add_file(directory, place, evidence, epoch)

    def _drop(self, row: Dentry, epoch: Seq) -> bool:
        """Forget a name that the store changed; False if something below it is ours, or newer than `epoch`."""
        t = self._t
        assert row.ino is not None
        if t.directories.find(row.ino) is None:
            t.dentries.delete(row.place)
            self._lose_name(row)
            return True
        below = t.dentries.below(row.ino)
        if any(child.epoch > epoch or self.is_ours(child, t.directories.get(child.parent)) for child in below):
            return False
        for child in [row, *below]:
            t.dentries.delete(child.place)
            if child.ino is not None:
                t.directories.delete(child.ino)
                self._lose_name(child)
        return True

    def _lose_name(self, row: Dentry) -> None:
        """Its inode is the old version: kept for who has it open, and for other names, whose objects stay."""
        t = self._t
        inode = t.inodes.get(row.inode_no)
        left = t.dentries.of_inode(inode.ino) if inode.nlink > 1 and not inode.is_dir else []
        inode = t.inodes.update(inode, nlink=len(left))
        self._lost.append(Lost(row.place, inode.ino, not left))
        if left and inode.base == row.lower:
            equal = next((each for each in left if each.generation == row.generation), left[0])
            t.inodes.update(inode, base_store=equal.store, base_key=equal.key, base_etag=equal.etag)

    def _add_directory(self, directory: Directory, place: Place, found: LowerPrefix, epoch: Seq) -> Dentry:
        t, d = self._t, self._defaults
        now = t.inodes.get(directory.ino).mtime_ns
        inode = t.inodes.insert(_fresh(stat.S_IFDIR | d.dir_mode, d.uid, d.gid, size=0, mtime_ns=now, lower=None))
        dentry = Dentry(*place, inode.ino, None, None, None, None, epoch, 0)
        t.dentries.put(dentry)
        t.directories.insert(inode.ino, directory.store, found.prefix, epoch=epoch)
        return dentry

    def _add_file(self, directory: Directory, place: Place, found: LowerObject, epoch: Seq) -> Dentry:
        t, d, a = self._t, self._defaults, found.attributes
        store, key, etag = lower = LowerId(directory.store, found.key, found.etag)
        mode, uid, gid = (a.mode, a.uid, a.gid) if a is not None else (stat.S_IFREG | d.file_mode, d.uid, d.gid)
        mtime_ns = a.mtime_ns if a is not None else found.mtime_ns
        fresh = _fresh(mode, uid, gid, size=found.size, mtime_ns=mtime_ns, lower=lower)
        if a is not None:
            target = a.symlink_target
            size = len(target) if target is not None else found.size
            fresh = fresh._replace(headed=1, symlink=target, size=size, xattrs=row_of(a.xattrs))
        inode = t.inodes.insert(fresh)
        dentry = Dentry(*place, inode.ino, store, key, etag, inode.generation, epoch, 0)
        t.dentries.put(dentry)
        return dentry


def _fresh(mode: int, uid: int, gid: int, *, size: int, mtime_ns: int, lower: LowerId | None) -> Inode:
    store: StoreNo | None
    store, key, etag = lower if lower is not None else (None, None, None)
    times = (mtime_ns, mtime_ns, mtime_ns)
    base_size = size if lower is not None else None
    return Inode(InodeNo(0), mode, uid, gid, 1, size, *times, 0, 0, None, store, key, etag, base_size, None)
