"""A directory as a store: the mapping of keys to paths, and what is found there. Blocking calls only.

A key `a/b` is the file `a/b`. A key `dir/` is the directory itself: every empty directory is a marker,
and one that was put stays a marker when it gets children (by the attribute `MARKER`). Directories that
nobody put vanish with their last child, as in an object store. Metadata are user attributes `user.<name>`
and are lost where the file system has none. Symlinks, special files and names that are not UTF-8 are no
objects and are not seen.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from fusecache.errors import NoSuchObject, NoSuchStore, StoreRefused
from fusecache.types import ETag, ObjectInfo, ObjectKey

STAGING = ".fusecache-staging"
"""Bodies on their way in, on the same file system so that a rename puts them in place."""
MARKER = "user.fusecache.marker"
_USER = "user."


class LocalTree:
    """Finds objects below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Raise NoSuchStore if the root is no directory; an OSError if it cannot be read."""
        if not self.root.is_dir():
            raise NoSuchStore(f"file://{self.root}: no such directory; create it first")
        os.scandir(self.root).close()

    def path(self, key: ObjectKey) -> Path:
        """Return where `key` is stored; refuse one that is no path below the root."""
        parts = key.removesuffix("/").split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in key or parts[0] == STAGING:
            raise StoreRefused(f"{key!r}: no file can have this name")
        return self.root.joinpath(*parts)

    def info(self, key: ObjectKey, *, metadata: bool) -> ObjectInfo:
        """Return what is known of `key`. Raises NoSuchObject, also for a directory under a file's name."""
        path = self.path(key)
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchObject(f"file://{self.root}/{key}: no such object") from None
        is_object = self.is_marker(path) if key.endswith("/") else stat.S_ISREG(found.st_mode)
        if not is_object:
            raise NoSuchObject(f"file://{self.root}/{key}: no such object")
        return info_of(key, found, read_metadata(path) if metadata else None)

    def is_marker(self, path: Path) -> bool:
        """Whether a path is a directory that is an object: put as one, or empty."""
        if not stat.S_ISDIR(path.lstat().st_mode):
            return False
        return is_marked(path) or not any(_entries(path, hide=None))

    def walk(self, prefix: str, beyond: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with `prefix` in key order, skipping subtrees before `beyond`."""
        start = prefix[: prefix.rfind("/") + 1]
        yield from self._walk(start, prefix, beyond)

    def children(self, prefix: str) -> Iterator[ObjectInfo | ObjectKey]:
        """Yield one level: objects, and directories that hold anything as prefixes, in key order."""
        start = prefix[: prefix.rfind("/") + 1]
        if start and prefix == start and (marker := self._marker_info(start)):
            yield marker
        for key, found in self._sorted(start):
            if not key.startswith(prefix):
                continue
            yield ObjectKey(key) if key.endswith("/") else info_of(ObjectKey(key), found)

    def _walk(self, directory: str, prefix: str, beyond: str) -> Iterator[ObjectInfo]:
        if directory.startswith(prefix) and directory and (marker := self._marker_info(directory)):
            yield marker
        for key, found in self._sorted(directory):
            if not key.startswith(prefix):
                continue
            if not key.endswith("/"):
                yield info_of(ObjectKey(key), found)
            elif key > beyond or beyond.startswith(key):
                yield from self._walk(key, prefix, beyond)

    def _marker_info(self, key: str) -> ObjectInfo | None:
        try:
            return self.info(ObjectKey(key), metadata=False)
        except (NoSuchObject, StoreRefused, FileNotFoundError, NotADirectoryError):
            return None  # the latter two: removed just now

    def _sorted(self, directory: str) -> list[tuple[str, os.stat_result]]:
        """Return a directory's keys in the order of a listing, in which a directory's name ends in "/"."""
        path = self.root / directory
        hide = None if directory else STAGING
        found = []
        try:
            for name, entry in _entries(path, hide):
                with suppress(FileNotFoundError):  # removed just now: that one, not all of them
                    found.append((directory + name, entry.stat(follow_symlinks=False)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)


def info_of(key: ObjectKey, found: os.stat_result, metadata: dict[str, str] | None = None) -> ObjectInfo:
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return ObjectInfo(key, size, etag_of(found), found.st_mtime_ns, metadata)


def etag_of(found: os.stat_result) -> ETag:
    """Name a version by inode, mtime and size.

    A put sets the mtime from the wall clock: the kernel's own ticks only every few milliseconds,
    in which an inode number can come back.
    """
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    mtime_ns = 0 if stat.S_ISDIR(found.st_mode) else found.st_mtime_ns  # children move a directory's
    return ETag(f"{found.st_ino:x}-{mtime_ns:x}-{size:x}")


def read_metadata(path: Path) -> dict[str, str]:
    """Return the user attributes that are text."""
    found: dict[str, str] = {}
    for name in _attributes(path):
        if name.startswith(_USER) and name != MARKER:
            value = os.getxattr(path, name, follow_symlinks=False)
            if value.isascii():
                found[name.removeprefix(_USER)] = value.decode()
    return found


def write_metadata(file: int | Path, metadata: Mapping[str, str]) -> None:
    """Set user attributes; without a word if the file system knows none."""
    try:
        for name, value in metadata.items():
            os.setxattr(file, _USER + name.lower(), value.encode())
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            raise


def is_marked(path: Path) -> bool:
    return MARKER in _attributes(path)


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            raise
        return []


def _entries(path: Path, hide: str | None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what may be an object or hold some, under its name in a key."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name == hide or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield entry.name + "/", entry
            elif entry.is_file(follow_symlinks=False):
                yield entry.name, entry


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8: others come with surrogates, and no key can be made of them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
