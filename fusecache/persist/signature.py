"""What is written into the metadata of all that we put into a store, so that we know it again.

A signature names the namespace, the key and the bytes. It is about one key: an object that somebody
copied elsewhere, metadata and all, is not ours there.
"""

from __future__ import annotations

import xxhash

from fusecache.backends.metadata import UPLOAD_ID
from fusecache.namespace.records import Inode
from fusecache.persist.local import Stamp, attributes
from fusecache.types import InodeNo, ObjectInfo, ObjectKey


class Signer:
    """Signs objects for one namespace, and knows its signatures again."""

    def __init__(self, namespace_id: str) -> None:
        self._namespace_id = namespace_id

    def upload(self, key: ObjectKey, inode: Inode, stamp: Stamp | None) -> str:
        """For the bytes of `inode` as its local file, of that stamp, has them: two that differ never sign alike."""
        told = xxhash.xxh64_hexdigest(repr((attributes(inode), stamp)).encode())
        return f"{self._of_bytes(key, inode.ino, inode.generation)}-{told}"

    def copy(self, key: ObjectKey, ino: InodeNo, generation: int) -> str:
        """For a copy of an object that holds `generation` of an inode's bytes."""
        return f"{self._of_bytes(key, ino, generation)}-copy"

    def relocation(self, key: ObjectKey) -> str:
        """For a copy of an object that no row may know."""
        return f"{self._of_key(key)}-tree"

    def is_ours(self, found: ObjectInfo) -> bool:
        """Whether we put what a HEAD found, under the key where it is."""
        return signed(found).startswith(f"{self._of_key(found.key)}-")

    def holds(self, found: ObjectInfo, ino: InodeNo, generation: int) -> bool:
        """Whether we put it, with that generation of an inode's bytes."""
        return signed(found).startswith(f"{self._of_bytes(found.key, ino, generation)}-")

    def _of_key(self, key: ObjectKey) -> str:
        return f"{self._namespace_id}-{xxhash.xxh64_hexdigest(key.encode())}"

    def _of_bytes(self, key: ObjectKey, ino: InodeNo, generation: int) -> str:
        return f"{self._of_key(key)}-{ino:x}-{generation:x}"


def signed(found: ObjectInfo) -> str:
    """Return the signature of an object, empty if it has none."""
    return (found.metadata or {}).get(UPLOAD_ID, "")
