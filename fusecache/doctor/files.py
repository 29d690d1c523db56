"""Content files against the rows: what nobody knows, and what should be there and isn't."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fusecache.cache.sums import differs, fits
from fusecache.doctor.findings import Finding, Kind, SetAside
from fusecache.doctor.snapshot import Snapshot
from fusecache.types import InodeNo

Look = Callable[[str, int], None]
"""Counts what was looked at; raises when nobody waits for it any more."""

_NAME = re.compile(r"([0-9a-f]+)(~[0-9a-f]+)?")
"""The inode's number; `~`: what the file was before it was emptied, kept for a power loss (cache/sparse.py)."""
_KNOWN = "SELECT 1 FROM inode WHERE ino = :ino UNION ALL SELECT 1 FROM doomed WHERE ino = :ino"
"""`doomed`: what was removed, and is deleted in a moment."""
# Files with bytes that neither a store has nor the rows. Those open for writing may be shorter than their row says.
_DIRTY = """
    SELECT inode.ino, size, base_size, blocks, due_ns IS NULL, inode.generation,
           CASE WHEN seal.generation = inode.generation AND base_size IS NULL THEN digest END
      FROM task JOIN inode ON inode.ino = task.ino LEFT JOIN seal ON seal.ino = task.ino
     WHERE task.kind = 1 AND mode & 61440 = 32768 AND (base_size IS NULL OR blocks IS NOT NULL)
       AND NOT (synced_generation IS inode.generation AND EXISTS (SELECT 1 FROM carried WHERE ino = inode.ino))"""
_DIRTY_PAGE = f"{_DIRTY} AND inode.ino > :after ORDER BY inode.ino LIMIT :count"
_DIRTY_ONE = f"{_DIRTY} AND inode.ino = ?"


class Dirty(NamedTuple):
    """What the rows say of a file that no store has yet."""

    ino: InodeNo
    size: int
    base_size: int | None
    blocks: bytes | None
    parked: int
    generation: int
    digest: bytes | None
    """What is known of its blocks, as `cache.sums` packs them."""

    @property
    def needs_file(self) -> bool:
        """Whether some of its bytes exist only in its content file."""
        return self.size > 0 and (self.base_size is None or self.size != self.base_size or any(self.blocks or b""))


def content_path(cache: Path, ino: int) -> Path:
    """Return where the bytes of an inode are."""
    return cache / "contents" / f"{ino & 0xFF:02x}" / f"{ino:x}"


def check_unknown(snapshot: Snapshot, cache: Path, look: Look) -> Iterator[Finding]:
    """Yield the content files of inodes that are not there.

    Names are listed before the rows are asked: a file is made after its row, and deleted after it.
    """
    for folder in sorted((cache / "contents").iterdir()) if (cache / "contents").is_dir() else ():
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        look("files", len(names))
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                yield Finding(Kind.FILE, f"contents/{folder.name}/{name}", "not of our making")
                continue
            ino = InodeNo(int(match[1], 16))
            if snapshot.first(_KNOWN, {"ino": ino}) is None and (folder / name).exists():  # else deleted just now
                told = f"{(folder / name).stat().st_size} bytes"
                yield Finding(Kind.FILE, f"contents/{folder.name}/{name}", told, SetAside(ino, name))


def check_aside(cache: Path) -> Iterator[Finding]:
    """Yield what recovery, or an earlier repair, has put aside."""
    aside = cache / "aside"
    for path in sorted(aside.iterdir()) if aside.is_dir() else ():
        yield Finding(Kind.ASIDE, f"aside/{path.name}", f"{path.stat().st_size} bytes")


def suspects(snapshot: Snapshot, cache: Path, look: Look) -> Iterator[Dirty]:
    """Yield the dirty files that seem to lack bytes: rows and files change one after the other, so look twice.

    Reads all bytes whose hash is known.
    """
    for page in snapshot.pages(_DIRTY_PAGE):
        for dirty in map(Dirty._make, page):
            look("files", 1)
            if _lacks(cache, dirty) or _differs(cache, dirty, look):
                yield dirty


def check_suspect(snapshot: Snapshot, cache: Path, suspect: Dirty, look: Look) -> Iterator[Finding]:
    """Yield a finding if a file that seemed to lack bytes a moment ago still does, and did not change."""
    lacks, differs = _lacks(cache, suspect), _differs(cache, suspect, look)
    if snapshot.first(_DIRTY_ONE, (suspect.ino,)) != suspect:
        return
    if lacks:
        yield Finding(Kind.BYTES, snapshot.path_of(suspect.ino), lacks)
    elif differs:
        where = str(content_path(cache, suspect.ino).relative_to(cache))
        yield Finding(Kind.ROT, snapshot.path_of(suspect.ino), f"{where}, {suspect.size} bytes")


def _lacks(cache: Path, dirty: Dirty) -> str:
    """Return what is missing of a file, in words; empty if nothing is."""
    path = content_path(cache, dirty.ino)
    where = path.relative_to(cache)
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return f"{where} is absent, it should have {dirty.size} bytes" if dirty.needs_file else ""
    if found < dirty.size and not dirty.parked:
        return f"{where} has {found} of {dirty.size} bytes"
    return ""


def _differs(cache: Path, dirty: Dirty, look: Look) -> bool:
    """Whether the bytes are others than were written, as far as is known."""
    if dirty.digest is None or dirty.parked or not fits(dirty.digest, dirty.size):
        return False
    return differs(content_path(cache, dirty.ino), dirty.size, dirty.digest, lambda count: look("bytes", count))
