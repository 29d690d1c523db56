"""A directory as a store: the mapping of keys to paths, and what is found there. Blocking calls only.

A key `a/b` is the file `a/b`. A key `dir/` is the directory itself, if its attributes (`local.attributes`) say so:

- `MARKER`: it was put, and is an object, whatever is in it;
- `IMPLIED`: we made it on the way to something, and it is no object. While nothing that counts is below it, it doesn't
  exist: so a process that is killed on its way leaves nothing to be seen;
- neither: somebody else made it, and it is an object while it is empty.

Directories that nobody put vanish with their last child, as in an object store. Metadata of a file are user attributes
`user.<name>`. Where the file system has none, metadata are lost, every empty directory is an object, and a kill may
leave one. Symlinks, special files and names that are not UTF-8 are no objects and are not seen; nothing replaces the
former two or follows a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from fusecache.backends.local.attributes import Mark, mark_of, read_metadata
from fusecache.errors import NoSuchObject, NoSuchStore, StoreRefused
from fusecache.types import ETag, ObjectInfo, ObjectKey

STAGING = ".fusecache-staging"
"""Bodies on their way in, on the same file system so that a rename puts them in place."""


class LocalTree:
    """Finds objects below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ino: int | None = None
        """Of the root, once it was seen. Its device is another one after each mount of a network file system."""

    def check(self) -> None:
        """Raise NoSuchStore if the root is not there; an OSError if it cannot be read."""
        self.check_root()
        os.scandir(self.root).close()

    def check_root(self) -> None:
        """Raise NoSuchStore if the root is no directory, or not the one that it was: what it lacks is not absent.

        As where a file system was mounted, and is not any more.
        """
        try:
            found = self.root.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchStore(f"file://{self.root}: no such directory; create it first") from None
        if not stat.S_ISDIR(found.st_mode):
            raise NoSuchStore(f"file://{self.root}: no such directory; create it first")
        if self._ino not in (None, found.st_ino):
            raise NoSuchStore(f"file://{self.root}: another directory than before; is its file system mounted?")
        self._ino = found.st_ino

    @contextmanager
    def rooted(self) -> Iterator[None]:
        """Look at the root before the block and after it: what that did or found, it did or found there."""
        self.check_root()
        try:
            yield
        finally:
            self.check_root()

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
        if not (self._is_marker(path, found) if key.endswith("/") else stat.S_ISREG(found.st_mode)):
            raise NoSuchObject(f"file://{self.root}/{key}: no such object")
        return info_of(key, found, read_metadata(path) if metadata else None)

    def obstacle(self, path: Path) -> Path | None:
        """Return what is at `path`, or on the way to it, and neither a file nor a directory: nothing there is seen."""
        for each in (path, *takewhile(lambda above: above != self.root, path.parents)):
            with suppress(FileNotFoundError, NotADirectoryError):
                mode = each.lstat().st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    return each
        return None

    def exists(self, directory: Path) -> bool:
        """Whether a directory is seen: as an object, or for what is below it."""
        try:
            return mark_of(directory) is not Mark.IMPLIED or not self.is_bare(directory)
        except (FileNotFoundError, NotADirectoryError):
            return False  # or removed just now

    def is_bare(self, directory: Path, *, but: str | None = None) -> bool:
        """Whether nothing that counts is in a directory, at any depth; `but` is not looked at."""
        pending = [entries(directory, hide=but)]
        while pending:
            try:
                name, entry = next(pending[-1])
                if not name.endswith("/") or mark_of(Path(entry.path)) is not Mark.IMPLIED:
                    return False
            except StopIteration:
                pending.pop()
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed just now
            else:
                pending.append(entries(Path(entry.path), hide=None))
        return True

    def walk(self, prefix: str, beyond: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with `prefix` in key order, skipping subtrees before `beyond`."""
        start = prefix[: prefix.rfind("/") + 1]
        yield from self._walk(start, prefix, beyond)

    def children(self, prefix: str, beyond: str) -> Iterator[ObjectInfo | ObjectKey]:
        """Yield one level in key order: objects, and directories as prefixes; of those none before `beyond`."""
        start = prefix[: prefix.rfind("/") + 1]
        if start and prefix == start and (marker := self._marker_info(start)):
            yield marker
        for key, found in self._sorted(start):
            if not key.startswith(prefix):
                continue
            if not key.endswith("/"):
                yield info_of(ObjectKey(key), found)
            elif _may_be(key, beyond) and self.exists(self.root / key):
                yield ObjectKey(key)

    def _walk(self, directory: str, prefix: str, beyond: str) -> Iterator[ObjectInfo]:
        if directory.startswith(prefix) and directory and (marker := self._marker_info(directory)):
            yield marker
        for key, found in self._sorted(directory):
            if not key.startswith(prefix):
                continue
            if not key.endswith("/"):
                yield info_of(ObjectKey(key), found)
            elif _may_be(key, beyond):
                yield from self._walk(key, prefix, beyond)

    def _is_marker(self, path: Path, found: os.stat_result) -> bool:
        if not stat.S_ISDIR(found.st_mode):
            return False
        mark = mark_of(path)
        return mark is Mark.MARKER or (mark is not Mark.IMPLIED and self.is_bare(path))

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
            for name, entry in entries(path, hide):
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


def entries(path: Path, hide: str | None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what may be an object or hold some, under its name in a key."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name == hide or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield entry.name + "/", entry
            elif entry.is_file(follow_symlinks=False):
                yield entry.name, entry


def _may_be(directory: str, beyond: str) -> bool:
    """Whether keys of a directory are behind `beyond`."""
    return directory > beyond or beyond.startswith(directory)


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8: others come with surrogates, and no key can be made of them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
