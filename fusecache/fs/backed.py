"""Files that the kernel reads and writes by itself, in the cache: it tells when they are opened and closed, no more."""

from __future__ import annotations

import os

from fusecache.cache.base import REUSED_BYTES
from fusecache.cache.blocks import hash_block
from fusecache.cache.content import Content
from fusecache.cache.contents import Contents
from fusecache.cache.sharing import Sharing
from fusecache.cache.sparse import ContentLost
from fusecache.cache.summing import AT_ONCE_BYTES, begin, packed_sums
from fusecache.cache.sums import is_complete
from fusecache.fs.absent import Absent
from fusecache.fs.handles import OpenFile, is_for_writing


def can_be_backed(content: Content, flags: int) -> bool:
    """Whether the content's file has all that such an open needs."""
    if flags & os.O_TRUNC:
        return True
    if is_for_writing(flags):
        return content.whole and _is_recognised(content)
    return content.whole and content.on_disk


def _is_recognised(content: Content) -> bool:
    """Whether it will be found out what of a large version is as it was: else all of it would be sent again."""
    if content.base is None or content.base.size < REUSED_BYTES or not content.clean:
        return True
    sums = packed_sums(content)
    return sums is not None and is_complete(sums)


async def complete(file: OpenFile, flags: int, absent: Absent) -> None:
    """Fetch what a small file lacks that was just opened, so that the kernel may have it: if nobody else has it open.

    If it lacks it still, it is asked for.
    """
    if file.backed or file.dirtied or file.handles > 1:
        return
    await absent.complete(file.content)
    file.backed = file.handles == 1 and not file.dirtied and can_be_backed(file.content, flags)


def hand_over(file: OpenFile) -> int | None:
    """Return the descriptor for the kernel, good until the next await; None: it has to ask for the bytes."""
    if not file.backed:
        return None
    try:
        fd = file.content.fd()
    except ContentLost:
        if file.stamp is not None or not file.content.clean:
            raise
        file.backed = False  # the store has it still
        return None
    if file.stamp is None:
        if file.dirtied:  # who comes after a kill sees by that time whether the kernel has written since
            os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
        file.stamp = _stamp(os.fstat(fd))
        file.content.retain()  # for the kernel, which needs every byte of it
    return fd


def left_to_kernel(file: OpenFile, found: os.stat_result) -> None:
    """The kernel has had it since before this process; what was written after `found` is seen at the next look."""
    file.backed, file.stamp = True, _stamp(found)
    file.content.retain()


def take_back(file: OpenFile) -> None:
    """The kernel does not have it any more, or did not take it."""
    if file.stamp is not None:
        file.content.close()
    file.backed, file.stamp = False, None


def is_shared(file: OpenFile, sharing: Sharing) -> bool:
    """Whether the kernel has it, or a mapping that has outlived its close: others see what becomes of its bytes.

    While it is sent or synced, of mappings nothing is known.
    """
    return file.stamp is not None or (file.content.users == 1 and not sharing.is_unused(file.content))


def look(file: OpenFile, contents: Contents, *, closely: bool) -> int:
    """Take in what the kernel may have written to a backed file; return by how many bytes it has become longer.

    `closely`: its bytes may be others though its times are the same, as two writes within a tick of the clock leave
    them.
    """
    found = contents.places.stat(file.ino) if file.stamp is not None else None
    if found is None:  # the kernel does not have it yet
        return 0
    stamp = _stamp(found)
    if stamp == file.stamp and not closely:
        return 0
    content, before = file.content, file.content.size
    content.size = found.st_size
    content.changes += 1
    content.sums.forget()
    if stamp != file.stamp:
        file.stamp, file.mtime_ns = stamp, found.st_mtime_ns
        file.ctime_ns = max(file.ctime_ns, found.st_ctime_ns)
    return content.size - before


def sums_of(file: OpenFile, sharing: Sharing) -> bytes | None:
    """Return what is known of the bytes, packed as in `cache.sums`; None: nothing, as somebody may still write."""
    content = file.content
    if not file.backed:
        return packed_sums(content)
    if content.size > AT_ONCE_BYTES or not content.whole:
        return packed_sums(content) if sharing.is_quiet(content) else None
    data = sharing.quiet_bytes(content)  # with one descriptor for both
    if data is None or len(data) != content.size:
        return None
    begin(content)
    content.sums.put({0: hash_block(data)} if data else {})
    return content.sums.packed()


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
