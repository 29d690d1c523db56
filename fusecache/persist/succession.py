"""Where the bytes are that a version had which is gone from the store: it was moved, or replaced, by ourselves."""

from __future__ import annotations

from collections.abc import Mapping

from fusecache.backends.base import Backend
from fusecache.backends.metadata import UPLOAD_ID
from fusecache.errors import NoSuchObject
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.uploads import Upload
from fusecache.types import InodeNo, LowerId, StoreNo


class Succession:
    """Answers for files that are partly local. Holds nothing between calls."""

    def __init__(self, namespace: Namespace, backends: Mapping[StoreNo, Backend]) -> None:
        self._ns = namespace
        self._backends = backends

    async def instead_of(self, ino: InodeNo, lost: LowerId) -> LowerId | None:
        """Return where missing bytes of an inode come from now, which is recorded; None: from nowhere.

        Raises:
            BackendError: of a HEAD.
        """
        found = self._ns.tree.base_instead_of(ino, lost)
        if found is not None:
            return found
        for upload in self._ns.tables.uploads.replacing(ino, lost):
            await self.look(upload)
        return self._ns.tree.base_instead_of(ino, lost)

    async def look(self, upload: Upload) -> None:
        """If an upload has replaced the version that it was made from, what its file lacks comes from its object.

        Raises:
            BackendError: of a HEAD.
        """
        try:
            found = await self._backends[upload.store].head(upload.key)
        except NoSuchObject:
            return
        if (found.metadata or {}).get(UPLOAD_ID) == upload.signature:
            self._ns.drain.succeeded(upload, found.etag)
