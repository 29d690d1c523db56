"""What is written into the metadata of all that we put into a store, so that we know it again.

A signature names the namespace, the key, the size and the bytes. It is about one key: an object that somebody
copied elsewhere, metadata and all, is not ours there. Others keep the metadata of what they change, too (s3fs,
GeeseFS): so it only counts where a request of ours, whose answer is not known, may have made the object.
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

    def upload(self, key: ObjectKey, inode: Inode, size: int, stamp: Stamp | None) -> str:
        """For the bytes of `inode` as its local file, of that stamp, has them: two that differ never sign alike."""
        told = xxhash.xxh64_hexdigest(repr((attributes(inode), stamp)).encode())
        return f"{self._of_bytes(key, size, inode.ino, inode.generation)}-{told}"

    def copy(self, key: ObjectKey, size: int, ino: InodeNo, generation: int) -> str:
        """For a copy of an object that holds `generation` of an inode's bytes."""
        return f"{self._of_bytes(key, size, ino, generation)}-copy"

    def relocation(self, key: ObjectKey, size: int) -> str:
        """For a copy of an object that no row may know."""
        return f"{self._of_key(key, size)}-tree"

    def is_ours(self, found: ObjectInfo) -> bool:
        """Whether a request of ours has put what a HEAD found, if there was one."""
        return signed(found).startswith(f"{self._of_key(found.key, found.size)}-")

    def holds(self, found: ObjectInfo, ino: InodeNo, generation: int) -> bool:
        """Whether it did, with that generation of an inode's bytes."""
        return signed(found).startswith(f"{self._of_bytes(found.key, found.size, ino, generation)}-")

    def _of_key(self, key: ObjectKey, size: int) -> str:
        return f"{self._namespace_id}-{xxhash.xxh64_hexdigest(key.encode())}-{size:x}"

    def _of_bytes(self, key: ObjectKey, size: int, ino: InodeNo, generation: int) -> str:
        return f"{self._of_key(key, size)}-{ino:x}-{generation:x}"


def signed(found: ObjectInfo) -> str:
    """Return the signature of an object, empty if it has none."""
    return (found.metadata or {}).get(UPLOAD_ID, "")
