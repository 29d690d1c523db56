"""Which local bytes can be believed after a power loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fusecache.namespace.database import Database
from fusecache.types import ETag, InodeNo

_GET = """
    SELECT generation, digest, synced_generation, synced_size, synced_blocks, synced_base_size, synced_token,
           good_size, good_etag
      FROM seal WHERE ino = ?"""
# Only while there is an upload: a file that is in the store, or has no name, needs no seal.
_SUMMED = """
    INSERT INTO seal (ino, generation, digest) SELECT :ino, :generation, :digest
     WHERE EXISTS (SELECT 1 FROM task WHERE ino = :ino AND kind = 1)
    ON CONFLICT (ino) DO UPDATE SET generation = excluded.generation, digest = excluded.digest"""
_SYNCED = """
    INSERT INTO seal (ino, synced_generation, synced_size, synced_blocks, synced_base_size, synced_token)
    SELECT :ino, :generation, :size, :blocks, :base_size, :token
     WHERE EXISTS (SELECT 1 FROM task WHERE ino = :ino AND kind = 1)
    ON CONFLICT (ino) DO UPDATE SET synced_generation = excluded.synced_generation,
        synced_size = excluded.synced_size, synced_blocks = excluded.synced_blocks,
        synced_base_size = excluded.synced_base_size, synced_token = excluded.synced_token"""
_CARRIED = """
    INSERT OR REPLACE INTO carried SELECT :ino, :bytes WHERE EXISTS (SELECT 1 FROM seal WHERE ino = :ino)"""
_DIRTY = "SELECT ino FROM task WHERE kind = 1 ORDER BY ino"
# As after a crash: of what was open nobody has the hash, and the list of what was to be synced is gone.
_UNSYNCED = """
    SELECT task.ino, CASE WHEN seal.generation = inode.generation THEN digest END
      FROM task JOIN inode ON inode.ino = task.ino LEFT JOIN seal ON seal.ino = task.ino
     WHERE task.kind = 1 AND inode.mode & 61440 = 32768 AND synced_generation IS NOT inode.generation
       AND NOT (seal.generation IS inode.generation AND digest IS NOT NULL
                AND length(digest) = 8 AND digest <> zeroblob(8))"""
_KEPT = """
    SELECT ino, synced_token FROM seal
     WHERE synced_token IS NOT NULL AND EXISTS (SELECT 1 FROM task WHERE task.ino = seal.ino AND kind = 1)"""
_DOOMED = "SELECT ino, token FROM doomed LIMIT ?"
_SWEPT = "DELETE FROM doomed WHERE ino = ? AND token = ?"


class Held(NamedTuple):
    """What of a file is on the disk, or is with the commit that says so."""

    generation: int
    """All of this generation's bytes; -1: what was written meanwhile is not."""
    size: int
    blocks: bytes | None
    """Of a partly local file: these blocks; None: all."""
    base_size: int | None
    carried: bytes | None = None
    """All bytes, of a file whose content need not be on the disk."""


class Seal(NamedTuple):
    """A row of `seal`."""

    generation: int | None
    digest: bytes | None
    synced_generation: int | None
    synced_size: int | None
    synced_blocks: bytes | None
    synced_base_size: int | None
    synced_token: int | None
    good_size: int | None
    good_etag: ETag | None

    def sums_of(self, generation: int) -> bytes | None:
        """What the blocks of that generation of the bytes hash to, if that is known."""
        return self.digest if self.generation == generation else None

    def held(self) -> Held | None:
        """What was on the disk at the latest sync, if there ever was one."""
        if self.synced_size is None or self.synced_generation is None:
            return None
        return Held(self.synced_generation, self.synced_size, self.synced_blocks, self.synced_base_size)


NOTHING = Seal(None, None, None, None, None, None, None, None, None)


class Seals:
    """The tables `seal` and `doomed`. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._database = database

    def get(self, ino: InodeNo) -> Seal:
        row = self._db.execute(_GET, (ino,)).fetchone()
        return NOTHING if row is None else Seal._make(row)

    def summed(self, ino: InodeNo, generation: int, sums: bytes) -> None:
        """The blocks of that generation hash to these, as far as they are known."""
        self._db.execute(_SUMMED, {"ino": ino, "generation": generation, "digest": sums})

    def doubted(self, ino: InodeNo) -> None:
        """Nobody knows any more what the bytes hash to."""
        self._db.execute("UPDATE seal SET generation = NULL, digest = NULL WHERE ino = ?", (ino,))

    def synced(self, ino: InodeNo, held: Held) -> None:
        """So much of the file is on the disk."""
        generation, size, blocks, base_size, carried = held
        row: dict[str, object] = {"ino": ino, "generation": generation, "size": size, "blocks": blocks}
        token = self._database.next_seq() if carried is None else None
        self._db.execute(_SYNCED, row | {"base_size": base_size, "token": token})
        if carried is None:
            self._db.execute("DELETE FROM carried WHERE ino = ?", (ino,))
        else:
            self._db.execute(_CARRIED, {"ino": ino, "bytes": carried})

    def carried(self, ino: InodeNo) -> bytes | None:
        """The bytes of the latest sync, if they went with the rows."""
        row = self._db.execute("SELECT bytes FROM carried WHERE ino = ?", (ino,)).fetchone()
        return None if row is None else bytes(row[0])

    def all_carried(self) -> list[InodeNo]:
        """Files whose bytes of the latest sync went with the rows."""
        return [row[0] for row in self._db.execute("SELECT ino FROM carried ORDER BY ino")]

    def dirty(self) -> Iterator[InodeNo]:
        """Inodes with bytes that no store has."""
        return (row[0] for row in self._db.execute(_DIRTY))

    def kept(self) -> Iterator[tuple[InodeNo, int]]:
        """Inodes with bytes that no store has, of which some were synced; with the token of their latest sync."""
        return iter(self._db.execute(_KEPT))

    def unsynced(self) -> Iterator[tuple[InodeNo, bytes | None]]:
        """Files with bytes that no store has and no sync has made safe; with their sums, as far as they are known.

        Those of one block with a known sum, nearly all, are left out.
        """
        return iter(self._db.execute(_UNSYNCED))

    def doomed(self, count: int) -> list[tuple[InodeNo, int]]:
        """Up to `count` content files that nobody needs: the inode, and 0 or the token of what was kept of it."""
        return list(self._db.execute(_DOOMED, (count,)))

    def swept(self, doomed: list[tuple[InodeNo, int]]) -> None:
        """These are gone."""
        self._db.executemany(_SWEPT, doomed)
