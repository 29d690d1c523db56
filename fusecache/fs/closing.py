"""What is committed of a file when nobody writes it any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from fusecache.cache.changes import changed_map
from fusecache.cache.sharing import Sharing
from fusecache.errors import FusecacheError
from fusecache.fs.backed import sums_of
from fusecache.fs.handles import OpenFile
from fusecache.namespace.closes import Closed, Closes
from fusecache.namespace.records import Inode
from fusecache.namespace.seals import Held
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

T = TypeVar("T")


def closed(file: OpenFile, row: Inode, sharing: Sharing, *, held: Held | None = None) -> Closed:
    """Return what the row, which says `row` so far, is to say of a file."""
    content = file.content
    inode = row._replace(
        size=content.size,
        mtime_ns=file.mtime_ns,
        ctime_ns=max(row.ctime_ns, file.ctime_ns),
        blocks=content.block_map() or None,
        changed=changed_map(content),
        base_size=content.base.size if content.base is not None else None,
    )
    return Closed(inode, sums_of(file, sharing), held)


def committed(closes: Closes, ones: Sequence[Closed], *, now_ns: int) -> list[Closed]:
    """Commit all at once, or if that is refused each by itself, and return those that were taken.

    What was refused is said in the log: a restart takes it from the content's file.
    """
    try:
        if ones:
            closes.commit(ones, now_ns=now_ns)
    except FusecacheError as exc:
        if len(ones) > 1:
            return [taken for one in ones for taken in committed(closes, [one], now_ns=now_ns)]
        _refused(ones[0].inode.ino, exc)
        return []
    return list(ones)


def of_each(files: Iterable[OpenFile], close: Callable[[OpenFile], T]) -> list[T]:
    """Return what `close` returns for each; what it raises is said in the log, and the affair of that one alone."""
    results = []
    for file in files:
        try:
            results.append(close(file))
        except FusecacheError as exc:
            _refused(file.ino, exc)
    return results


def _refused(ino: InodeNo, exc: FusecacheError) -> None:
    log.log(exc.level, "the close of inode %d: %s: %s", ino, type(exc).__name__, exc)
