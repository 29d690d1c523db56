"""The local bytes of an inode, as the workers need them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from fusecache.cache.contents import Base, Content, Contents
from fusecache.cache.fetch import Fetcher
from fusecache.errors import NoSuchObject, PermanentBackendError, PreconditionFailed
from fusecache.namespace.records import Inode
from fusecache.namespace.xattrs import pairs_of
from fusecache.persist.succession import Succession
from fusecache.types import Attributes, Extent, LowerId


class BaseChanged(PermanentBackendError):
    """The version that missing bytes come from is gone from the store."""


class Stamp(NamedTuple):
    """What tells whether a local file was written to: also by who does not tell us."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, fd: int) -> Stamp:
        status = os.fstat(fd)
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def open_content(contents: Contents, inode: Inode) -> Content:
    """Open the bytes of `inode`; the caller closes them."""
    base = Base.of(inode.base, inode.base_size)
    return contents.open(inode.ino, size=inode.size, base=base, local_blocks=inode.blocks, changed=inode.changed)


def stamp_of(content: Content) -> Stamp:
    """The stamp of a file that is there. Of one that was made from a version in the store, ctime tells nothing: when a
    block of that is fetched, which is no change, only mtime is set back."""
    stamp = Stamp.of(content.fd())
    return stamp if content.base is None else stamp._replace(ctime_ns=0)


def follow(content: Content, old: LowerId, new: LowerId) -> None:
    """The object that missing bytes come from was moved, by us, from `old` to `new`."""
    if content.base is not None and content.base.label == old:
        content.rebase(Base(*new, size=content.base.size))


async def make_whole(content: Content, fetcher: Fetcher, succession: Succession) -> None:
    """Fetch what is missing of a file.

    Raises:
        BaseChanged: the store no longer has it. TransientBackendError: what arrived is kept.
    """
    while missing := content.missing(Extent(0, content.size)):
        await make_present(content, missing, fetcher, succession)


async def make_present(content: Content, blocks: Sequence[int], fetcher: Fetcher, succession: Succession) -> None:
    """Fetch some blocks; if their object was moved meanwhile, look again what is missing.

    Raises:
        As `make_whole`.
    """
    try:
        await fetcher.ensure(content, blocks)
    except (NoSuchObject, PreconditionFailed) as exc:
        await find_base(content, succession, exc)


async def find_base(content: Content, succession: Succession, exc: PermanentBackendError) -> None:
    """The object that missing bytes come from is gone: have them come from where it is now.

    Raises:
        BaseChanged: nowhere.
    """
    base = None if content.base is None else await succession.instead_of(content.ino, content.base.label)
    if base is None or content.base is None:
        raise BaseChanged("base object changed") from exc
    content.rebase(Base(*base, size=content.base.size))


def attributes(inode: Inode) -> Attributes:
    return Attributes(inode.mode, inode.uid, inode.gid, inode.mtime_ns, inode.symlink, pairs_of(inode.xattrs))
