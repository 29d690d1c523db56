"""What a crash or a power loss has left of content files that nobody has open."""

from __future__ import annotations

import os
from pathlib import Path

from fusecache.cache.folders import sync_directory
from fusecache.cache.ledger import Ledger
from fusecache.cache.places import Places, delete
from fusecache.cache.sparse import kept_path
from fusecache.cache.sums import differs, fits, is_complete
from fusecache.types import InodeNo


class Remains:
    """Puts files right, or aside, before they are used."""

    def __init__(self, places: Places, aside: Path, ledger: Ledger) -> None:
        """`aside`: the directory where people find what is not believed."""
        self._places = places
        self._aside = aside
        self._ledger = ledger

    def forget_kept(self, ino: InodeNo, token: int) -> None:
        """What the file was before it was emptied is not needed any more. Absent is fine."""
        delete(kept_path(self._places.path(ino), token), self._ledger)

    def bring_back(self, ino: InodeNo, token: int) -> None:
        """Make the file what it was before it was emptied, if it was."""
        path = self._places.path(ino)
        kept = Path(kept_path(path, token))
        if kept.exists():
            kept.rename(path)
            sync_directory(str(kept.parent))

    def rewrite(self, ino: InodeNo, data: bytes) -> None:
        """Make `data` all of the file, not synced."""
        with open(os.open(self._places.path(ino), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)

    def proves(self, ino: InodeNo, size: int, sums: bytes) -> bool:
        """Read `size` bytes, and return whether they are all there, known, and as they were."""
        return fits(sums, size) and is_complete(sums) and not differs(Path(self._places.path(ino)), size, sums)

    def cut(self, ino: InodeNo, size: int) -> None:
        """Make the file no longer than that."""
        if (found := self._places.stat(ino)) is not None and found.st_size > size:
            os.truncate(self._places.path(ino), size)

    def put_aside(self, ino: InodeNo) -> bool:
        """Move the file out of the store, to where people find it; False if there is none."""
        if self._places.stat(ino) is None:
            return False
        aside = self.aside_path(ino)
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        Path(self._places.path(ino)).rename(aside)
        sync_directory(str(aside.parent))
        return True

    def aside_path(self, ino: InodeNo) -> Path:
        """Where `put_aside` moves the file."""
        return self._aside / f"{ino:x}"
