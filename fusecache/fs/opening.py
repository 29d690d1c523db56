"""The content behind an inode, what is known of its bytes, and the open files that an earlier process had."""

from __future__ import annotations

from typing import Protocol

from fusecache.cache.content import Base, Content
from fusecache.cache.contents import Contents
from fusecache.cache.summing import begin as begin_sums
from fusecache.errors import Stale
from fusecache.fs.backed import left_to_kernel
from fusecache.fs.handles import OpenFile
from fusecache.fs.left import Left, LeftFile
from fusecache.fs.nameless import Nameless
from fusecache.namespace.records import Inode
from fusecache.namespace.seals import Seals
from fusecache.namespace.tables import Tables


def content_of(contents: Contents, inode: Inode) -> Content:
    """Open the content of an inode as its row tells of it."""
    base = Base.of(inode.base, inode.base_size)
    return contents.open(inode.ino, size=inode.size, base=base, local_blocks=inode.blocks, changed=inode.changed)


def cached_bytes_of(contents: Contents, inode: Inode) -> int:
    """Return how many bytes of an inode are here, which is no use of it."""
    base = Base.of(inode.base, inode.base_size)
    return contents.cached_bytes(inode.ino, size=inode.size, base=base, local_blocks=inode.blocks)


def believe(seals: Seals, content: Content, inode: Inode) -> None:
    """Before its bytes change, or are read to be summed: what was known of them at the last commit."""
    if content.sums.is_begun or content.clean or not content.size:
        begin_sums(content)
        return
    begin_sums(content, seals.get(inode.ino).sums_of(inode.generation))


def reopened(contents: Contents, inode: Inode, *, dirtied: bool, is_backed: bool) -> OpenFile:
    """Return the open file of an inode that is open since before this process.

    `dirtied`: its size and times are those of its content file, as nobody has committed them. `is_backed`: the kernel
    has that file, so all of it is here.
    """
    found = contents.places.stat(inode.ino)
    if is_backed and inode.base is not None and inode.blocks is None:
        contents.vouch(inode.ino, inode.size, inode.base)
    size = found.st_size if dirtied and found is not None else inode.size
    file = OpenFile(inode.ino, content_of(contents, inode._replace(size=size)), unlinked=not inode.nlink)
    file.dirtied, file.mtime_ns, file.ctime_ns = dirtied, inode.mtime_ns, inode.ctime_ns
    if dirtied and found is not None:
        if found.st_mtime_ns != inode.mtime_ns:  # else somebody set it, and nothing was written since
            file.mtime_ns, file.ctime_ns = found.st_mtime_ns, max(inode.ctime_ns, found.st_ctime_ns)
        file.content.sums.forget()
    if is_backed and found is not None:
        left_to_kernel(file, found)
    return file


class Reopening(Protocol):
    def go_on(self, left: LeftFile, inode: Inode, *, dirtied: bool) -> None: ...


def go_on(left: Left, tables: Tables, files: Reopening, nameless: Nameless) -> None:
    """Have all files that an earlier process of this mount had open, before anything is asked of them or drained.

    What has no row any more was closed already, and the answer to that got lost.
    """
    being_written = left.being_written()
    dirty = {task.ino for task in tables.tasks.parked_uploads()} & being_written
    for file in left.files:
        try:
            inode = tables.inodes.get(file.ino)
        except Stale:
            continue
        is_unlinked = not inode.nlink
        files.go_on(file, inode, dirtied=file.ino in (being_written if is_unlinked else dirty))
        if is_unlinked:
            nameless.keep(inode)
