"""The ends of writing: what a close leaves in the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Inode
from fusecache.namespace.seals import Held
from fusecache.namespace.tables import Tables

MAX_DELAY_FACTOR = 10
"""A file that is rewritten again and again is uploaded at the latest after so many delays."""


class Closed(NamedTuple):
    """A file that nobody writes for now: size, times and block map of `inode` are final."""

    inode: Inode
    sums: bytes | None = None
    """Of all its bytes: then they are believed after a power loss; so is what is `held` by the disk."""
    held: Held | None = None


class Closes:
    """One transaction for all that are closed together."""

    def __init__(self, tables: Tables, policies: Policies) -> None:
        self._t = tables
        self._policies = policies

    def commit(self, closed: Sequence[Closed], *, now_ns: int) -> None:
        """Take these files in: the upload of each falls due. All of them, or none."""
        t = self._t
        with t.database.transaction():
            for inode, sums, held in closed:
                t.inodes.written(inode)
                delay_ns = self._policies.delay_ns_of(inode.ino)
                due_ns, cap_ns = now_ns + delay_ns, delay_ns * MAX_DELAY_FACTOR
                t.written.closed(inode.ino, seq=t.database.next_seq(), due_ns=due_ns, cap_ns=cap_ns)
                if sums is not None:
                    t.seals.summed(inode.ino, inode.generation, sums)
                if held is not None:
                    t.seals.synced(inode.ino, held)
