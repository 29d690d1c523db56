"""How much the cache disk has, also when it is asked for what somebody has removed."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class Disk:
    """The file system of a directory."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError: it is not there."""
        self._directory = directory
        self._last = os.statvfs(directory)
        self._is_gone = False

    def statvfs(self) -> os.statvfs_result:
        """Return what it says, or said last: without its directory readers go on from the store."""
        try:
            self._last = os.statvfs(self._directory)
        except OSError as exc:
            if not self._is_gone:
                log.critical("the cache is gone, and what was only there is lost: %s", exc)
            self._is_gone = True
        return self._last
