"""Which clean contents go when room is wanted: S3-FIFO (Yang et al., SOSP 2023), over a line that is on the disk. Pure.

What is new comes to the end of the *new* line; what was used by the time it gets to the front of that goes on to the
*kept* line, the rest goes, and is remembered for a while: who comes back soon is kept at once. There, who
was used comes around again. So who reads all of a lake once takes no more than the new line from others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fusecache.types import InodeNo

NEW_SHARE = 0.25
"""Of the contents' bytes: less, and what is read again within the day has gone by then; more, and scans take more."""
GHOST_SHARE = 3
"""Times the contents' bytes that have gone are remembered: of a table of thrice as much a part stays."""
_MOST_USES = 3
_REMEMBERED = 100_000
"""Ghosts, and used contents, some 10 MiB each; of more nobody is known."""


class Line(Protocol):
    """The clean contents in their two lines, the first to go first."""

    def oldest(self, *, kept: bool, count: int, before: int) -> Sequence[tuple[InodeNo, int]]:
        """Return the first `count` of a line and the bytes they take, of those with a place below `before`."""
        ...

    def next_place(self) -> int:
        """Return the place of who comes next, in whichever line."""
        ...

    def line_bytes(self, *, kept: bool) -> int:
        """Return what the contents of a line take."""
        ...

    def move(self, numbers: Iterable[InodeNo], *, kept: bool) -> None:
        """Put contents to the end of a line."""
        ...


@dataclass(slots=True)
class Opens:
    """What was opened, since the start."""

    count: int = 0
    hits: int = 0
    """Of which something was here."""
    ghosts: int = 0
    """Of which something would have been here, were there twice the room."""


class Eviction:
    """Chooses, and forgets who has gone. Belongs to the loop."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._uses: dict[InodeNo, int] = {}
        self._ghosts: dict[InodeNo, tuple[int, int]] = {}
        """Who has gone: what it took, and what had gone by then; the first one first."""
        self._gone_bytes = 0
        self._ghost_bytes = 0
        self._asked_for: set[InodeNo] = set()
        self._before = 0
        self._is_kept = False
        self.passed = 0
        """How many were passed over in this round, as they were used."""
        self.opens = Opens()

    def opened(self, ino: InodeNo, *, is_here: bool) -> None:
        """Somebody opened a content, of which something was here or not."""
        self.opens.count += 1
        if not is_here:
            gone = self._ghosts.get(ino)
            self.opens.ghosts += gone is not None and self._gone_bytes - gone[1] <= self._bytes()
            return
        self.opens.hits += 1
        if len(self._uses) >= _REMEMBERED:
            self._uses.clear()
        self._uses[ino] = min(_MOST_USES, self._uses.get(ino, 0) + 1)

    def arrived(self, ino: InodeNo) -> bool:
        """Something of a content is here now; True: it is known from before, and belongs to the kept line."""
        gone = self._ghosts.pop(ino, None)
        self._ghost_bytes -= 0 if gone is None else gone[0]
        was_asked_for = ino in self._asked_for
        self._asked_for.discard(ino)
        return gone is not None or was_asked_for

    def ask_for(self, ino: InodeNo) -> None:
        """Somebody wants a content here before it is used: what arrives of it belongs to the kept line."""
        if len(self._asked_for) >= _REMEMBERED:
            self._asked_for.clear()
        self._asked_for.add(ino)

    def surplus(self) -> int:
        """Return how many bytes of the new line go before any of the kept one."""
        return max(0, self._line.line_bytes(kept=False) - int(NEW_SHARE * self._bytes()))

    def begin(self) -> None:
        """Begin a round: everybody is looked at once in it, but who comes meanwhile."""
        self._before = self._line.next_place()
        self.passed = 0

    def turn(self, count: int, wanted: int) -> list[InodeNo] | None:
        """Return the next to go for `wanted` bytes: so many or fewer, maybe none; None: the round is over.

        They stay where they are until the caller says that they are `gone`, or `stay`.
        """
        surplus = self._line.line_bytes(kept=False) - int(NEW_SHARE * self._bytes())
        first = surplus <= 0
        for kept in (first, not first):
            if found := self._line.oldest(kept=kept, count=count, before=self._before):
                break
        else:
            return None
        self._is_kept = kept
        enough = wanted if kept or surplus <= 0 else min(wanted, surplus)
        return self._chosen(found, enough, kept=kept)

    def gone(self, ino: InodeNo, size: int) -> None:
        """A content that took so many bytes was given up."""
        self._uses.pop(ino, None)
        self._gone_bytes += size
        if self._is_kept:
            return  # it was used once, and not since
        self._ghosts[ino] = size, self._gone_bytes
        self._ghost_bytes += size
        most = GHOST_SHARE * self._bytes()
        while self._ghosts and (self._ghost_bytes > most or len(self._ghosts) > _REMEMBERED):
            first = next(iter(self._ghosts))
            self._ghost_bytes -= self._ghosts.pop(first)[0]

    def stay(self, numbers: Iterable[InodeNo]) -> None:
        """These could not be given up: they come around again later."""
        self._line.move(numbers, kept=self._is_kept)

    def _chosen(self, found: Iterable[tuple[InodeNo, int]], enough: int, *, kept: bool) -> list[InodeNo]:
        victims: list[InodeNo] = []
        used: list[InodeNo] = []
        for ino, size in found:
            if enough <= 0:
                break
            if uses := self._uses.pop(ino, 0):
                used.append(ino)
                if kept and uses > 1:
                    self._uses[ino] = uses - 1
            else:
                victims.append(ino)
                enough -= size
        self._line.move(used, kept=True)
        self.passed += len(used)
        return victims

    def _bytes(self) -> int:
        return self._line.line_bytes(kept=False) + self._line.line_bytes(kept=True)
