"""What is done before the first request: after a crash of the process, and after one of the machine.

Nothing here scans the content store: only files with bytes that no store has are looked at, and read
only those that were closed in order and not synced before the power went.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from fusecache.cache.contents import Contents
from fusecache.fs.left import NOTHING, Left
from fusecache.namespace.closes import Closed
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.namespace.salvage import Doubt, Salvage
from fusecache.namespace.seals import Held
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_MAX_ASIDES = 1000
"""How many of them `stat` lists."""
_READERS = 8
"""Files that are read at a time, to be compared with their hash: what one disk does in parallel."""


class Recovery:
    """Makes tree and content files agree. Everything it does may be interrupted, and done again."""

    def __init__(
        self,
        namespace: Namespace,
        contents: Contents,
        *,
        boot_id: str,
        delay_ns: int,
        wall_ns: Callable[[], int],
    ) -> None:
        self._ns = namespace
        self._t = namespace.tables
        self._contents = contents
        self._boot_id = boot_id
        self._salvage = Salvage(namespace.tables, namespace.policies, delay_ns=delay_ns)
        self._wall_ns = wall_ns

    def run(self, left: Left = NOTHING) -> None:
        """Recover; the namespace is this boot's when this returns. What is `left` open stays as it is.

        Raises:
            NamespaceError: the database cannot be used.
        """
        if self._ns.database.boot_id != self._boot_id:
            self._after_power_loss()
        else:
            self._after_crash(left.being_written())
        for aside in self._salvage.asides():
            self._contents.remains.put_aside(aside.ino)
        for ino in set(self._t.inodes.orphans()) - left.open_files():
            self._contents.drop(ino)
            self._ns.tree.reap(ino)
        self._ns.tree.recover(now_ns=self._wall_ns(), still_written=left.being_written())
        self._ns.look_again_at_staging(now_ns=self._wall_ns())
        if self._ns.database.boot_id != self._boot_id:
            self._ns.database.sync()
            self._ns.database.made_whole(self._boot_id)

    def asides(self) -> list[dict[str, object]]:
        """What was put aside and is still there, in the words of `stat`."""
        found = []
        for aside in self._salvage.asides()[:_MAX_ASIDES]:
            file = self._contents.remains.aside_path(aside.ino)
            if file.exists():
                path = "/" + aside.path.decode("utf-8", "surrogateescape")
                found.append({"path": path, "file": str(file), "size": file.stat().st_size, "at_ns": aside.at_ns})
        return found

    def _after_crash(self, still_written: Collection[InodeNo]) -> None:
        """The page cache has it all: what was being written has the size and the times of its file."""
        for ino, token in self._t.seals.kept():
            if not self._contents.exists(ino):  # killed while it was being emptied
                self._contents.remains.bring_back(ino, token)
        for task in self._t.tasks.parked_uploads():
            assert task.ino is not None
            inode, found = self._t.inodes.get(task.ino), self._contents.places.stat(task.ino)
            if found is None or inode.symlink is not None or task.ino in still_written:
                continue
            written = inode._replace(size=found.st_size)
            if found.st_mtime_ns != inode.mtime_ns:  # else somebody set it, and nothing was written since
                changed_ns = max(inode.ctime_ns, found.st_ctime_ns)
                written = written._replace(mtime_ns=found.st_mtime_ns, ctime_ns=changed_ns)
            if written != inode:
                self._ns.closes.commit([Closed(written)], now_ns=self._wall_ns())

    def _after_power_loss(self) -> None:
        """Only what was synced, or proves to be whole, is believed."""
        doubts = self._salvage.doubts()
        with ThreadPoolExecutor(_READERS) as pool:
            proofs = list(pool.map(self._proves, doubts))
        kept, lost = [], []
        for doubt, is_proved in zip(doubts, proofs, strict=True):
            held = self._all_of(doubt.inode) if is_proved else self._held(doubt)
            if held is None:
                lost.append(doubt)
                continue
            self._contents.remains.cut(doubt.inode.ino, held.size)
            kept.append((doubt.inode, held))
        proved = {doubt.inode.ino for doubt, is_proved in zip(doubts, proofs, strict=True) if is_proved}
        self._salvage.kept(kept, proved=proved)
        for doubt in lost:
            self._put_aside(doubt)
        if lost:
            log.error("%d files did not outlive a power loss; `fusecache stat` lists what is left of them", len(lost))

    def _all_of(self, inode: Inode) -> Held:
        return Held(inode.generation, inode.size, None, None)

    def _held(self, doubt: Doubt) -> Held | None:
        """Return what was synced, None if nothing ever was; the content file is that when this returns."""
        held = doubt.seal.held()
        if held is not None and (carried := self._t.seals.carried(doubt.inode.ino)) is not None:
            self._contents.remains.rewrite(doubt.inode.ino, carried)
            return held._replace(carried=carried)  # until the file is synced, or in the store
        if held is None or doubt.seal.synced_token is None:
            return None
        self._contents.remains.bring_back(doubt.inode.ino, doubt.seal.synced_token)
        return self._shortened(doubt.inode, held)

    def _proves(self, doubt: Doubt) -> bool:
        """Whether the file's bytes are those that were written, all of them. For worker threads."""
        inode, seal = doubt.inode, doubt.seal
        sums = seal.sums_of(inode.generation)
        return sums is not None and inode.base is None and self._contents.remains.proves(inode.ino, inode.size, sums)

    def _shortened(self, inode: Inode, held: Held) -> Held | None:
        """A later truncation may have reached the disk, and the row that told of it not; None: the file is lost.

        Of a file of which every byte is the store's, or a zero, nobody has synced how long it is here.
        """
        if held.base_size is not None and not any(held.blocks or b""):
            return held
        found = self._contents.places.stat(inode.ino)
        if found is None:
            return None if held.size else held
        if found.st_size >= held.size:
            return held
        base_size = None if held.base_size is None else min(held.base_size, found.st_size)
        return held._replace(size=found.st_size, base_size=base_size)

    def _put_aside(self, doubt: Doubt) -> None:
        for aside in self._salvage.put_aside(doubt, now_ns=self._wall_ns()):
            path = aside.path.decode("utf-8", "backslashreplace")
            file = self._contents.remains.aside_path(aside.ino)
            log.error("/%s: its bytes did not outlive a power loss; what is left is kept as %s", path, file)
