"""Uploads in parts that have begun: what goes on after a restart, and what has to be aborted."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fusecache.namespace.database import Database
from fusecache.types import ETag, Extent, InodeNo, LowerId, ObjectKey, StoreNo

_COLUMNS = "upload, ino, store, key, upload_id, others, signature, part_bytes, unchanged, base_key, base_etag"
_INTENDED = f"INSERT INTO upload ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_INODE = f"SELECT {_COLUMNS} FROM upload WHERE ino = ? AND wanted ORDER BY upload"
_UNWANTED = f"SELECT {_COLUMNS} FROM upload WHERE NOT wanted OR upload_id IS NULL ORDER BY upload"
_REPLACING = (
    f"SELECT {_COLUMNS} FROM upload WHERE ino = ? AND store = ? AND key = ? AND base_key = key AND base_etag = ?"
)
_KNOWN = "SELECT upload_id FROM upload WHERE store = ? AND key = ? AND upload_id IS NOT NULL"


_SENT = """
    SELECT coalesce(sum(part_bytes), 0) FROM upload JOIN part ON part.upload = upload.upload WHERE upload.ino = ?"""


class Upload(NamedTuple):
    """A row of `upload`."""

    upload: int
    ino: InodeNo
    store: StoreNo
    key: ObjectKey
    upload_id: str | None
    others: str | None
    signature: str
    part_bytes: int
    unchanged: str
    base_key: ObjectKey | None
    base_etag: ETag | None

    @property
    def unchanged_extents(self) -> list[Extent]:
        """What the store may copy from the base."""
        return [Extent(*each) for each in json.loads(self.unchanged)]

    @property
    def replaced(self) -> LowerId | None:
        """The version, if any, that is both what is copied from and what the object takes the place of."""
        if self.base_etag is None or self.base_key != self.key:
            return None
        return LowerId(self.store, self.key, self.base_etag)

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

    def replacing(self, ino: InodeNo, lost: LowerId) -> list[Upload]:
        """What was begun to put bytes of `lost`, and others of the inode, in its place."""
        return [Upload._make(row) for row in self._db.execute(_REPLACING, (ino, *lost))]

    def is_wanted(self, upload: int) -> bool:
        """Whether an upload is still about the present bytes and target of its inode."""
        return self._db.execute("SELECT 1 FROM upload WHERE upload = ? AND wanted", (upload,)).fetchone() is not None

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
        unchanged: Sequence[Extent],
        base: LowerId | None,
    ) -> Upload:
        """An upload is about to be asked for. `unchanged` may be copied from `base`."""
        told = None if others is None else json.dumps(sorted(others))
        base_key, base_etag = (base.key, base.etag) if base is not None else (None, None)
        row = Upload(
            self._database.next_seq(), ino, store, key, None, told, signature, part_bytes,
            json.dumps(unchanged), base_key, base_etag,
        )  # fmt: skip
        self._db.execute(_INTENDED, row)
        return row

    def lost(self, upload: Upload) -> None:
        """An earlier request to begin it had no answer: what that has begun, if anything, has to be aborted."""
        row = upload._replace(upload=self._database.next_seq())
        self._db.execute(_INTENDED, row)
        self.give_up(row.upload)

    def begun(self, upload: Upload, upload_id: str) -> Upload:
        """The store has answered."""
        self._db.execute("UPDATE upload SET upload_id = ? WHERE upload = ?", (upload_id, upload.upload))
        return upload._replace(upload_id=upload_id)

    def sent(self, upload: int, number: int, etag: ETag) -> None:
        """The store has that part."""
        self._db.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", (upload, number, etag))

    def give_up(self, upload: int) -> None:
        """Nobody goes on with it: it has to be aborted."""
        self._db.execute("UPDATE upload SET wanted = 0 WHERE upload = ?", (upload,))

    def give_up_all_but(self, inodes: Collection[InodeNo]) -> None:
        """After a power loss: only the files of these inodes are known to have the bytes that were sent."""
        for upload, ino in self._db.execute("SELECT upload, ino FROM upload").fetchall():
            if ino not in inodes:
                self.give_up(upload)

    def completed(self, ino: InodeNo, signature: str | None) -> None:
        """The object of that signature is there: if it was sent in parts, they are gone."""
        self._db.execute("DELETE FROM upload WHERE ino = ? AND signature = ? AND wanted", (ino, signature))

    def forget(self, upload: int) -> None:
        """The store has nothing of it."""
        self._db.execute("DELETE FROM upload WHERE upload = ?", (upload,))
