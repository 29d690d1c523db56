"""Names of which the lower told that there are none: CREATE comes right after its LOOKUP, and others look again."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from fusecache.namespace.records import Place
from fusecache.types import Seq

_REMEMBERED = 10_000
"""~ 300 bytes each."""


class Absent(NamedTuple):
    """Since when it is known: by the seq, and by trio's clock."""

    epoch: Seq
    at: float


class Negatives:
    """Remembers the latest of them. They count until something of ours is newer; for how long, who asks decides."""

    def __init__(self) -> None:
        self._absent: OrderedDict[Place, Absent] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Negatives {len(self._absent)}>"

    def put(self, place: Place, epoch: Seq, *, at: float) -> None:
        """A request that began at `epoch` told that nothing is there."""
        self._absent[place] = Absent(epoch, at)
        if len(self._absent) > _REMEMBERED:
            self._absent.popitem(last=False)

    def get(self, place: Place) -> Absent | None:
        """Return what was told last."""
        return self._absent.get(place)
