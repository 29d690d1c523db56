"""Names that the store is said to have changed: what was learnt of them before that does not count any more."""

from __future__ import annotations

from fusecache.namespace.records import Place
from fusecache.types import InodeNo, Seq

_MOST = 100_000
"""~ 200 bytes each. With more of them, everything is doubted that was learnt so far."""
_NEVER = Seq(0)


class Doubts:
    """Remembers since when, as a number between those of requests. They do not end: an answer may come late."""

    def __init__(self) -> None:
        self._names: dict[Place, Seq] = {}
        self._directories: dict[InodeNo, Seq] = {}
        self._whole: dict[InodeNo, Seq] = {}
        self._all = _NEVER

    def __repr__(self) -> str:
        return f"<Doubts of {len(self._names)} names>"

    def raised(self, place: Place, seq: Seq) -> None:
        """What was asked for before `seq` does not count: of this name, and of which names its directory has."""
        if len(self._names) >= _MOST:
            self._all = seq
            for known in (self._names, self._directories, self._whole):
                known.clear()
        self._names[place] = self._directories[place.parent] = seq

    def raised_in(self, directory: InodeNo, seq: Seq) -> None:
        """The same of each name that a directory has."""
        self._directories[directory] = self._whole[directory] = seq

    def outdates(self, place: Place, epoch: Seq) -> bool:
        """Whether an answer does not count for a name, if its request began at `epoch`."""
        return epoch < max(self._names.get(place, self._all), self._whole.get(place.parent, self._all))

    def outdates_any_in(self, directory: InodeNo, epoch: Seq) -> bool:
        """Whether there is any such name in the directory."""
        return epoch < self._directories.get(directory, self._all)
