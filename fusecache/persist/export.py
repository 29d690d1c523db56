"""Brings to safety what no store has: for when one is gone for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fusecache.cache.contents import Contents
from fusecache.errors import FusecacheError
from fusecache.namespace.records import Dentry, Inode, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.persist.folder import Folder
from fusecache.persist.local import Stamp, open_content
from fusecache.persist.pages import pages
from fusecache.persist.paths import Paths
from fusecache.types import ROOT_INO, Extent, InodeNo

_TRIES = 3
"""Of a file that is written to while it is copied."""
_SHOWN = 1000


@dataclass(slots=True)
class Exported:
    """What was saved, and what could not be had."""

    files: int = 0
    bytes: int = 0
    symlinks: int = 0
    directories: int = 0
    failures: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    """The first thousand: path, error."""

    def as_dict(self) -> dict[str, object]:
        return {
            "files": self.files,
            "bytes": self.bytes,
            "symlinks": self.symlinks,
            "directories": self.directories,
            "failures": self.failures,
            "failed": list(self.failed),
        }


class Exporter:
    """Copies dirty files to a directory, with the paths that they have below the mount. It changes nothing here."""

    def __init__(self, tables: Tables, contents: Contents) -> None:
        self._t = tables
        self._contents = contents
        self._paths = Paths(tables)

    async def export(self, ino: InodeNo, to: Path, *, progress: Callable[[dict[str, object]], None]) -> Exported:
        """Copy what the store lacks of the bytes at or below `ino`, that what never leaves staging among it.

        With modes, times and symbolic links, and the directories that only exist here; nothing is overwritten. Of
        a file whose bytes are in part only in the store there is `<name>.incomplete`, with zeros for those.
        Raises:
            OSError: `to` cannot be made or opened. After a cancellation what was copied is there.
        """
        done = Exported()
        folder = await trio.to_thread.run_sync(Folder, to)
        with closing(folder):
            async for page in pages(self._t, self._t.database.seq):
                for task, row in self._unsaved(page, ino):
                    await self._save(task, row, folder, done)
                    progress(done.as_dict() | {"failed": []})
            await trio.to_thread.run_sync(folder.finish)
        return done

    def _unsaved(self, page: list[Task], ino: InodeNo) -> Iterator[tuple[Task, Dentry]]:
        """The names, at or below `ino`, of what has bytes, a target or a directory that the store lacks."""
        for task in page:
            if task.kind not in (TaskKind.UPLOAD, TaskKind.MARKER):
                continue
            for row in self._t.dentries.of_inode(task.inode_no):
                if ino == row.ino or self._paths.is_below(row.parent, ino):
                    yield task, row

    async def _save(self, task: Task, row: Dentry, folder: Folder, done: Exported) -> None:
        names: list[bytes] = [row.name]
        try:
            names = self._t.directories.names(row.place)
            await self._save_as(task, row, names, folder, done)
        except (OSError, FusecacheError) as exc:
            why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
            done.failures += 1
            if len(done.failed) < _SHOWN:
                done.failed.append({"path": _text(names), "error": why})

    async def _save_as(self, task: Task, row: Dentry, names: list[bytes], folder: Folder, done: Exported) -> None:
        inode = self._t.inodes.get(row.inode_no)
        above = [self._t.inodes.get(each) for each in self._above(row.parent)]
        if task.kind == TaskKind.MARKER:
            if not self._t.dentries.has_storable(inode.ino):  # else what is in it brings it along
                await trio.to_thread.run_sync(folder.add_directory, names, [*above, inode])
                done.directories += 1
        elif inode.symlink is not None:
            await trio.to_thread.run_sync(folder.add_symlink, names, above, inode)
            done.symlinks += 1
        elif inode.is_special:
            raise FusecacheError("a fifo, socket or device, which has no bytes")
        else:
            await self._save_file(names, above, inode, folder, done)

    def _above(self, parent: InodeNo) -> list[InodeNo]:
        """The directories that lead to a name, the uppermost first, without the root."""
        above = [ino for ino in (parent, *self._t.directories.ancestors(parent)) if ino != ROOT_INO]
        return above[::-1]

    async def _save_file(
        self, names: list[bytes], above: list[Inode], inode: Inode, folder: Folder, done: Exported
    ) -> None:
        with closing(open_content(self._contents, inode)) as content, content.held():
            missing = content.missing(Extent(0, content.size))
            if missing:
                names = [*names[:-1], names[-1] + b".incomplete"]
            fd = content.fd() if content.on_disk else None
            for left in reversed(range(_TRIES)):
                before, size = Stamp.of(fd) if fd is not None else None, content.size
                await trio.to_thread.run_sync(folder.add_file, names, above, inode, fd, size)
                is_torn = fd is not None and before != Stamp.of(fd)
                if is_torn and left:
                    await trio.to_thread.run_sync(folder.remove, names)
                else:
                    break
        done.files, done.bytes = done.files + 1, done.bytes + size
        if missing:
            lost = sum(content.block_length(block) for block in missing)
            raise FusecacheError(f"{lost} of its {size} bytes are only in the store: zeros in {_text(names[-1:])}")
        if is_torn:
            raise FusecacheError("it was written to while it was copied: the copy is of several moments")


def _text(names: list[bytes]) -> str:
    return b"/".join(names).decode("utf-8", "surrogateescape")
