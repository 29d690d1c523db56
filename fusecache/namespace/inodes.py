"""Inodes: numbers, attributes and the version that missing bytes come from."""

from __future__ import annotations

from typing import Any

from fusecache.errors import Stale
from fusecache.namespace.database import Database
from fusecache.namespace.records import Inode
from fusecache.types import InodeNo, LowerId

_GET = f"SELECT {', '.join(Inode._fields)} FROM inode WHERE ino = ?"
_INSERT = f"INSERT INTO inode ({', '.join(Inode._fields)}) VALUES ({', '.join('?' * len(Inode._fields))})"
_WRITTEN = """
    UPDATE inode SET size = ?, mtime_ns = ?, ctime_ns = ?, mode = ?, base_size = ?, blocks = ?,
           changed = ? WHERE ino = ?"""
_DIRTIED = """
    UPDATE inode SET generation = generation + 1,
           blocks = ?, changed = ?, base_size = ?, base_store = ?, base_key = ?, base_etag = ? WHERE ino = ?"""
_TOUCHED = "UPDATE inode SET mtime_ns = ?, ctime_ns = ? WHERE ino = ?"
_LINKED = "UPDATE inode SET nlink = max(1, nlink + ?) WHERE ino = ?"
_CHANGED = "UPDATE inode SET ctime_ns = ? WHERE ino = ?"
_BASE = """
    UPDATE inode SET base_store = ?, base_key = ?, base_etag = ?, base_size = ?, blocks = NULL, changed = NULL
     WHERE ino = ?"""
_ORPHANS = "SELECT ino FROM inode WHERE nlink = 0"

_CACHED = 20_000
"""How many inodes are kept as objects, ~ 0.7 KiB each: the hot set, not the tree."""


class Inodes:
    """The table `inode`, with the hot rows in memory. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._database = database
        self._cache: dict[InodeNo, Inode] = {}
        database.on_rollback(self._cache.clear)

    def get(self, ino: InodeNo) -> Inode:
        """Return the inode.

        Raises:
            Stale: there is none of that number (any more).
        """
        inode = self._cache.get(ino)
        if inode is None:
            row = self._db.execute(_GET, (ino,)).fetchone()
            if row is None:
                raise Stale(f"no inode {ino}")
            inode = self._keep(Inode._make(row))
        return inode

    def insert(self, inode: Inode) -> Inode:
        """Insert a new inode, whatever number it carries, and return it with the one it got."""
        numbered = Inode(InodeNo(self._database.next_seq()), *inode[1:])
        self._db.execute(_INSERT, numbered)
        return self._keep(numbered)

    def written(self, inode: Inode) -> None:
        """Store what a write or truncate changed: size, times, mode (set-id bits), local blocks.

        The rest of `inode` may be older than the row: it is a writer's copy.
        """
        _, mode, _, _, _, size, _, mtime_ns, ctime_ns, *_ = inode
        base_size, blocks = inode.base_size, inode.blocks
        changed = inode.changed
        self._db.execute(_WRITTEN, (size, mtime_ns, ctime_ns, mode, base_size, blocks, changed, inode.ino))
        self._keep(
            self.get(inode.ino)._replace(
                size=size,
                mtime_ns=mtime_ns,
                ctime_ns=ctime_ns,
                mode=mode,
                base_size=base_size,
                blocks=blocks,
                changed=changed,
            )
        )

    def dirtied(
        self, inode: Inode, *, blocks: bytes | None, base_size: int | None, changed: bytes | None = None
    ) -> Inode:
        """Begin a new generation of the inode's bytes; `base_size` None: nothing of its base counts any more."""
        dirty = inode._replace(generation=inode.generation + 1, blocks=blocks, changed=changed, base_size=base_size)
        if base_size is None:
            dirty = dirty._replace(base_store=None, base_key=None, base_etag=None)
        base = (dirty.base_store, dirty.base_key, dirty.base_etag)
        self._db.execute(_DIRTIED, (blocks, changed, base_size, *base, inode.ino))
        return self._keep(dirty)

    def touched(self, ino: InodeNo, now_ns: int) -> None:
        """A name in this directory changed."""
        self._db.execute(_TOUCHED, (now_ns, now_ns, ino))
        if (inode := self._cache.get(ino)) is not None:
            self._keep(inode._replace(mtime_ns=now_ns, ctime_ns=now_ns))

    def linked(self, ino: InodeNo, count: int) -> None:
        """So many more subdirectories are in this directory, or fewer; of those of the store nobody keeps count."""
        self._db.execute(_LINKED, (count, ino))
        if (inode := self._cache.get(ino)) is not None:
            self._keep(inode._replace(nlink=max(1, inode.nlink + count)))

    def changed(self, inode: Inode, now_ns: int) -> None:
        """Its name changed."""
        self._db.execute(_CHANGED, (now_ns, inode.ino))
        self._keep(self.get(inode.ino)._replace(ctime_ns=now_ns))

    def update(self, inode: Inode, **columns: Any) -> Inode:
        """Set some columns; what else `inode` says may be older than the row."""
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE inode SET {assignments} WHERE ino = ?", (*columns.values(), inode.ino))
        return self._keep(self.get(inode.ino)._replace(**columns))

    def rebased(self, inode: Inode, lower: LowerId, *, clean: bool) -> Inode:
        """The inode's bytes are now `lower`'s. Not `clean`: they changed since; what is missing of them is there."""
        if not clean:
            return self.follow(inode.ino, lower) or inode
        self._db.execute(_BASE, (*lower, inode.size, inode.ino))
        store, key, etag = lower
        return self._keep(
            inode._replace(
                base_store=store, base_key=key, base_etag=etag, base_size=inode.size, blocks=None, changed=None
            )
        )

    def follow(self, ino: InodeNo, lower: LowerId, *, lost: LowerId | None = None) -> Inode | None:
        """If bytes of the inode are missing, they come from `lower` now; if `lost` is named, only those from there."""
        if self._db.execute("SELECT 1 FROM inode WHERE ino = ?", (ino,)).fetchone() is None:
            return None
        inode = self.get(ino)
        if inode.base is None or inode.base != (lost or inode.base):
            return None
        return self.update(inode, base_store=lower.store, base_key=lower.key, base_etag=lower.etag)

    def unlinked(self, inode: Inode, now_ns: int, *, keep: bool) -> Inode:
        """It lost a name: return it as it is now. After the last one it is deleted unless `keep`."""
        if inode.nlink > 1 and not inode.is_dir:
            return self.update(inode, nlink=inode.nlink - 1, ctime_ns=now_ns)
        if keep:
            return self.update(inode, nlink=0, ctime_ns=now_ns)
        self.delete(inode.ino)
        return inode._replace(nlink=0, ctime_ns=now_ns)

    def delete(self, ino: InodeNo) -> None:
        self._cache.pop(ino, None)
        self._db.execute("DELETE FROM inode WHERE ino = ?", (ino,))

    def orphans(self) -> list[InodeNo]:
        """Unlinked inodes: after a restart nobody has them open any more."""
        return [row[0] for row in self._db.execute(_ORPHANS)]

    def _keep(self, inode: Inode) -> Inode:
        if len(self._cache) >= _CACHED and inode.ino not in self._cache:
            del self._cache[next(iter(self._cache))]
        self._cache[inode.ino] = inode
        return inode
