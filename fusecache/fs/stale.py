"""What the kernel may still believe though it is not so any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fusecache.namespace.records import Place
from fusecache.types import Extent, InodeNo


class Pages(NamedTuple):
    """Bytes of an inode that are others than were read: they were damaged, and put right."""

    ino: InodeNo
    extent: Extent


Stale = Place | Pages | InodeNo
"""A name that leads elsewhere or nowhere now, bytes, or an inode whose attributes have changed."""

TellStale = Callable[[Stale], None]
"""Told of what changed other than by the kernel's own request. It never waits, and may forget: timeouts end, too."""
