"""What one name has in the lower, asked for with one or two requests, and since when the answer counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fusecache.backends.base import Backend
from fusecache.backends.metadata import attributes_of
from fusecache.errors import NoSuchObject
from fusecache.namespace.lower import Defaults, Evidence, LowerObject, LowerPrefix
from fusecache.namespace.records import Directory
from fusecache.types import Attributes, ObjectInfo, ObjectKey, Seq, StoreNo


class Answer(NamedTuple):
    """What the lower told of a name: since when, and how old the answer is."""

    evidence: Evidence
    epoch: Seq
    age_s: float = 0.0


class Asking:
    """Asks the stores. Raises what their readers do, but for an object that is not there."""

    def __init__(self, backends: Mapping[StoreNo, Backend], defaults: Defaults, *, seq: Callable[[], Seq]) -> None:
        """`seq` is the namespace's now."""
        self._backends = backends
        self._defaults = defaults
        self._seq = seq

    async def probe(self, directory: Directory, component: str) -> Answer:
        """In a directory too large to be listed for one name: is there anything below it, or an object?"""
        found = await self.below(directory, component)
        return found if found.evidence is not None else await self.head(directory, component)

    async def below(self, directory: Directory, component: str) -> Answer:
        """Is there anything below it?"""
        epoch = self._seq()
        prefix = f"{directory.prefix}{component}/"
        page = await self._backends[directory.store].list(prefix, delimiter=None, limit=1)
        return Answer(LowerPrefix(prefix) if page.objects or page.prefixes else None, epoch)

    async def head(self, directory: Directory, component: str) -> Answer:
        """Is there an object, and with which attributes?"""
        epoch, key = self._seq(), ObjectKey(f"{directory.prefix}{component}")
        try:
            info = await self._backends[directory.store].head(key)
        except NoSuchObject:
            return Answer(None, epoch)
        return Answer(LowerObject(key, info.size, info.etag, info.mtime_ns, self.attributes(info)), epoch)

    def attributes(self, info: ObjectInfo) -> Attributes:
        """Return what the metadata of an object say of a file, the mount's defaults where they say nothing."""
        d = self._defaults
        return attributes_of(info, uid=d.uid, gid=d.gid, file_mode=d.file_mode)
