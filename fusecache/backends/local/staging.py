"""What isn't an object yet: bodies and directories aside, until a rename puts them in their place."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fusecache.backends.local.tree import STAGING

_PUT = re.compile(r"put-[0-9a-f]{32}")
_STALE_NS = 24 * 3600 * 10**9
"""A put that has not written for so long was killed."""


class Staging:
    """The directory for it, below a store's root. Made by the first put, which removes what killed ones left there."""

    def __init__(self, root: Path, wall_ns: Callable[[], int]) -> None:
        self.path = root / STAGING
        self._wall_ns = wall_ns
        self._is_swept = False

    def make(self) -> Path:
        """Return the directory; it exists."""
        self.path.mkdir(exist_ok=True)
        if not self._is_swept:
            self._is_swept = True
            self._sweep()
        return self.path

    @contextmanager
    def put(self) -> Iterator[Path]:
        """Give a path for something to be put; what is still there at the end goes."""
        temporary = self.make() / f"put-{uuid.uuid4().hex}"
        try:
            yield temporary
        finally:
            self.discard(temporary.name)

    def is_put(self, name: str) -> bool:
        """Whether `put` gives such names."""
        return _PUT.fullmatch(name) is not None

    def discard(self, name: str) -> None:
        """Remove what a put has left, if it is there."""
        with suppress(FileNotFoundError):
            try:
                (self.path / name).unlink()
            except IsADirectoryError:
                shutil.rmtree(self.path / name)

    def _sweep(self) -> None:
        with os.scandir(self.path) as found:
            for entry in found:
                with suppress(FileNotFoundError):  # another process sweeps, too
                    age_ns = self._wall_ns() - entry.stat(follow_symlinks=False).st_mtime_ns
                    if self.is_put(entry.name) and age_ns > _STALE_NS:
                        self.discard(entry.name)
