"""Changes to a local store: each appears at once and whole, and is on the device when it returns."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from fusecache.backends.base import Source
from fusecache.backends.local.errors import translated
from fusecache.backends.local.tree import (
    MARKER,
    STAGING,
    LocalTree,
    etag_of,
    is_marked,
    write_metadata,
)
from fusecache.errors import NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import ETag, ObjectKey

Fill = Callable[[int], None]
"""Writes a body into a descriptor."""


class LocalWriter:
    """Puts and deletes below a tree's root.

    One lock covers each change of names, so that a put does not lose its directory to a delete and
    a condition holds until the rename; that is among this process's calls only. Bodies and fsyncs are outside.
    """

    def __init__(self, tree: LocalTree, wall_ns: Callable[[], int]) -> None:
        self._tree = tree
        self._wall_ns = wall_ns
        self._names = Lock()

    def put(
        self, key: ObjectKey, fill: Fill, metadata: Mapping[str, str], if_match: ETag | None, if_none_match: bool
    ) -> ETag:
        """Write a body aside and rename it to its key; a marker is made in place."""
        target = self._tree.path(key)
        if key.endswith("/"):
            return self._put_marker(key, target, metadata, if_match, if_none_match)
        with self._staged() as temporary:
            etag = self._write(temporary, fill, metadata)
            with self._names:
                self._check_condition(key, if_match, if_none_match)
                made = self._make_parents(key, target)
                if target.is_dir() and not self._is_left_over(target):
                    raise StoreRefused(f"{key}: there are objects below {key}/, so it cannot be one itself")
                temporary.rename(target)
        for directory in {target.parent, *made}:
            sync_directory(directory)
        return etag

    def _is_left_over(self, target: Path) -> bool:
        """Whether a directory is only what a killed put or delete left behind; then it is removed."""
        if is_marked(target):
            return False
        try:
            target.rmdir()
        except OSError:
            return False  # something is in it
        return True

    def delete(self, key: ObjectKey, if_match: ETag | None) -> None:
        """Remove an object if it is there, and the directories that only it kept."""
        path = self._tree.path(key)
        with self._names:
            if if_match is not None:
                self._check_version(key, if_match)
            changed = self._unmark(path) if key.endswith("/") else _unlinked(path)
            if not changed:
                return
            left = self._prune(path if key.endswith("/") else path.parent)
        sync_directory(left)

    def staging(self) -> Path:
        """Return the directory for what isn't an object yet."""
        self.staging_path.mkdir(exist_ok=True)
        return self.staging_path

    @property
    def staging_path(self) -> Path:
        """Where that is, made or not."""
        return self._tree.root / STAGING

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
            self._check_condition(key, if_match, if_none_match)
            made = self._make_parents(key, target)
            with translated(f"{key}: a file is in the way"):
                target.mkdir(exist_ok=True)
            write_metadata(target, {MARKER.removeprefix("user."): "1", **metadata})
        for directory in {target, target.parent, *made}:
            sync_directory(directory)
        return etag_of(target.stat())

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
                directory.mkdir()
            except (FileExistsError, NotADirectoryError):
                raise StoreRefused(f"{key}: {directory} is a file, and can have nothing below it") from None
        return [directory.parent for directory in missing]

    def _unmark(self, path: Path) -> bool:
        try:
            if is_marked(path):
                os.removexattr(path, MARKER)
            return stat.S_ISDIR(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _prune(self, directory: Path) -> Path:
        """Remove empty directories upwards that nobody put; return the first that stays."""
        while directory != self._tree.root and not is_marked(directory):
            try:
                directory.rmdir()
            except OSError:
                break  # something is in it, or it was never ours to remove
            directory = directory.parent
        return directory

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        temporary = self.staging() / f"put-{uuid.uuid4().hex}"
        try:
            yield temporary
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


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
                left = os.fstat(file.fileno()).st_size
                while left:
                    copied = os.copy_file_range(file.fileno(), fd, left)
                    if not copied:
                        raise NoSuchObject(f"{path}: became shorter while it was copied")
                    left -= copied

    return fill


def write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power loss; one that vanished meanwhile needs nothing."""
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _unlinked(path: Path) -> bool:
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            return False
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
