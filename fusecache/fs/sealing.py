"""Closed files that nobody would believe after a power loss: synced, and their bytes summed."""

from __future__ import annotations

from contextlib import closing

from fusecache.cache.contents import Contents
from fusecache.fs.opening import believe, content_of
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.namespace.seals import Held


async def seal(namespace: Namespace, contents: Contents, inode: Inode) -> bool:
    """Make the bytes of a closed file survive a power loss, by themselves, and find out what they hash to.

    False: somebody may still write them, by a mapping that has outlived the close.

    Raises:
        Stale: it is gone. ContentLost: the disk refused.
    """
    with closing(content_of(contents, inode)) as content:
        if content.clean:
            return True
        if not contents.sharing.is_quiet(content):
            return False
        believe(namespace.tables.seals, content, inode)
        emptied = content.emptied
        await contents.sum(content)
        synced = await contents.sync(content)
        if content.emptied != emptied:
            return True  # by somebody who will close it
        current = namespace.tables.inodes.get(inode.ino)
        is_all = synced.changes == content.changes and current.generation == inode.generation
        held = Held(current.generation if is_all else -1, synced.size, synced.blocks, synced.base_size)
        namespace.tree.synced(inode.ino, held, sums=content.sums.packed() if is_all else None)
        return True
