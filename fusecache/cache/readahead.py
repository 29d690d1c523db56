"""What to fetch before it is asked for: the reads of one handle in, extents out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fusecache.types import Extent

MIN_WINDOW_BYTES = 1 << 20
MAX_WINDOW_BYTES = 64 << 20
"""Sixteen requests: with 50 ms for each, more than a connection of 10 Gbit/s brings."""

STEP_BYTES = 4 << 20
"""A request ahead of a reader: large enough that its overhead vanishes, small enough for several at a time."""

_TRUSTED_BYTES = 256 << 10
"""Read one after the other, so much is no accident."""
_MAX_STREAMS = 8
"""Places in one handle at which somebody goes on reading; who reads more has handles enough."""
_SLACK_REQUESTS = 4
"""The kernel's own read-ahead sends several requests at once, and they arrive in any order."""
_LASTING = 8
"""Who has read so many windows goes on, whatever others did before."""
_MAX_STRIDES = 8
"""Reads ahead at equal distances: two round trips, at what one request takes."""


class Plan(NamedTuple):
    """What a read makes worth fetching."""

    exact: bool = True
    """Nothing but what is read: else whole blocks, as what is beside it is read next."""
    ahead: tuple[Extent, ...] = ()
    """What will be read next."""


@dataclass(slots=True, eq=False)
class _Stream:
    """Somebody who reads on, upwards or downwards, from `at`."""

    at: int
    run: int
    """Bytes read one after the other."""
    ahead: int
    """Up to here it was asked for already; downwards, down to here."""
    is_down: bool = False
    window: int = 0

    def distance(self, extent: Extent) -> int:
        """How far from where this stream goes on."""
        return abs(self.at - extent.end) if self.is_down else abs(extent.offset - self.at)

    @property
    def unused(self) -> int:
        return max(0, self.at - self.ahead if self.is_down else self.ahead - self.at)


class Readahead:
    """The reads of one handle. A window doubles while they are in order, up to a bound that is halved with each
    stream that ends far from what was fetched for it."""

    __slots__ = ("_begins", "_last", "_limit", "_streams", "_stride", "_strides")

    def __init__(self) -> None:
        self._streams: list[_Stream] = []
        """The one used last is the last."""
        self._limit = MAX_WINDOW_BYTES
        self._last = -1
        self._stride = 0
        self._strides = 0
        self._begins = True

    def __repr__(self) -> str:
        return f"<Readahead {[(stream.at, stream.window) for stream in self._streams]}, limit {self._limit}>"

    def on_read(self, extent: Extent, size: int) -> Plan:
        """Note a read of a file of `size` bytes; return what to fetch for it and after it."""
        began, self._begins = self._begins, False
        stream = self._followed(extent)
        if stream is None:
            strided = self._strided(extent, size)
            self._begin(extent, trusted=began and not extent.offset)
            return Plan(exact=not (began and not extent.offset), ahead=strided)
        return self._go_on(stream, extent, size)

    def stopped(self, at: int) -> None:
        """What was to be fetched ahead for the last read was begun only up to, or down to, `at`."""
        stream = self._streams[-1]
        stream.ahead = max(stream.at, at) if not stream.is_down else min(stream.at, at)

    def _followed(self, extent: Extent) -> _Stream | None:
        """The stream that this read belongs to, if any."""
        for stream in reversed(self._streams):
            slack = _SLACK_REQUESTS * extent.length if stream.run >= MIN_WINDOW_BYTES else extent.length
            if stream.distance(extent) <= (slack if stream.run > extent.length else 0):
                return stream
            if stream.run <= extent.length and extent.end == stream.at - stream.run:
                stream.is_down, stream.at, stream.ahead = True, stream.at - stream.run, stream.at - stream.run
                return stream
        return None

    def _begin(self, extent: Extent, *, trusted: bool) -> None:
        run = MIN_WINDOW_BYTES + extent.length if trusted else extent.length
        self._streams.append(_Stream(extent.end, run, extent.end))
        if len(self._streams) > _MAX_STREAMS:
            ended = self._streams.pop(0)
            if ended.unused > ended.window // 4:
                self._limit = max(MIN_WINDOW_BYTES, min(self._limit, ended.window // 2))

    def _go_on(self, stream: _Stream, extent: Extent, size: int) -> Plan:
        self._streams.remove(stream)
        self._streams.append(stream)
        self._stride = self._strides = 0
        stream.at = min(stream.at, extent.offset) if stream.is_down else max(stream.at, extent.end)
        stream.run += extent.length
        if stream.run < _TRUSTED_BYTES:
            return Plan()
        exact = stream.run < MIN_WINDOW_BYTES
        if stream.unused > stream.window // 2:
            return Plan(exact)
        grown = 2 * stream.window or min(MIN_WINDOW_BYTES, stream.run)
        stream.window = min(self._limit, grown)
        if stream.run > _LASTING * self._limit:
            self._limit = min(MAX_WINDOW_BYTES, 2 * self._limit)
        return Plan(exact, self._window(stream, size))

    def _window(self, stream: _Stream, size: int) -> tuple[Extent, ...]:
        """What is between what was asked for and the end of the window."""
        if stream.is_down:
            end = min(stream.at, stream.ahead)
            stream.ahead = max(0, stream.at - stream.window)
            return (Extent(stream.ahead, end - stream.ahead),) if stream.ahead < end else ()
        start = max(stream.at, stream.ahead)
        stream.ahead = max(start, min(size, stream.at + stream.window))
        return (Extent(start, stream.ahead - start),) if stream.ahead > start else ()

    def _strided(self, extent: Extent, size: int) -> tuple[Extent, ...]:
        """Reads at equal distances: the next ones, as many as there were."""
        stride = extent.offset - self._last if self._last >= 0 else 0
        self._last = extent.offset
        self._strides = self._strides + 1 if stride and stride == self._stride else 0
        self._stride = stride
        count = min(self._strides, _MAX_STRIDES)
        offsets = (extent.offset + n * stride for n in range(1, count + 1))
        return tuple(Extent(at, min(extent.length, size - at)) for at in offsets if 0 <= at < size)
