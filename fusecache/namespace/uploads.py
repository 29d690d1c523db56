"""Uploads in parts that have begun: what goes on after a restart, and what has to be aborted."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import NamedTuple

from fusecache.namespace.database import Database
from fusecache.types import ETag, InodeNo, ObjectKey, StoreNo

_COLUMNS = "upload, ino, store, key, upload_id, others, signature, part_bytes"
_INTENDED = f"""
    INSERT INTO upload ({_COLUMNS}) VALUES (:upload, :ino, :store, :key, NULL, :others, :signature, :part_bytes)"""
_OF_INODE = f"SELECT {_COLUMNS} FROM upload WHERE ino = ? ORDER BY upload"
_UNWANTED = f"SELECT {_COLUMNS} FROM upload WHERE ino IS NULL OR upload_id IS NULL ORDER BY upload"
_KNOWN = "SELECT upload_id FROM upload WHERE store = ? AND key = ? AND upload_id IS NOT NULL"


_SENT = """
    SELECT coalesce(sum(part_bytes), 0) FROM upload JOIN part ON part.upload = upload.upload WHERE upload.ino = ?"""


class Upload(NamedTuple):
    """A row of `upload`."""

    upload: int
    ino: InodeNo | None
    store: StoreNo
    key: ObjectKey
    upload_id: str | None
    others: str | None
    signature: str
    part_bytes: int

    @property
    def not_ours(self) -> Collection[str] | None:
        """The uploads to the key that others had begun before; None: nobody knows."""
        return None if self.others is None else set(json.loads(self.others))


class Uploads:
    """The tables `upload` and `part`. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._database = database

    def of_inode(self, ino: InodeNo) -> list[Upload]:
        """What has begun with the bytes that the inode has now, for the target that its task has."""
        return [Upload._make(row) for row in self._db.execute(_OF_INODE, (ino,))]

    def unwanted(self) -> list[Upload]:
        """What nobody goes on with; among it what a worker has asked for and was not answered yet."""
        return [Upload._make(row) for row in self._db.execute(_UNWANTED)]

    def known_ids(self, store: StoreNo, key: ObjectKey) -> set[str]:
        """The store's names for our uploads to `key`."""
        return {row[0] for row in self._db.execute(_KNOWN, (store, key))}

    def is_live(self, upload: int) -> bool:
        """Whether an upload is still about the present bytes and target of its inode."""
        return self._db.execute("SELECT 1 FROM upload WHERE upload = ? AND ino > 0", (upload,)).fetchone() is not None

    def parts(self, upload: int) -> dict[int, ETag]:
        """The parts that the store has, by number."""
        return dict(self._db.execute("SELECT number, etag FROM part WHERE upload = ?", (upload,)))

    def sent_bytes(self, ino: InodeNo) -> int:
        """How much of the inode's bytes is in parts that the store has; the last may count for more than it has."""
        return int(self._db.execute(_SENT, (ino,)).fetchone()[0])

    def intend(
        self,
        ino: InodeNo,
        store: StoreNo,
        key: ObjectKey,
        *,
        others: Collection[str] | None,
        signature: str,
        part_bytes: int,
    ) -> Upload:
        """An upload is about to be asked for."""
        told = None if others is None else json.dumps(sorted(others))
        row = Upload(self._database.next_seq(), ino, store, key, None, told, signature, part_bytes)
        self._db.execute(_INTENDED, row._asdict())
        return row

    def begun(self, upload: Upload, upload_id: str) -> Upload:
        """The store has answered."""
        self._db.execute("UPDATE upload SET upload_id = ? WHERE upload = ?", (upload_id, upload.upload))
        return upload._replace(upload_id=upload_id)

    def sent(self, upload: int, number: int, etag: ETag) -> None:
        """The store has that part."""
        self._db.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", (upload, number, etag))

    def give_up(self, upload: int) -> None:
        """Nobody goes on with it: it has to be aborted."""
        self._db.execute("UPDATE upload SET ino = NULL WHERE upload = ?", (upload,))

    def give_up_all_but(self, inodes: Collection[InodeNo]) -> None:
        """After a power loss: only the files of these inodes are known to have the bytes that were sent."""
        for upload, ino in self._db.execute("SELECT upload, ino FROM upload WHERE ino IS NOT NULL").fetchall():
            if ino not in inodes:
                self.give_up(upload)

    def completed(self, ino: InodeNo, key: ObjectKey) -> None:
        """The object that was sent in parts is there."""
        self._db.execute("DELETE FROM upload WHERE ino = ? AND key = ?", (ino, key))

    def forget(self, upload: int) -> None:
        """The store has nothing of it."""
        self._db.execute("DELETE FROM upload WHERE upload = ?", (upload,))
