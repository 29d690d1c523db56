"""The rows of the namespace as frozen values, in the order of their columns."""

from __future__ import annotations

import stat
from enum import IntEnum
from typing import NamedTuple

from fusecache.types import ETag, InodeNo, LowerId, ObjectKey, Seq, StoreNo


class Inode(NamedTuple):
    """A row of `inode`."""

    ino: InodeNo
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    generation: int
    headed: int
    symlink: bytes | None
    base_store: StoreNo | None
    base_key: ObjectKey | None
    base_etag: ETag | None
    base_size: int | None
    blocks: bytes | None
    rdev: int = 0
    xattrs: bytes | None = None
    changed: bytes | None = None

    @property
    def is_special(self) -> bool:
        """Fifo, socket or device: no store can keep it."""
        return stat.S_IFMT(self.mode) not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def base(self) -> LowerId | None:
        """The version that its missing blocks come from."""
        if self.base_store is None or self.base_key is None or self.base_etag is None:
            return None
        return LowerId(self.base_store, self.base_key, self.base_etag)


class Dentry(NamedTuple):
    """A row of `dentry`: a name, or a whiteout."""

    parent: InodeNo
    name: bytes
    ino: InodeNo | None
    store: StoreNo | None
    key: ObjectKey | None
    etag: ETag | None
    generation: int | None
    epoch: Seq
    settled: int

    @property
    def place(self) -> Place:
        return Place(self.parent, self.name)

    @property
    def inode_no(self) -> InodeNo:
        """Of a live name; a whiteout has none."""
        assert self.ino is not None
        return self.ino

    @property
    def lower(self) -> LowerId | None:
        if self.store is None or self.key is None or self.etag is None:
            return None
        return LowerId(self.store, self.key, self.etag)


class Directory(NamedTuple):
    """A row of `directory`, with its own name."""

    ino: InodeNo
    store: StoreNo
    prefix: str | None
    used: int
    marker: int
    vouched_ns: int
    epoch: Seq
    parent: InodeNo
    name: bytes


class Owner(NamedTuple):
    """Who makes a new file, and with which st_mode."""

    mode: int
    uid: int
    gid: int
    umask: int = 0
    """What of the mode does not count, unless its directory says what it inherits."""
    xattrs: bytes | None = None


class Place(NamedTuple):
    """A name in a directory, whatever is there."""

    parent: InodeNo
    name: bytes


class TaskKind(IntEnum):
    """What is to be done in the store."""

    UPLOAD = 1
    COPY = 2
    """Server-side copy of one object to where its name is; onto itself when only attributes changed."""
    RELOCATE = 3
    """The same for the whole prefix of a renamed directory."""
    MARKER = 4
    """Look whether an empty directory needs its key `dir/`."""
    DELETE = 5
    ADOPT = 6
    """A subtree came out of staging: make its parked tasks due."""


class Stuck(IntEnum):
    """Why a task needs somebody to act."""

    NO = 0
    REFUSED = 1
    """The store refused for good."""
    GONE = 2
    """The version that it has to read is gone, and not all of it is local."""


class Task(NamedTuple):
    """A row of `task`."""

    task: int
    kind: int
    ino: InodeNo | None
    store: StoreNo
    key: ObjectKey | None
    source: str | None
    etag: ETag | None
    unsure: int
    attributes: int
    position: str | None
    generation: int
    seq: Seq
    since_seq: Seq
    due_ns: int | None
    since_ns: int
    staged: int
    stuck: int
    attempts: int
    error: str | None
    shield_parent: InodeNo | None
    shield_name: bytes | None
    target_parent: InodeNo | None
    target_name: bytes | None

    @property
    def inode_no(self) -> InodeNo:
        """Of anything but a delete."""
        assert self.ino is not None
        return self.ino

    @property
    def shield(self) -> Place | None:
        if self.shield_parent is None or self.shield_name is None:
            return None
        return Place(self.shield_parent, self.shield_name)

    @property
    def target(self) -> Place | None:
        if self.target_parent is None or self.target_name is None:
            return None
        return Place(self.target_parent, self.target_name)


class Removal(NamedTuple):
    """Of a row of `task` that is a delete: what does not change."""

    task: int
    store: StoreNo
    key: ObjectKey
    since_seq: Seq
    since_ns: int
