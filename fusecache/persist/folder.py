"""A directory outside of the mount, which is only added to. Blocks: for threads."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fusecache.namespace.records import Inode
from fusecache.namespace.xattrs import unpacked

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 64 << 20


class Folder:
    """Adds files, links and directories below `root`, and follows no symbolic link there: others may write to it.

    Owners are kept if root adds them.
    """

    def __init__(self, root: Path) -> None:
        """Make `root` if it is not there. Raises OSError."""
        with suppress(FileExistsError):
            root.mkdir(mode=0o700)
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._made: list[tuple[list[bytes], Inode]] = []

    def close(self) -> None:
        os.close(self._fd)

    def add_directory(self, names: Sequence[bytes], inodes: Sequence[Inode]) -> None:
        """Make the directory `names` and those above it, as `inodes` say, where they are not there yet."""
        with self._at(names, inodes):
            pass

    def add_file(self, names: Sequence[bytes], above: Sequence[Inode], inode: Inode, fd: int | None, size: int) -> None:
        """Copy `size` bytes of `fd`, whose holes stay holes; None: it has none. Synced.

        Raises:
            FileExistsError: the name is taken. OSError: it could not be written, and is not there.
        """
        with self._at(names[:-1], above) as parent:
            out = os.open(names[-1], _NEW_FILE, 0o600, dir_fd=parent)
            try:
                if fd is not None:
                    _copy(fd, out, size)
                os.ftruncate(out, size)
                for name, value in unpacked(inode.xattrs).items():
                    with suppress(OSError):  # not every file system has them
                        os.setxattr(out, name, value)
                _dress(out, inode)
                os.fsync(out)
            except BaseException:
                os.unlink(names[-1], dir_fd=parent)
                raise
            finally:
                os.close(out)

    def remove(self, names: Sequence[bytes]) -> None:
        """Take away a file that was added."""
        with self._at(names[:-1], ()) as parent:
            os.unlink(names[-1], dir_fd=parent)

    def add_symlink(self, names: Sequence[bytes], above: Sequence[Inode], inode: Inode) -> None:
        """Raises FileExistsError: the name is taken."""
        assert inode.symlink is not None
        with self._at(names[:-1], above) as parent:
            os.symlink(inode.symlink, names[-1], dir_fd=parent)
            if os.geteuid() == 0:
                os.chown(names[-1], inode.uid, inode.gid, dir_fd=parent, follow_symlinks=False)
            times = (inode.atime_ns, inode.mtime_ns)
            os.utime(names[-1], ns=times, dir_fd=parent, follow_symlinks=False)

    def finish(self) -> None:
        """Give the directories that were made their modes and times: a mode may forbid to add more."""
        for names, inode in sorted(self._made, key=lambda made: -len(made[0])):
            with self._at(names, ()) as directory:
                _dress(directory, inode)
        self._made.clear()

    @contextmanager
    def _at(self, names: Sequence[bytes], inodes: Sequence[Inode]) -> Iterator[int]:
        """Open the directory `names`, making what is not there and has an inode."""
        at = os.dup(self._fd)
        try:
            for depth, name in enumerate(names):
                if depth < len(inodes):
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=at)
                        self._made.append((list(names[: depth + 1]), inodes[depth]))
                above, at = at, os.open(name, _DIRECTORY, dir_fd=at)
                os.close(above)
            yield at
        finally:
            os.close(at)


def _copy(source: int, target: int, size: int) -> None:
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = min(os.lseek(source, offset, os.SEEK_HOLE), size)
        os.lseek(target, offset, os.SEEK_SET)
        while offset < end:
            sent = os.sendfile(target, source, offset, min(end - offset, _CHUNK))
            if not sent:
                raise OSError(errno.EIO, "its file in the cache has become shorter")
            offset += sent


def _dress(fd: int, inode: Inode) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, inode.uid, inode.gid)
    os.fchmod(fd, stat.S_IMODE(inode.mode))
    os.utime(fd, ns=(inode.atime_ns, inode.mtime_ns))
