"""A store that somebody else changes at any request, and an account of every content: whether it may be gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fusecache.backends.base import Source
from fusecache.errors import BackendUnavailable, StoreRefused
from fusecache.types import DeleteOutcome, ETag, InodeNo, ListPage, ObjectInfo, ObjectKey
from tests.fs.test_persister_kills import MindfulStore

LOST = {"request": [True], "answer": [False], "second answer": [None, False], "two answers": [False, False]}
"""What becomes of the next requests that write: True, never carried out; False, carried out; None, answered."""


@dataclass(slots=True)
class Hook:
    """`act` after so many requests more: half of them are steps before a request is carried out, half after."""

    left: int
    act: Callable[[], None]


class ForeignStore(MindfulStore):
    """Etags are of the version. Somebody else acts just before or just after a request, answers are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[ETag, bytes] = {}
        """The content of every version that was ever there."""
        self.fates: list[bool | None] = []
        self.hooks: list[Hook] = []
        self.is_quiet = False
        """While an application calls: what it was answered is to be told from the rows before."""

    def speak(self) -> None:
        super().speak()
        self.fates, self.hooks = [], []

    def put_by_another(self, key: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Put an object at once; False if this store has none beside what is there."""
        try:
            self._store(ObjectKey(key), data, metadata)
        except StoreRefused:
            return False
        return True

    def delete_by_another(self, key: str) -> None:
        self._objects.pop(ObjectKey(key), None)

    def metadata(self, key: str) -> Mapping[str, str]:
        return self._objects[ObjectKey(key)].info.metadata or {}

    async def put(
        self,
        key: ObjectKey,
        source: Source,
        *,
        metadata: Mapping[str, str],
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> ETag:
        fate = self._fate()
        etag = await super().put(key, source, metadata=metadata, if_match=if_match, if_none_match=if_none_match)
        self._answered(fate)
        return etag

    async def copy(
        self,
        source: ObjectKey,
        target: ObjectKey,
        *,
        if_match: ETag | None,
        size: int,
        metadata: Mapping[str, str] | None,
    ) -> ETag:
        fate = self._fate()
        etag = await super().copy(source, target, if_match=if_match, size=size, metadata=metadata)
        self._answered(fate)
        return etag

    async def delete(
        self, keys: Sequence[ObjectKey], *, if_match: Sequence[ETag | None] | None = None
    ) -> Sequence[DeleteOutcome]:
        fate = self._fate()
        outcomes = await super().delete(keys, if_match=if_match)
        self._answered(fate)
        return outcomes

    async def head(self, key: ObjectKey) -> ObjectInfo:
        info = await super().head(key)
        self._tick()
        return info

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        page = await super().list(prefix, delimiter=delimiter, token=token, start_after=start_after, limit=limit)
        self._tick()
        return page

    async def _record(self, request: str) -> None:
        await super()._record(request)
        self._tick()

    def _store(self, key: ObjectKey, data: bytes, metadata: Mapping[str, str]) -> ETag:
        etag = super()._store(key, data, metadata)
        self.told[etag] = data
        return etag

    def _fate(self) -> bool | None:
        fate = self.fates.pop(0) if self.fates else None
        if fate:
            raise BackendUnavailable("never arrived")
        return fate

    def _answered(self, fate: bool | None) -> None:
        self._tick()
        if fate is False:
            raise BackendUnavailable("its answer was lost")

    def _tick(self) -> None:
        if self.is_quiet:
            return
        for hook in self.hooks:
            hook.left -= 1
        due, self.hooks = [each for each in self.hooks if not each.left], [each for each in self.hooks if each.left]
        for hook in due:
            hook.act()


@dataclass
class Account:
    """What was ever written, by whom, and what may be gone. Each content is written once, so it names itself."""

    ours: set[bytes] = field(default_factory=set)
    theirs: set[bytes] = field(default_factory=set)
    replaced: set[bytes] = field(default_factory=set)
    """By a call of ours, which had seen it: it must not be anywhere but beside, kept for another client."""
    overwritten: set[bytes] = field(default_factory=set)
    """By another client: nobody can bring it back, and nobody need."""
    held: dict[InodeNo, bytes] = field(default_factory=dict)
    """What was written last to an inode of ours."""

    def missing(self, found: set[bytes]) -> set[bytes]:
        """What must be somewhere and is not."""
        return (self.ours | self.theirs) - self.replaced - self.overwritten - found
