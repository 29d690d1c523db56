"""What the configuration says of a place, by the path that it has now."""

from __future__ import annotations

from collections.abc import Callable

from fusecache.config.rules import Rules
from fusecache.namespace.records import Dentry, Place
from fusecache.namespace.tables import Tables
from fusecache.types import ROOT_INO, InodeNo


class Policies:
    """Answers from rows, and without a look at them where no rule says anything of the kind."""

    def __init__(
        self, tables: Tables, rules: Rules | None, *, delay_ns: int, is_staging: Callable[[list[bytes]], bool]
    ) -> None:
        """`delay_ns` is the delay where no rule sets another."""
        self._t = tables
        self._is_staging = is_staging
        self._rules = rules or Rules()
        self.usual_delay_ns = delay_ns
        self._has_freshness = self._rules.has_freshness
        self._usual_fresh_s = self._rules.default.fresh_s
        self._has_delays = self._rules.has_delays
        self.longest_delay_ns = max(delay_ns, int(self._rules.longest_delay_s * 1e9)) if self._has_delays else delay_ns

    def delay_ns(self, place: Place) -> int:
        """How long a file of that name waits for its upload after a close."""
        if not self._has_delays:
            return self.usual_delay_ns
        return int(self._rules.of(self._t.directories.names(place)).persist_delay_s * 1e9)

    def delay_ns_of(self, ino: InodeNo) -> int:
        """The same for an inode: of several names the one that waits least decides; without any, the mount."""
        if not self._has_delays:
            return self.usual_delay_ns
        return min((self.delay_ns(row.place) for row in self._rows(ino)), default=self.usual_delay_ns)

    @property
    def has_local_ttl(self) -> bool:
        return self._rules.has_local_ttl

    def fresh_s(self, place: Place) -> float:
        """How long what the store tells of a name is believed."""
        if not self._has_freshness:
            return self._usual_fresh_s
        return self._rules.of(self._t.directories.names(place)).fresh_s

    def fresh_s_of(self, ino: InodeNo) -> float:
        """The same for an inode, of several names the shortest; without any, the mount's."""
        if not self._has_freshness:
            return self._usual_fresh_s
        return min((self.fresh_s(row.place) for row in self._rows(ino)), default=self._usual_fresh_s)

    def fresh_s_in(self, ino: InodeNo) -> float:
        """How long it is believed which names a directory has."""
        if not self._has_freshness:
            return self._usual_fresh_s
        directory = self._t.directories.get(ino)
        path = [] if ino == ROOT_INO else self._t.directories.names(Place(directory.parent, directory.name))
        return self._rules.fresh_s_in(path)

    def local_ttl_s(self, place: Place) -> float | None:
        """After how long without a change a file there is removed; None: never, as what is not local by a rule."""
        policy = self._rules.of(self._t.directories.names(place))
        return policy.local_ttl_s if policy.write_mode == "local" else None

    def waits_for_store(self, ino: InodeNo) -> bool:
        """Whether the close of a file returns when the object is in the store: by any of its names."""
        return self._rules.waits_for_store and any(self.is_through(row.place) for row in self._rows(ino))

    def is_through(self, place: Place) -> bool:
        """Whether what is closed there is in the store; not what stays here until it is renamed."""
        if not self._rules.waits_for_store:
            return False
        names = self._t.directories.names(place)
        return self._rules.of(names).waits_for_store and not self._is_staging(names)

    def passes_through(self, ino: InodeNo) -> bool:
        """Whether the bytes of a file do not stay here once they are in the store."""
        if not self._rules.waits_for_store:
            return False
        modes = [self._rules.of(self._t.directories.names(row.place)).write_mode for row in self._rows(ino)]
        return bool(modes) and all(mode == "through" for mode in modes)

    def _rows(self, ino: InodeNo) -> list[Dentry]:
        return self._t.dentries.of_inode(ino)

    def may_keep_below(self, names: list[bytes]) -> bool:
        """Whether something in a directory of that path, or further below, may be local by a rule."""
        return self._rules.keeps_files and self._rules.may_keep_below(names)

    def keeps_marker(self, ino: InodeNo) -> bool:
        """Whether a directory has its key `dir/` in the store whatever else is in it."""
        return self._marking(ino) == "always"

    def wants_marker(self, ino: InodeNo) -> bool:
        """Whether a directory, as the rows know it, should have its key `dir/` in the store."""
        match self._marking(ino):
            case "empty":
                return not self._t.dentries.has_storable(ino)
            case marking:
                return marking == "always"

    def _marking(self, ino: InodeNo) -> str:
        if not self._rules.marks_otherwise or ino == ROOT_INO:
            return "empty"
        directory = self._t.directories.get(ino)
        return self._rules.of(self._t.directories.names(Place(directory.parent, directory.name))).dir_markers
