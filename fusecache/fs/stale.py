"""What the kernel may still believe though it is not so any more."""

from __future__ import annotations

from collections.abc import Callable

from fusecache.namespace.records import Place
from fusecache.types import InodeNo

Stale = Place | InodeNo
"""A name that leads elsewhere or nowhere now, or an inode whose attributes have changed."""

TellStale = Callable[[Stale], None]
"""Told of what changed other than by the kernel's own request. It never waits, and may forget: timeouts end, too."""
