"""Going on with the connection of an earlier process of this mount, and leaving it to a later one.

There is no INIT again: what was agreed on, what is open and which files the kernel has are in the `Logbook`. What was
being answered is asked again (FUSE_NOTIFY_RESEND); what was not read yet waits anyway.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.logbook import Logbook

log = logging.getLogger(__name__)

FUSE, HANDLES, NAMES = "fuse", "handles", "names"


@dataclass(frozen=True, slots=True)
class Connection:
    """One end of /dev/fuse, and what is known of the other."""

    fd: int
    logbook: Logbook

    def resend(self) -> None:
        """Have the kernel ask again what an earlier process has read and did not answer: before anything is read."""
        os.write(self.fd, abi.fuse_out_header.pack(abi.fuse_out_header.size, abi.FUSE_NOTIFY_RESEND, 0))


@dataclass(frozen=True, slots=True)
class Succession:
    """What comes before and after this process, as far as a transport is concerned."""

    before: Connection | None = None
    """To go on with; None: to mount."""
    keep: Callable[[str, int], None] | None = None
    """Has a descriptor kept for the next process; None: nobody would, and the mount ends with this one."""
    hand_over: trio.Event | None = None
    """Set when the next process is to go on: nothing more is read then."""
    ends: Callable[[], bool] = lambda: False
    """Whether the mount is to end, and not to be gone on with, when this is cancelled."""


ALONE = Succession()


def found(descriptors: Mapping[str, int]) -> Connection | None:
    """Return what an earlier process left, if it did.

    Raises:
        MountError: something else is in its place.
    """
    if FUSE not in descriptors:
        return None
    return Connection(descriptors[FUSE], Logbook.found(descriptors[HANDLES], descriptors[NAMES]))


def kept(connection: Connection, keep: Callable[[str, int], None] | None) -> bool:
    """Have all of a new connection kept; False: the kernel does not ask again, or there is nobody who would."""
    if keep is None or not connection.logbook.agreement.features & abi.FUSE_HAS_RESEND:
        return False
    for name, fd in zip((HANDLES, NAMES, FUSE), (*connection.logbook.descriptors, connection.fd), strict=True):
        keep(name, fd)
    return True
