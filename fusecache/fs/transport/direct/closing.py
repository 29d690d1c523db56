"""RELEASEs, put off for a moment: nobody waits for one, and those of several files are one commit.

The kernel may tell of a close at any time later. So until its RELEASE is carried out, a file is one that is still
open, and nobody can tell the difference: what concerns it is carried out after it.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable

from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.calls import Calls, Header
from fusecache.types import HandleNo

log = logging.getLogger(__name__)

_MOST = 16
"""Of more a commit saves little, and the kernel lets 64 of its own requests wait before it holds the next ones back."""
_LONGEST_S = 0.01
"""Who asks without a pause does not keep the store from what was closed."""
_OF_OTHERS = frozenset(
    {
        Opcode.LOOKUP, Opcode.GETATTR, Opcode.GETXATTR, Opcode.CREATE, Opcode.OPEN, Opcode.READ, Opcode.RELEASE,
        Opcode.OPENDIR, Opcode.READDIR, Opcode.READDIRPLUS, Opcode.RELEASEDIR,
    }
)  # fmt: skip
"""What is about a file by its inode number only; or, as LOOKUP, is answered as for one that is open."""


class Closing:
    """Belongs to the loop. What is put off when this process ends was not answered: the next one is asked again."""

    def __init__(
        self, calls: Calls, answer: Callable[[Header, int, bytes], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._calls = calls
        self._answer = answer
        self._clock = clock
        self._put_off: list[tuple[Header, HandleNo]] = []
        self._inodes: set[int] = set()
        self._until = 0.0

    def __repr__(self) -> str:
        return f"<Closing {len(self._put_off)}>"

    def put_off(self, who: Header, number: HandleNo) -> None:
        """Take a RELEASE on; it is answered when it has been carried out."""
        if not self._put_off:
            self._until = self._clock() + _LONGEST_S
        self._put_off.append((who, number))
        self._inodes.add(who.nodeid)
        if len(self._put_off) >= _MOST:
            self.carry_out()

    def before(self, who: Header) -> None:
        """Carry out what a request that comes now has to find done."""
        if self._put_off and (
            who.opcode not in _OF_OTHERS or who.nodeid in self._inodes or self._clock() >= self._until
        ):
            self.carry_out()

    def carry_out(self) -> bool:
        """Close all that was put off, and answer; return whether there was any. Raises nothing: others ask, too."""
        if not self._put_off:
            return False
        put_off, self._put_off = self._put_off, []
        self._inodes.clear()
        error = 0
        try:
            self._calls.release_all([number for _, number in put_off])
        except Exception:
            log.exception("closes failed in a way nobody foresaw")
            error = errno.EIO
        for who, _ in put_off:
            self._answer(who, error, b"")
        return True
