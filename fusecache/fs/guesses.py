"""Whether what a listing tells of files is shown as their attributes: so `ls -l` of a lake costs no HEAD an object.

Objects may have attributes of their own, in their metadata, of which only a HEAD tells: what another mount has put, or
s3fs, or rclone. A lake that others fill has none. So while a directory is walked, one object of it is asked for; if
there is no more to that than the listing told, the others are shown as listed, until somebody opens one.
"""

from __future__ import annotations

import trio

from fusecache.errors import Stale
from fusecache.namespace.records import Inode
from fusecache.types import InodeNo

_WALK_S = 2.0
"""How long after it was listed, or a name in it was looked up, a directory counts as walked."""
_REMEMBERED = 100_000
_S = 10**9


class Guesses:
    """Learns from HEADs where a listing tells all."""

    def __init__(self, *, is_allowed: bool) -> None:
        """Not `is_allowed`: each object is asked for."""
        self._is_allowed = is_allowed
        self._plain: dict[InodeNo, bool] = {}
        """Directories of which an object was asked for: whether no one had more to it."""
        self._shown: set[InodeNo] = set()
        """Directories of whose files the kernel was told guesses, which may have been wrong."""
        self._walked: dict[InodeNo, float] = {}

    def __repr__(self) -> str:
        return f"<Guesses in {sum(self._plain.values())} of {len(self._plain)} directories>"

    def walked(self, directory: InodeNo) -> None:
        """Somebody lists it."""
        if len(self._walked) >= _REMEMBERED:
            self._walked.clear()
        self._walked[directory] = trio.current_time()

    def learnt(self, directory: InodeNo, guess: Inode, told: Inode) -> bool:
        """A HEAD `told` of an object of which a listing had made a `guess`; return whether the kernel may have a wrong
        one."""
        is_wrong = differs(guess, told)
        if len(self._plain) >= _REMEMBERED:
            self._plain.clear()
        self._plain[directory] = self._plain.get(directory, True) and not is_wrong
        if self.are_shown(directory):
            self._shown.add(directory)
        return is_wrong and directory in self._shown

    def are_shown(self, directory: InodeNo) -> bool:
        """Whether the kernel may keep guesses about the files of a directory, as what else it is told."""
        return self._is_allowed and self._plain.get(directory, False)

    def answers(self, directory: InodeNo) -> bool:
        """Whether a guess will do for who looks a name up: it is part of a walk."""
        now = trio.current_time()
        if not self.are_shown(directory) or now - self._walked.get(directory, -_WALK_S) >= _WALK_S:
            return False
        self._walked[directory] = now
        return True


def is_guess(inode: Inode) -> bool:
    """Whether only a listing has told of its attributes."""
    return not inode.headed and inode.base_key is not None and not inode.is_dir


def differs(guess: Inode, told: Inode) -> bool:
    """Whether there is more to an object than a listing tells. Its time is told to the second by a HEAD."""
    return _told(guess) != _told(told)


def check_guess(guess: Inode, told: Inode) -> None:
    """See that who was judged by a guess may do what he asked for.

    Raises:
        Stale: it was wrong. The kernel looks the name up once more, judges by that, and asks again.
    """
    if is_guess(guess) and differs(guess, told):
        raise Stale(f"inode {guess.ino} has other attributes than a listing told")


def _told(inode: Inode) -> tuple[int, int, int, int]:
    return inode.mode, inode.uid, inode.gid, inode.mtime_ns // _S
