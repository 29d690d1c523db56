"""Which files the kernel may have, to read and write by itself: where it can, and where there is room for that."""

from __future__ import annotations

import errno
import logging

from fusecache.cache.contents import Contents
from fusecache.fs.backed import hand_over, take_back
from fusecache.fs.files import Files
from fusecache.fs.handles import is_for_writing
from fusecache.fs.space import Space
from fusecache.namespace.namespace import Namespace
from fusecache.types import HandleNo, InodeNo

log = logging.getLogger(__name__)

_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Why the kernel does not take a file that may take the next one."""


class Backing:
    """Decides for each open; off until `begin`."""

    def __init__(self, namespace: Namespace, contents: Contents, files: Files, space: Space) -> None:
        self._ns = namespace
        self._contents = contents
        self._files = files
        self._space = space
        self._is_on = False

    def begin(self) -> None:
        """From now on the kernel may have whole files of the cache."""
        self._is_on = self._contents.sharing.is_on = True

    def is_allowed(self, ino: InodeNo, flags: int) -> bool:
        """Whether the kernel may have this file: not without room for what it writes, or if a close waits for the
        store; nor while others are slowed, who wait for what is clean of it."""
        if not self._is_on or self._ns.policies.waits_for_store(ino):
            return False
        return self._space.admits_unseen() if is_for_writing(flags) else self._space.admits(0)

    def of(self, number: HandleNo) -> int | None:
        """The descriptor of the content's file, if the kernel may have it; good until the next await."""
        return hand_over(self._files.opened(number))

    def refused(self, number: HandleNo, exc: OSError) -> None:
        """The kernel does not take this file: it asks, and unless that may pass, for all that is opened later.

        Only while there is no other handle.
        """
        take_back(self._files.opened(number))
        if exc.errno not in _PASSING:
            why = exc.strerror
            log.warning("the kernel does not read the cache's files by itself (%s): it asks, which is slower", why)
            self._is_on = False
