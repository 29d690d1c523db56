"""Files whose writers wait at the hard mark, one after the other: so files come to their end, and can be drained.

If all of them got a little of each room, the disk would be full of files that nobody can close.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from fusecache.types import InodeNo

_AWAY_S = 0.5
"""How long a file keeps its place while nobody waits for it: its writer may be about to go on."""


@dataclass(slots=True, eq=False)
class Turn:
    """One call that waits until so many bytes may be written."""

    ino: InodeNo
    count: int
    come: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class _File:
    turns: list[Turn] = field(default_factory=list)
    had: int = 0
    """Bytes that it was let through for since it is in this place."""
    left_at: float = 0.0
    """When its last turn ended, while it has none."""


class Line:
    """Lets the first file through as room comes, and others only with what that one leaves. Belongs to the loop."""

    def __init__(self, *, is_open: Callable[[InodeNo], bool]) -> None:
        """`is_open`: a file that is not loses its place at once."""
        self._is_open = is_open
        self._files: dict[InodeNo, _File] = {}
        self._coming: set[Turn] = set()
        """Let through, and not gone yet: their bytes aren't on the disk."""
        self._count = 0

    def __len__(self) -> int:
        """How many calls wait."""
        return self._count

    def __contains__(self, ino: InodeNo) -> bool:
        """Whether a file has a place: it may have nobody who waits just now."""
        return ino in self._files

    def join(self, ino: InodeNo, count: int) -> Turn:
        """Wait behind the files that came before. To be ended by `leave`."""
        turn = Turn(ino, count)
        self._files.setdefault(ino, _File()).turns.append(turn)
        self._count += 1
        return turn

    def leave(self, turn: Turn) -> None:
        """It writes now, or gave up."""
        file = self._files[turn.ino]
        file.turns.remove(turn)
        file.left_at = trio.current_time()
        self._coming.discard(turn)
        self._count -= 1
        if not self._count:
            self._files.clear()

    def admit(self, *, room: int, spare: int) -> None:
        """Let through who may go: while there is `room`, and the first of several files for `spare` bytes beyond it.

        What is left of the first one's share is kept for it; others get what is beyond. A share is as much as `spare`:
        who has had one goes to the end, so that an endless file stops nobody.
        """
        room -= sum(turn.count for turn in self._coming)
        beyond = spare if len(self._files) > 1 else 0
        for ino, file in list(self._files.items()):
            if not file.turns and self._has_gone(ino, file):
                del self._files[ino]
            elif file.had > spare:
                self._files[ino] = self._files.pop(ino)
                file.had = 0
            else:
                for turn in file.turns:
                    if not turn.come.is_set():
                        if room <= 0 and turn.count > room + beyond:
                            return
                        self._let_through(file, turn)
                        room -= turn.count
                room, beyond = room - max(0, spare - file.had), 0

    def _has_gone(self, ino: InodeNo, file: _File) -> bool:
        return not self._is_open(ino) or trio.current_time() - file.left_at > _AWAY_S

    def _let_through(self, file: _File, turn: Turn) -> None:
        file.had += turn.count
        self._coming.add(turn)
        turn.come.set()
