"""Names: what is where, and which object in the store is behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fusecache.namespace.database import Database
from fusecache.namespace.keys import after
from fusecache.namespace.records import Dentry, Place
from fusecache.types import InodeNo, LowerId, ObjectKey, Seq, StoreNo

_COLUMNS = ", ".join(Dentry._fields)
_GET = f"SELECT {_COLUMNS} FROM dentry WHERE parent = ? AND name = ?"
_OF_INODE = f"SELECT {_COLUMNS} FROM dentry WHERE ino = ?"
_PUT = f"INSERT OR REPLACE INTO dentry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHILDREN = f"SELECT {_COLUMNS} FROM dentry WHERE parent = ? AND name > ? ORDER BY name LIMIT ?"
_NAMES = "SELECT name FROM dentry WHERE parent = ? AND name > ? AND ino IS NOT NULL ORDER BY name LIMIT ?"
_RANGE = f"SELECT {_COLUMNS} FROM dentry WHERE parent = ? AND name BETWEEN ? AND ? ORDER BY name LIMIT ?"
_MODES = """
    SELECT name, found.ino, mode
      FROM (SELECT name, ino FROM dentry WHERE parent = ? AND name BETWEEN ? AND ? ORDER BY name LIMIT ?) AS found
      LEFT JOIN inode ON inode.ino = found.ino"""
_OF_ONE = "SELECT name, dentry.ino, mode FROM dentry JOIN inode ON inode.ino = dentry.ino WHERE parent = ? AND name = ?"
_LIVE = "SELECT 1 FROM dentry WHERE parent = ? AND ino IS NOT NULL LIMIT 1"
# Only a fifo, a socket or a device no store can keep.
_STORABLE = """
    SELECT 1 FROM dentry JOIN inode ON inode.ino = dentry.ino
     WHERE parent = ? AND mode & 61440 IN (16384, 32768, 40960) LIMIT 1"""
_READERS = f"SELECT {_COLUMNS} FROM dentry WHERE store = ? AND key = ? AND ino IS NOT NULL"
_READERS_BELOW = f"SELECT {_COLUMNS} FROM dentry WHERE store = ? AND key > ? AND key < ? AND ino IS NOT NULL"
_OF_KEYS = "store = ? AND key >= ? AND key < ?"
_SETTLE = "UPDATE dentry SET settled = 1, epoch = ? WHERE parent = ? AND name = ? AND ino IS NULL"
_ABOVE_ALL = "\U0010ffff"
# Every name below a directory, as far as there are rows.
_BELOW = f"""
    WITH RECURSIVE below (ino) AS (
        SELECT :ino
        UNION ALL
        SELECT dentry.ino FROM dentry JOIN below ON dentry.parent = below.ino
        JOIN directory ON directory.ino = dentry.ino)
    SELECT {", ".join("dentry." + column for column in Dentry._fields)}
      FROM dentry JOIN below ON dentry.parent = below.ino"""


_KNOWN = 20_000
"""Names that are kept as objects, ~ 0.4 KiB each, those that are not there, too: the hot set, not the tree."""


class Dentries:
    """The table `dentry`. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._known: dict[tuple[InodeNo, bytes], Dentry | None] = {}
        """What the rows say; None: there is none. Whatever changes a row is below, and sees to it."""
        database.on_rollback(self._known.clear)
        self._changed: Callable[[InodeNo], None] = _nobody

    def on_change(self, changed: Callable[[InodeNo], None]) -> None:
        """Have somebody told of each directory whose names lead elsewhere than before, or may do so."""
        self._changed = changed

    def get(self, parent: InodeNo, name: bytes) -> Dentry | None:
        """Return the row, live or whiteout. Only for a name that nobody has asked for lately is it a query."""
        key = (parent, name)
        if key in self._known:
            return self._known[key]
        found = self._db.execute(_GET, key).fetchone()
        return self._keep(key, None if found is None else Dentry._make(found))

    def of_inode(self, ino: InodeNo) -> list[Dentry]:
        """All names of an inode; a directory has one, the root none."""
        return [Dentry._make(row) for row in self._db.execute(_OF_INODE, (ino,))]

    def put(self, dentry: Dentry) -> None:
        """Insert the row, or replace the one of that name."""
        self._db.execute(_PUT, dentry)
        self._keep(dentry[:2], dentry)
        self._changed(dentry.parent)

    def whiteout(self, place: Place, epoch: Seq, *, settled: bool) -> None:
        """Hide whatever the lower shows under this name; `settled`: only what it showed before `epoch`."""
        self.put(Dentry(*place, None, None, None, None, None, epoch, int(settled)))

    def delete(self, place: Place) -> None:
        self._db.execute("DELETE FROM dentry WHERE parent = ? AND name = ?", place)
        self._keep((place.parent, place.name), None)
        self._changed(place.parent)

    def delete_below(self, parent: InodeNo) -> None:
        """Drop the whiteouts of a directory that is removed."""
        self._db.execute("DELETE FROM dentry WHERE parent = ?", (parent,))
        self._known.clear()
        self._changed(parent)

    def settle(self, place: Place, epoch: Seq) -> None:
        """Nothing is left to hide: newer listings count again, older ones still don't."""
        self._db.execute(_SETTLE, (epoch, *place))
        self._known.pop((place.parent, place.name), None)

    def stamp(self, place: Place, epoch: Seq) -> None:
        """Evidence from before `epoch` does not count for this name."""
        self._db.execute("UPDATE dentry SET epoch = ? WHERE parent = ? AND name = ?", (epoch, *place))
        self._known.pop((place.parent, place.name), None)

    def identify(self, dentry: Dentry, lower: LowerId, *, generation: int, epoch: Seq) -> Dentry:
        """The object of this name is now `lower`."""
        store, key, etag = lower
        identified = dentry._replace(store=store, key=key, etag=etag, generation=generation, epoch=epoch)
        self._db.execute(_PUT, identified)
        self._keep(identified[:2], identified)
        return identified

    def children(self, parent: InodeNo, *, after: bytes, count: int) -> list[Dentry]:
        """Up to `count` rows with names above `after`, bytewise ordered, whiteouts included."""
        return [Dentry._make(row) for row in self._db.execute(_CHILDREN, (parent, after, count))]

    def names(self, parent: InodeNo, *, after: bytes, count: int) -> list[bytes]:
        """Up to `count` live names above `after`, bytewise ordered."""
        return [name for (name,) in self._db.execute(_NAMES, (parent, after, count)).fetchall()]

    def among(self, parent: InodeNo, names: Sequence[bytes]) -> dict[bytes, Dentry]:
        """Return the live rows of those of `names` that have one. Cheap if these are neighbours in the directory."""
        rows, is_all = self._between(_RANGE, parent, names)
        found = {row[1]: Dentry._make(row) for row in rows}
        given = ((name, found.get(name) if is_all else self.get(parent, name)) for name in names)
        return {name: row for name, row in given if row is not None and row.ino is not None}

    def modes(self, parent: InodeNo, names: list[bytes]) -> list[tuple[bytes, InodeNo | None, int]]:
        """Return each of `names`, in their order, with inode number and mode; None for what leads to none.

        Cheap if these are neighbours in the directory, in bytewise order.
        """
        rows, is_all = self._between(_MODES, parent, names)
        if [row[0] for row in rows] == names:
            return rows
        if not is_all:
            rows = [row for name in names for row in self._db.execute(_OF_ONE, (parent, name))]
        found = {row[0]: row for row in rows}
        return [found.get(name, (name, None, 0)) for name in names]

    def _between(self, statement: str, parent: InodeNo, names: Sequence[bytes]) -> tuple[list[Any], bool]:
        """Return rows from the first of `names` to the last, and whether these are all; about twice as many at most."""
        most = 2 * len(names)
        rows = self._db.execute(statement, (parent, min(names), max(names), most)).fetchall()
        return rows, len(rows) < most

    def has_live(self, parent: InodeNo) -> bool:
        return self._db.execute(_LIVE, (parent,)).fetchone() is not None

    def has_storable(self, parent: InodeNo) -> bool:
        """Whether there is a name that is, or will be, more than ours alone."""
        return self._db.execute(_STORABLE, (parent,)).fetchone() is not None

    def readers(self, store: StoreNo, key: ObjectKey) -> list[Dentry]:
        """Live names whose object is at `key`."""
        return [Dentry._make(row) for row in self._db.execute(_READERS, (store, key))]

    def readers_below(self, store: StoreNo, prefix: str) -> list[Dentry]:
        """Live names whose object is below `prefix`."""
        bounds = (store, prefix, after(prefix))
        return [Dentry._make(row) for row in self._db.execute(_READERS_BELOW, bounds)]

    def keys_from(self, store: StoreNo, prefixes: Sequence[str], *, count: int) -> list[ObjectKey]:
        """Up to `count` keys that begin with one of these prefixes, and that live names read."""
        where = " OR ".join([_OF_KEYS] * len(prefixes)) or "0"
        bounds = [value for prefix in prefixes for value in (store, prefix, after(prefix) if prefix else _ABOVE_ALL)]
        rows = self._db.execute(f"SELECT key FROM dentry WHERE ino IS NOT NULL AND ({where}) LIMIT ?", (*bounds, count))
        return [key for (key,) in rows]

    def below(self, ino: InodeNo) -> list[Dentry]:
        """Every row below a directory, whiteouts included; those of its known subdirectories too."""
        return [Dentry._make(row) for row in self._db.execute(_BELOW, {"ino": ino})]

    def _keep(self, key: tuple[InodeNo, bytes], row: Dentry | None) -> Dentry | None:
        if len(self._known) >= _KNOWN and key not in self._known:
            del self._known[next(iter(self._known))]
        self._known[key] = row
        return row


def _nobody(parent: InodeNo) -> None:
    """Nobody wants to know."""
