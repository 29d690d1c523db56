"""Names of which the lower told that there are none: CREATE comes right after its LOOKUP, and others look again."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from fusecache.namespace.records import Place
from fusecache.types import Seq

_REMEMBERED = 10_000
"""~ 300 bytes each."""


class _Absent(NamedTuple):
    """Since when it is known: by the seq, and by trio's clock."""

    epoch: Seq
    at: float


class Negatives:
    """Remembers the latest of them. They count until something of ours is newer; for how long, who asks decides."""

    def __init__(self) -> None:
        self._absent: OrderedDict[Place, _Absent] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Negatives {len(self._absent)}>"

    def put(self, place: Place, epoch: Seq, *, at: float) -> None:
        """A request that began at `epoch` told that nothing is there."""
        self._absent[place] = _Absent(epoch, at)
        if len(self._absent) > _REMEMBERED:
            self._absent.popitem(last=False)

    def known_at(self, place: Place, *, not_before: Seq) -> float | None:
        """Return when that was last told, by trio's clock; None if it was before `not_before`, or never."""
        absent = self._absent.get(place)
        return absent.at if absent is not None and absent.epoch >= not_before else None

    def forget(self, place: Place) -> None:
        """It may be there now."""
        self._absent.pop(place, None)
