"""Directories: where each reads its lower, and the way from a name up to its key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from fusecache.errors import Stale
from fusecache.namespace.database import Database
from fusecache.namespace.keys import after, component_of
from fusecache.namespace.records import Directory, Place
from fusecache.types import ROOT_INO, InodeNo, ObjectKey, Seq, StoreNo

_GET = """
    SELECT directory.ino, store, prefix, used, marker, vouched_ns, epoch,
           (SELECT parent FROM dentry WHERE dentry.ino = directory.ino),
           (SELECT name FROM dentry WHERE dentry.ino = directory.ino)
      FROM directory WHERE directory.ino = ?"""
_INSERT = "INSERT INTO directory (ino, store, prefix, used, marker, vouched_ns, epoch) VALUES (?, ?, ?, ?, 0, 0, ?)"
_OPEN = "UPDATE directory SET prefix = ?, vouched_ns = ?, epoch = ? WHERE ino = ?"
_WAITING = """
    SELECT directory.ino FROM dentry JOIN directory ON directory.ino = dentry.ino
     WHERE dentry.parent = ? AND prefix IS NULL AND used"""
_UNDER_PREFIX = "SELECT ino FROM directory WHERE store = ? AND prefix >= ? AND prefix < ?"
_REDIRECT = "UPDATE directory SET prefix = ? || substr(prefix, ?), epoch = ? WHERE ino = ?"

_CACHED = 50_000


class Directories:
    """The table `directory`, with the rows in memory. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._db = database.connection
        self._cache: dict[InodeNo, Directory] = {}
        database.on_rollback(self._cache.clear)

    def get(self, ino: InodeNo) -> Directory:
        """Return the directory; the root, and one that was removed, have parent 0.

        Raises:
            Stale: there is no directory of that number.
        """
        directory = self.find(ino)
        if directory is None:
            raise Stale(f"no directory {ino}")
        return directory

    def find(self, ino: InodeNo) -> Directory | None:
        """Like `get`, with None for what is no directory."""
        directory = self._cache.get(ino)
        if directory is None:
            row = self._db.execute(_GET, (ino,)).fetchone()
            if row is None:
                return None
            *columns, parent, name = row
            directory = Directory._make((*columns, parent or InodeNo(0), name or b""))
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[ino] = directory
        return directory

    def insert(self, ino: InodeNo, store: StoreNo, prefix: str | None, *, epoch: Seq) -> None:
        """A new directory, and where it reads its lower; no listing from before `epoch` counts."""
        self._db.execute(_INSERT, (ino, store, prefix, prefix is not None, epoch))

    def delete(self, ino: InodeNo) -> None:
        self._cache.pop(ino, None)
        self._db.execute("DELETE FROM directory WHERE ino = ?", (ino,))

    def moved(self, ino: InodeNo) -> None:
        """The directory got another name."""
        self._cache.pop(ino, None)

    def marked(self, ino: InodeNo, marker: int) -> None:
        """The store has, or no longer has, the key `dir/`."""
        self._cache.pop(ino, None)
        self._db.execute("UPDATE directory SET marker = ? WHERE ino = ?", (marker, ino))

    def use(self, ino: InodeNo) -> None:
        """Something below its own path may come to exist in the store."""
        self._cache.pop(ino, None)
        self._db.execute("UPDATE directory SET used = 1 WHERE ino = ?", (ino,))

    def open(self, ino: InodeNo, prefix: str, *, now_ns: int) -> None:
        """Read the lower at `prefix` from now on; until now the rows were all there was."""
        self._cache.pop(ino, None)
        self._db.execute(_OPEN, (prefix, now_ns, self._database.next_seq(), ino))

    def waiting_in(self, parent: InodeNo) -> list[InodeNo]:
        """The directories in `parent` that are opaque and need not be, but for those above."""
        return [ino for (ino,) in self._db.execute(_WAITING, (parent,))]

    def reading(self, store: StoreNo, prefixes: Sequence[str]) -> list[InodeNo]:
        """The directories that read exactly one of these prefixes."""
        marks = ", ".join("?" * len(prefixes))
        rows = self._db.execute(
            f"SELECT ino FROM directory WHERE store = ? AND prefix IN ({marks})", (store, *prefixes)
        )
        return [ino for (ino,) in rows]

    def redirect(self, root: InodeNo, source: str, target: str, *, but: Set[InodeNo]) -> None:
        """`root` and what is below it, except for the trees `but`, read `target` instead of `source`.

        As it is now, with what was copied there.
        """
        epoch = self._database.next_seq()
        store = self.get(root).store
        rows = self._db.execute(_UNDER_PREFIX, (store, source, after(source))).fetchall()
        for (ino,) in rows:
            chain = [ino, *self.ancestors(ino)]
            if root in chain and but.isdisjoint(chain[: chain.index(root)]):
                self._cache.pop(ino, None)
                self._db.execute(_REDIRECT, (target, len(source) + 1, epoch, ino))

    def ancestors(self, ino: InodeNo) -> Iterator[InodeNo]:
        """The directories above `ino`, nearest first, the root last."""
        while ino != ROOT_INO:
            ino = self.get(ino).parent
            if not ino:  # removed: nothing is above it
                return
            yield ino

    def names(self, place: Place) -> list[bytes]:
        """The path of a place from the root, a name a component."""
        names = [place.name]
        ino = place.parent
        while ino != ROOT_INO:
            directory = self.get(ino)
            if not directory.parent:
                raise Stale(f"directory {ino} was removed")
            names.append(directory.name)
            ino = directory.parent
        names.reverse()
        return names

    def home_key(self, place: Place) -> ObjectKey:
        """The key that belongs to a place: its path.

        Raises:
            Stale: a directory above it was removed.
        """
        return ObjectKey("/".join(component_of(name) for name in self.names(place)))

    def home_prefix(self, ino: InodeNo) -> str:
        """The prefix that belongs to a directory: its path and a slash; '' for the root."""
        if ino == ROOT_INO:
            return ""
        directory = self.get(ino)
        return self.home_key(Place(directory.parent, directory.name)) + "/"
