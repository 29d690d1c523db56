"""From a name to its inode: the rows where they know, the lower where they don't."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import trio

from fusecache.backends.base import Backend
from fusecache.cache.listings import Listing, Listings, LowerEntry
from fusecache.config.rules import FOR_EVER_S
from fusecache.errors import NoSuchObject, NotADirectory, NotFound
from fusecache.fs.asking import Answer, Asking
from fusecache.fs.doubts import Doubts
from fusecache.fs.guesses import Guesses
from fusecache.fs.negatives import Negatives
from fusecache.fs.stale import Pages, TellStale
from fusecache.namespace.keys import TMP_PREFIX, component_of
from fusecache.namespace.lower import Defaults, Evidence, Lost, LowerObject, LowerPrefix
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Directory, Inode, Place
from fusecache.nurseries import unwrapped
from fusecache.types import ROOT_INO, ETag, Extent, InodeNo, ObjectKey, Seq, StoreNo

_CHECKED = 200_000
"""How many names are remembered as just compared with the store, ~ 100 bytes each."""
_LONG_AGO = float("-inf")
_HEADS = 16
"""HEAD requests at a time for one listing: zero-byte objects, which may be symbolic links."""


Found = list[tuple[bytes, Evidence]]
"""What the lower has under some names."""


class Entry(NamedTuple):
    """An inode, and for how long the kernel may believe in it."""

    inode: Inode
    timeout_s: float
    attr_timeout_s: float | None = None
    """In its attributes, if that is not as long as in the name."""


class Names:
    """Resolves names. Answers of the lower are believed as long as rules say, and never held against newer rows."""

    def __init__(
        self,
        namespace: Namespace,
        listings: Listings,
        backends: Mapping[StoreNo, Backend],
        *,
        defaults: Defaults,
        wall_ns: Callable[[], int],
        dropped: Callable[[InodeNo], None],
        stale: TellStale,
        guesses: Guesses | None = None,
    ) -> None:
        """`dropped` is told of inodes that the store has replaced or taken away, `stale` of what led to them."""
        self._ns = namespace
        self._t = namespace.tables
        self._listings = listings
        self._backends = backends
        self._asking = Asking(backends, defaults, seq=lambda: namespace.database.seq)
        self._wall_ns = wall_ns
        self._dropped = dropped
        self._stale = stale
        self._checked: dict[InodeNo, float] = {}
        """As of when, by trio's clock, the store has it as the rows do."""
        self._negatives = Negatives()
        self._doubts = Doubts()
        self.guesses = guesses or Guesses(is_allowed=True)

    async def find(self, parent: InodeNo, name: bytes) -> Dentry:
        """Return the live row of a name, asking the lower if the rows don't settle it.

        Raises:
            NotFound: there is no such name. NotADirectory: nor such a directory.
            StoreUnreachable: the lower must be asked and does not answer.
        """
        row = await self.find_any(parent, name)
        if row is None:
            raise NotFound(repr(name))
        return row

    async def find_any(self, parent: InodeNo, name: bytes) -> Dentry | None:
        """Like `find`, with None for a name that is not there."""
        row = self._t.dentries.get(parent, name)
        if row is not None and row.ino is not None:
            if self._is_fresh(row) or self._is_new_file(row):
                return row
        elif is_reserved(parent, name):
            return None
        directory = self.directory(parent)
        if directory.prefix is None or (row is not None and self._ns.lower.is_ours(row, directory)):
            return _live(row)
        place = Place(parent, name)
        fresh_s = self._ns.policies.fresh_s(place)
        if _live(row) is None and self._is_absent(directory, place, row, fresh_s):
            return None
        age_s, is_doubted = self._vouched_age_s(directory), self._doubts.outdates(place, directory.epoch)
        if age_s < fresh_s and not is_doubted:
            return self._noted(_live(row), age_s, directory.epoch)
        found = await self._find_out(directory, name, row, fresh_s)
        if self.directory(parent).prefix != directory.prefix or self._doubts.outdates(place, found.epoch):
            return await self.find_any(parent, name)  # it was relocated, or changed, while we asked
        merged = self._merge(parent, [(name, found.evidence)], found.epoch)[0]
        if merged is None:
            self._negatives.put(place, found.epoch, at=trio.current_time() - found.age_s)
        return self._noted(merged, found.age_s, found.epoch)

    async def head(self, inode: Inode) -> Inode:
        """Return the inode with the attributes of its object, asked for once a version.

        Raises:
            NotFound: the object is gone, and with it the name.
        """
        if inode.headed or inode.base_key is None or inode.is_dir:
            return inode
        rows = self._t.dentries.of_inode(inode.ino)
        row = next((each for each in rows if each.lower == inode.base), None)
        if row is None:
            return inode
        assert inode.base_store is not None
        epoch = self._ns.database.seq
        try:
            info = await self._backends[inode.base_store].head(inode.base_key)
        except NoSuchObject:
            if self._merge(row.parent, [(row.name, None)], epoch) == [None]:
                raise NotFound(f"{inode.base_key} is gone from the store") from None
            return self._t.inodes.get(inode.ino)
        current = self._t.inodes.get(inode.ino)  # it may have changed while we asked
        if current.headed or info.etag != current.base_etag:
            return current
        told = self._ns.lower.headed(current, self._asking.attributes(info))
        if self.guesses.learnt(row.parent, current, told):
            self._stale(current.ino)
        return told

    def directory(self, ino: InodeNo) -> Directory:
        """Return the directory.

        Raises:
            NotADirectory: it is a file.
        """
        directory = self._t.directories.find(ino)
        if directory is None:
            self._t.inodes.get(ino)
            raise NotADirectory(f"inode {ino}")
        return directory

    def timeout_s(self, inode: Inode) -> float:
        """How long the kernel may keep what it is told: until the lower would be asked again."""
        fresh_s, checked_at = self._ns.policies.fresh_s_of(inode.ino), self._checked.get(inode.ino)
        return fresh_s if checked_at is None else max(0.0, checked_at + fresh_s - trio.current_time())

    def guessed(self, inode: Inode, directory: InodeNo) -> Entry:
        """What the kernel is told of a file of that directory of which only a listing has told."""
        return Entry(inode, self.timeout_s(inode) if self.guesses.are_shown(directory) else 0.0)

    async def listing(self, directory: Directory) -> Listing | None:
        """The listing to be merged into a directory; None where the rows are all there is."""
        fresh_s = self._ns.policies.fresh_s_in(directory.ino)
        if directory.prefix is None or self._is_vouched(directory, fresh_s):
            return None
        return await self._listed(directory, directory.prefix, fresh_s)

    async def listed_now(self, directory: Directory) -> Listing | None:
        """A listing that begins now, whatever is believed; None where the rows are all there is."""
        if directory.prefix is None:
            return None
        return await self._listed(directory, directory.prefix, 0.0)

    def listed_before(self, directory: Directory) -> Listing | None:
        """What is still known of the last listing, however old it is."""
        if directory.prefix is None:
            return None
        return self._listings.fresh(directory.store, directory.prefix, ttl_s=FOR_EVER_S)

    def doubt_names(self, directory: Directory) -> None:
        """The store may have changed any name of a directory."""
        self._doubts.raised_in(directory.ino, self._ns.database.passed_seq())
        if directory.prefix is not None:
            self._listings.drop(directory.store, directory.prefix)
        self._stale(Pages(directory.ino, Extent(0, 0)))  # where the kernel may have its names

    def doubt(self, place: Place, etag: ETag | None = None) -> bool:
        """Somebody says that the store has changed a name: it is asked for when it is needed, and so is its directory.

        False if there is no such directory, or the name is known to lead to `etag`.
        """
        directory, row = self._t.directories.find(place.parent), self._t.dentries.get(*place)
        if directory is None or (etag is not None and row is not None and row.etag == etag):
            return False
        self._doubts.raised(place, self._ns.database.passed_seq())
        if directory.prefix is not None:
            self._listings.drop(directory.store, directory.prefix)
        if row is not None and row.ino is not None:
            self._checked[row.ino] = _LONG_AGO
            self._stale(place)
        self._stale(Pages(directory.ino, Extent(0, 0)))  # where the kernel may have its names
        return True

    def is_doubted(self, row: Dentry) -> bool:
        """Whether a name was doubted, and has not been asked for since."""
        return row.ino is not None and self._checked.get(row.ino) == _LONG_AGO

    async def _listed(self, directory: Directory, prefix: str, fresh_s: float) -> Listing:
        listing = await self._listings.open(
            directory.store, prefix, self._ns.database.seq, min_epoch=directory.epoch, ttl_s=fresh_s
        )
        await listing.page(0)
        if listing.marker is not None and directory.ino != ROOT_INO and not listing.marker.size:
            self._ns.lower.marker_seen(directory.ino)  # else it is somebody's bytes, which no directory can show
        return listing

    async def found(self, directory: Directory, entries: Sequence[tuple[bytes, LowerEntry]]) -> Found:
        """Return what a page of its listing tells; zero-byte objects are asked for their type."""
        assert directory.prefix is not None
        found: Found = [(name, _evidence_of(directory.prefix, entry)) for name, entry in entries]
        await self._type_empty_objects(directory, found)
        return found

    def merge_page(self, directory: Directory, listing: Listing, found: Found) -> list[Dentry | None]:
        """Take a page of a listing into the rows."""
        if self.directory(directory.ino).prefix != directory.prefix:
            return []  # it was relocated while we asked: listed again, from where it is now
        age_s = self._age_s(listing)
        if self._doubts.outdates_any_in(directory.ino, listing.epoch):
            news = [each for each in found if self._t.dentries.get(directory.ino, each[0]) is None]
            self._merge(directory.ino, news, listing.epoch)
            rows = [_live(self._t.dentries.get(directory.ino, name)) for name, _ in found]
            return [self._noted(row, age_s, listing.epoch) for row in rows]
        return [self._noted(row, age_s, listing.epoch) for row in self._merge(directory.ino, found, listing.epoch)]

    def good_for_s(self, directory: Directory, listing: Listing | None) -> float:
        """How long what is merged of it may be believed; None: what only the rows tell."""
        fresh_s = self._ns.policies.fresh_s_in(directory.ino)
        return fresh_s if listing is None else fresh_s - self._age_s(listing)

    def is_current(self, ino: InodeNo, listing: Listing | None) -> bool:
        """Whether this would be merged into a directory now; None: the rows are all there is."""
        directory = self._t.directories.find(ino)
        if directory is None:
            return False
        fresh_s = self._ns.policies.fresh_s_in(ino)
        if directory.prefix is None or self._is_vouched(directory, fresh_s):
            return listing is None
        found = self._listings.fresh(directory.store, directory.prefix, min_epoch=directory.epoch, ttl_s=fresh_s)
        return listing is not None and found is listing

    def merge_absent(self, directory: Directory, names: Sequence[bytes], listing: Listing) -> list[Dentry | None]:
        """A complete listing lacks these names: those that are only the store's are gone."""
        if self._doubts.outdates_any_in(directory.ino, listing.epoch):
            return [_live(self._t.dentries.get(directory.ino, name)) for name in names]
        return self._merge(directory.ino, [(name, None) for name in names], listing.epoch)

    def forget_whiteouts(self, whiteouts: Sequence[Dentry], epoch: Seq) -> None:
        """The listing of that epoch has been merged whole."""
        self._ns.lower.forget_whiteouts(whiteouts, epoch=epoch)

    def forget(self, ino: InodeNo) -> None:
        self._checked.pop(ino, None)

    # --- asking the lower ---

    async def _find_out(self, directory: Directory, name: bytes, row: Dentry | None, fresh_s: float) -> Answer:
        assert directory.prefix is not None
        component = component_of(name)
        if fresh_s <= 0.0 and (seen := await self._again(directory, component, row)) is not None:
            return seen
        listing = await self._listed(directory, directory.prefix, fresh_s)
        entries = listing.known(component)
        if entries is None:
            return await self._asking.probe(directory, component)
        age_s = self._age_s(listing)
        if any(entry.is_prefix for entry in entries):
            return Answer(LowerPrefix(f"{directory.prefix}{component}/"), listing.epoch, age_s)
        if not entries:
            return Answer(None, listing.epoch, age_s)
        is_newer = row is not None and row.epoch > listing.epoch  # a HEAD says nothing of a directory made since
        if is_newer or self._is_headed(row, entries[0].etag):
            return Answer(_evidence_of(directory.prefix, entries[0]), listing.epoch, age_s)
        return await self._asking.head(directory, component)

    async def _again(self, directory: Directory, component: str, row: Dentry | None) -> Answer | None:
        """Ask for what was there the last time, which is less than a listing; None if that is not there."""
        if row is None or row.ino is None:
            return None
        if self._t.inodes.get(row.ino).is_dir:
            found = await self._asking.below(directory, component)
        else:
            found = await self._asking.head(directory, component)
        return found if found.evidence is not None else None

    async def _type_empty_objects(self, directory: Directory, found: Found) -> None:
        limiter = trio.CapacityLimiter(_HEADS)

        async def ask(index: int, name: bytes) -> None:
            async with limiter:
                found[index] = (name, (await self._asking.head(directory, component_of(name))).evidence)

        untyped = [
            (index, name)
            for index, (name, evidence) in enumerate(found)
            if isinstance(evidence, LowerObject)
            and not evidence.size
            and not self._is_headed(self._t.dentries.get(directory.ino, name), evidence.etag)
        ]
        with unwrapped():
            async with trio.open_nursery() as nursery:
                for each in untyped:
                    nursery.start_soon(ask, *each)

    # --- what is known already ---

    def _merge(self, parent: InodeNo, found: Sequence[tuple[bytes, Evidence]], epoch: Seq) -> list[Dentry | None]:
        rows = self._ns.lower.merge(parent, found, epoch=epoch)
        for lost in self._ns.lower.take_lost():
            if lost.is_last:
                self._checked.pop(lost.ino, None)
                self._dropped(lost.ino)
            self._outdated(lost)
        return rows

    def _outdated(self, lost: Lost) -> None:
        """Tell what the kernel may still believe of a name that the store has changed: here alone.

        The name leads elsewhere, and where it led there is a link less. Nothing else that the store shows is known
        to the kernel otherwise: it keeps no names that were not there.
        """
        self._stale(lost.place)
        self._stale(lost.ino)

    def _is_fresh(self, row: Dentry) -> bool:
        checked_at, fresh_s = self._checked.get(row.inode_no), self._ns.policies.fresh_s(row.place)
        if checked_at is None:  # else what a mount before this one was told is believed, too
            return fresh_s >= FOR_EVER_S and not self._doubts.outdates(row.place, Seq(0))
        return checked_at + fresh_s > trio.current_time()

    def _is_absent(self, directory: Directory, place: Place, row: Dentry | None, fresh_s: float) -> bool:
        """Whether the lower told lately that nothing is there, and nothing of ours has come or gone since."""
        absent = self._negatives.get(place)
        if absent is None or self._doubts.outdates(place, absent.epoch):
            return False
        not_before = directory.epoch if row is None else max(directory.epoch, row.epoch)
        return absent.epoch >= not_before and absent.at + fresh_s > trio.current_time()

    def _is_new_file(self, row: Dentry) -> bool:
        """Whether the store never had it: `is_ours` would say so, after a look for a directory."""
        return row.key is None and not self._t.inodes.get(row.inode_no).is_dir

    def _is_headed(self, row: Dentry | None, etag: ETag) -> bool:
        if row is None or row.ino is None or row.etag != etag:
            return False
        return bool(self._t.inodes.get(row.ino).headed)

    def _is_vouched(self, directory: Directory, fresh_s: float) -> bool:
        """Whether it is believed that the rows are all that it has."""
        is_doubted = self._doubts.outdates_any_in(directory.ino, directory.epoch)
        return self._vouched_age_s(directory) < fresh_s and not is_doubted

    def _vouched_age_s(self, directory: Directory) -> float:
        """How long ago a directory was purely local: then the rows are all that it has."""
        return (self._wall_ns() - directory.vouched_ns) / 1e9

    def _age_s(self, listing: Listing) -> float:
        return max(0.0, self._wall_ns() / 1e9 - listing.fetched_at)

    def _noted(self, row: Dentry | None, age_s: float, epoch: Seq) -> Dentry | None:
        """Remember that this name is as the store had it so long ago."""
        if row is None or row.ino is None:
            return None
        if len(self._checked) >= _CHECKED:
            self._checked.clear()
        is_doubted = self._doubts.outdates(row.place, epoch)
        self._checked[row.ino] = _LONG_AGO if is_doubted else trio.current_time() - age_s
        return row


def is_reserved(parent: InodeNo, name: bytes) -> bool:
    """Whether this is where our own keys are: no file, and no name for one."""
    return parent == ROOT_INO and name + b"/" == TMP_PREFIX.encode()


def _live(row: Dentry | None) -> Dentry | None:
    return row if row is not None and row.ino is not None else None


def _evidence_of(prefix: str, entry: LowerEntry) -> Evidence:
    if entry.is_prefix:
        return LowerPrefix(f"{prefix}{entry.name}/")
    return LowerObject(ObjectKey(prefix + entry.name), entry.size, entry.etag, entry.mtime_ns)
