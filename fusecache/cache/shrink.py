"""Open contents: of one that an application has open, and doesn't write, the store has every byte, too."""

from __future__ import annotations

from contextlib import suppress

from fusecache.cache.content import Content
from fusecache.cache.sparse import ContentLost

_STEP_BYTES = 16 << 20
"""So much at a time, some milliseconds of the file system's."""


def can_shrink(content: Content) -> bool:
    """Whether something of it is on the disk that its object has, and nobody but who opened it first has a use of it.

    Whoever sends or syncs it holds it open, too, and relies on what is here. Who reads looks again after each wait.
    """
    is_ours = content.users - content.fetches == 1
    return content.clean and is_ours and content.presence is not None and content.is_here


def shrink(content: Content, wanted: int) -> int:
    """Take its blocks off the disk, where it was left off, until so many bytes are free; return how many that are.

    So each goes once around; of a sequential reader, where it has been. A disk that makes no holes keeps them.
    """
    assert content.presence is not None
    freed = 0
    with suppress(ContentLost):
        while freed < wanted and (blocks := content.presence.next(max(1, _STEP_BYTES // content.block_size))):
            left = -(-(wanted - freed) // content.block_size)
            freed += lose(content, blocks[: max(1, left)])
    return freed


def lose(content: Content, blocks: range) -> int:
    """Take blocks of a clean content off the disk, so that they are absent; return the bytes that frees.

    Raises ContentLost: the disk makes no holes. They are as they were.
    """
    assert content.clean, f"{content!r}: no store has these bytes"
    assert content.presence is not None
    content.unvouched()
    content.fd()
    end = min(blocks.stop * content.block_size, content.size)
    freed = content.file.punch(blocks.start * content.block_size, end)
    disown(content, blocks)
    return freed


def disown(content: Content, blocks: range) -> None:
    """Blocks of a clean content are absent from now on, whatever the disk has there."""
    assert content.presence is not None
    content.unvouched()
    content.presence.discard(blocks)
    content.sums.forget()
    content.watch()
