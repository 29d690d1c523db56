"""Changes to a local store: each appears at once and whole, and is on the device when it returns."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from threading import Lock

from fusecache.backends.base import Source
from fusecache.backends.local.attributes import Mark, imply, mark, mark_of, unmark, write_metadata
from fusecache.backends.local.rename import rename_new
from fusecache.backends.local.staging import Staging
from fusecache.backends.local.tree import LocalTree, entries, etag_of
from fusecache.errors import NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import ETag, Extent, ObjectKey

Fill = Callable[[int], None]
"""Writes a body into a descriptor."""


class LocalWriter:
    """Puts and deletes below a tree's root. A kill at any moment leaves the old objects or the new ones.

    One lock covers each change of names, so that a put does not lose its directory to a delete and
    a condition holds until the rename; that is among this process's calls only. Bodies and fsyncs are outside.
    """

    def __init__(self, tree: LocalTree, staging: Staging, wall_ns: Callable[[], int]) -> None:
        self._tree = tree
        self._staging = staging
        self._wall_ns = wall_ns
        self._names = Lock()

    def put(
        self, key: ObjectKey, fill: Fill, metadata: Mapping[str, str], if_match: ETag | None, if_none_match: bool
    ) -> ETag:
        """Write a body aside and rename it to its key; a marker is there at once with its metadata."""
        target = self._tree.path(key)
        if key.endswith("/"):
            return self._put_marker(key, target, metadata, if_match, if_none_match)
        with self._staging.put() as temporary:
            etag = self._write(temporary, fill, metadata)
            with self._names:
                self._check_way(key, target)
                self._check_condition(key, if_match, if_none_match)
                made = self._make_parents(key, target)
                if target.is_dir():
                    self._make_way(key, target)
                temporary.rename(target)
        for directory in {target.parent, *made}:
            sync_directory(directory)
        return etag

    def delete(self, key: ObjectKey, if_match: ETag | None) -> None:
        """Remove an object if it is there, and the directories that only it kept, or that only an earlier one did."""
        path = self._tree.path(key)
        with self._names:
            if self._tree.obstacle(path) is not None:
                return
            if if_match is not None:
                with suppress(NoSuchObject):
                    self._check_version(key, if_match)
            if key.endswith("/"):
                left = self._prune(path, self._remove_marker(path))
            else:
                left = self._prune(path.parent, self._remove_file(path))
        sync_directory(left)

    def _write(self, path: Path, fill: Fill, metadata: Mapping[str, str]) -> ETag:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fill(fd)
            write_metadata(fd, metadata)
            now_ns = self._wall_ns()
            os.utime(fd, ns=(now_ns, now_ns))
            os.fsync(fd)
            return etag_of(os.fstat(fd))
        finally:
            os.close(fd)

    def _put_marker(
        self, key: ObjectKey, target: Path, metadata: Mapping[str, str], if_match: ETag | None, if_none_match: bool
    ) -> ETag:
        with self._names:
            self._check_way(key, target)
            self._check_condition(key, if_match, if_none_match)
            made = self._make_parents(key, target)
            try:
                self._make_directory(target, lambda directory: mark(directory, metadata))
            except FileExistsError:
                if not target.is_dir():
                    raise StoreRefused(f"{key}: a file is in the way") from None
                mark(target, metadata)
        for directory in {target, target.parent, *made}:
            sync_directory(directory)
        return etag_of(target.stat())

    def _check_way(self, key: ObjectKey, target: Path) -> None:
        """Refuse what would replace somebody's link or fifo, or go below one: outside of the store, or to nowhere."""
        if (obstacle := self._tree.obstacle(target)) is not None:
            raise StoreRefused(f"{key}: {obstacle} is in the way, which is neither a file nor a directory")

    def _check_condition(self, key: ObjectKey, if_match: ETag | None, if_none_match: bool) -> None:
        if if_match is None and not if_none_match:
            return
        try:
            found = self._tree.info(key, metadata=False).etag
        except NoSuchObject:
            if if_match is not None:
                raise PreconditionFailed(f"{key}: gone, {if_match} was expected") from None
            return
        if if_none_match or found != if_match:
            raise PreconditionFailed(f"{key}: holds {found}")

    def _check_version(self, key: ObjectKey, if_match: ETag) -> None:
        """Refuse another version than `if_match`. Raises NoSuchObject if there is none."""
        found = self._tree.info(key, metadata=False).etag
        if found != if_match:
            raise PreconditionFailed(f"{key}: holds {found}, {if_match} was expected")

    def _make_parents(self, key: ObjectKey, target: Path) -> list[Path]:
        """Create the directories above `target`; return those whose entries changed."""
        missing: list[Path] = []
        parent = target.parent
        while parent != self._tree.root and not parent.is_dir():
            missing.append(parent)
            parent = parent.parent
        if missing and not self._tree.root.is_dir():
            raise NoSuchObject(f"file://{self._tree.root}: no such directory")
        for directory in reversed(missing):
            try:
                self._make_directory(directory, imply)
            except (FileExistsError, NotADirectoryError):
                if not directory.is_dir():  # else another process made it
                    raise StoreRefused(f"{key}: {directory} is a file, and can have nothing below it") from None
        return [directory.parent for directory in missing]

    def _make_directory(self, target: Path, mark_it: Callable[[Path], None]) -> None:
        """Have a directory appear together with its attribute. Raises FileExistsError if there is anything."""
        with self._staging.put() as temporary:
            temporary.mkdir()
            mark_it(temporary)
            rename_new(temporary, target)

    def _make_way(self, key: ObjectKey, target: Path) -> None:
        """Remove a directory that is no object and holds none, where a file is to be.

        Without attributes, an empty one may be what a killed put or delete left.
        """
        is_used = not self._tree.is_bare(target) if mark_of(target) is Mark.UNKNOWN else self._tree.exists(target)
        if is_used:
            raise StoreRefused(f"{key}: {key}/ is an object or there are objects below it, so it cannot be one itself")
        self._clear(target)

    def _remove_file(self, path: Path) -> list[Path]:
        """Remove a file; return the directories that have to go with it."""
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return []
        except (FileNotFoundError, NotADirectoryError):
            return []
        going = self._kept_by(path)
        _imply_all(going)
        path.unlink(missing_ok=True)
        return going

    def _remove_marker(self, path: Path) -> list[Path]:
        """Make a directory no object; return the directories that have to go, it included."""
        if path.is_symlink() or not path.is_dir():
            return []
        is_bare = self._tree.is_bare(path)
        if mark_of(path) is not Mark.MARKER and not is_bare:
            return []
        going = [path, *self._kept_by(path)] if is_bare else []
        _imply_all(going or [path])
        unmark(path)
        return going

    def _kept_by(self, path: Path) -> list[Path]:
        """Return the directories above `path` that are no objects and hold nothing else, the nearest first.

        None if all that could be are `IMPLIED`: what they hold is all they are, and needs no look.
        """
        above = list(takewhile(self._is_no_object, path.parents))
        if all(mark_of(directory) is Mark.IMPLIED for directory in above):
            return []
        pairs = zip(above, [path, *above], strict=False)
        kept = takewhile(lambda pair: self._tree.is_bare(pair[0], but=pair[1].name), pairs)
        return [directory for directory, _ in kept]

    def _is_no_object(self, directory: Path) -> bool:
        return directory != self._tree.root and mark_of(directory) is not Mark.MARKER

    def _prune(self, directory: Path, going: Sequence[Path]) -> Path:
        """Remove the directories, upwards, that have to go or are only `IMPLIED`; return the first that stays."""
        while directory != self._tree.root:
            try:
                if directory not in going and mark_of(directory) is not Mark.IMPLIED:
                    break
                self._clear(directory)
            except (FileNotFoundError, NotADirectoryError):
                pass  # gone already, or a file by now
            except OSError:
                break  # something is in it, or it is not ours to remove
            directory = directory.parent
        return directory

    def _clear(self, directory: Path) -> None:
        """Remove a directory in which nothing counts, with what is in it. Raises OSError if something does."""
        try:
            directory.rmdir()
        except OSError as exc:
            # Two links: there are no directories in it, but something is. Spares a look at thousands of names.
            if exc.errno != errno.ENOTEMPTY or directory.stat().st_nlink == 2 or not self._tree.is_bare(directory):
                raise
        else:
            return
        for _, entry in list(entries(directory, hide=None)):
            self._clear(Path(entry.path))
        directory.rmdir()


def fill_from_source(source: Source) -> Fill:
    def fill(fd: int) -> None:
        for chunk in source:
            write_all(fd, chunk)

    return fill


def fill_from_files(paths: list[Path]) -> Fill:
    """Append whole files, inside the kernel (and without copying where the file system can)."""

    def fill(fd: int) -> None:
        for path in paths:
            with path.open("rb") as file:
                copy_range(file.fileno(), Extent(0, os.fstat(file.fileno()).st_size), fd)

    return fill


def copy_range(source_fd: int, extent: Extent, fd: int) -> None:
    """Append a range of a file, likewise."""
    offset = extent.offset
    while offset < extent.end:
        copied = os.copy_file_range(source_fd, fd, extent.end - offset, offset)
        if not copied:
            raise NoSuchObject(f"what was to be copied ends at byte {offset}, not at {extent.end}")
        offset += copied


def write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power loss; one that is none any more needs nothing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _imply_all(nearest_first: Sequence[Path]) -> None:
    """Have directories go with what is below them: from above, so that each still holds one that is seen.

    Where it cannot be (another's directory, a full disk), a kill may leave an empty one; what goes, goes all the same.
    """
    for directory in reversed(nearest_first):
        with suppress(OSError):
            imply(directory)
