"""What the kernel is told without having asked: the messages that take back what it may believe."""

from __future__ import annotations

from fusecache.fs.transport.direct.abi import (
    FUSE_EXPIRE_ONLY,
    FUSE_NOTIFY_INVAL_ENTRY,
    FUSE_NOTIFY_INVAL_INODE,
    fuse_notify_inval_entry_out,
    fuse_notify_inval_inode_out,
    fuse_out_header,
)


def inval_inode(ino: int) -> bytes:
    """Return the message that the attributes of `ino` have changed.

    Its pages stay (a negative `off`): another version is another inode. So it waits for no READ either.
    """
    return _notification(FUSE_NOTIFY_INVAL_INODE, fuse_notify_inval_inode_out.pack(ino, -1, 0))


def inval_pages(ino: int, offset: int, length: int) -> bytes:
    """Return the message that these bytes of `ino` have to be read again. It waits for a READ of them in flight."""
    return _notification(FUSE_NOTIFY_INVAL_INODE, fuse_notify_inval_inode_out.pack(ino, offset, length))


def inval_entry(parent: int, name: bytes) -> bytes:
    """Return the message that `name` has to be looked up again before it is believed.

    Kernels before 6.2 know no flags here and forget the name at once, which serves as well.
    """
    body = fuse_notify_inval_entry_out.pack(parent, len(name), FUSE_EXPIRE_ONLY)
    return _notification(FUSE_NOTIFY_INVAL_ENTRY, body + name + b"\0")


def _notification(code: int, body: bytes) -> bytes:
    """A message that answers no request: `unique` is 0, and `error` is the code."""
    return fuse_out_header.pack(fuse_out_header.size + len(body), code, 0) + body
