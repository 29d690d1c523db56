"""INIT: what the kernel offers, and what of it is taken."""

from __future__ import annotations

from dataclasses import dataclass

from fusecache.errors import MountError
from fusecache.fs.transport.direct import abi

MAX_WRITE = 1 << 20
"""The largest WRITE and READ: 256 pages, the most that the kernel allows without being told otherwise."""

_PAGE = 4096
_BACKGROUND, _CONGESTED = 64, 48
"""Read-ahead and writeback: so many requests at a time, and from when on the device counts as busy."""
_TIME_GRAN_NS = 1
_STACK_DEPTH = 1
"""The cache is on a file system that is on none itself."""

_WANTED = (
    abi.FUSE_ASYNC_READ
    | abi.FUSE_ATOMIC_O_TRUNC
    | abi.FUSE_BIG_WRITES
    | abi.FUSE_DO_READDIRPLUS
    | abi.FUSE_READDIRPLUS_AUTO
    | abi.FUSE_ASYNC_DIO
    | abi.FUSE_PARALLEL_DIROPS
    | abi.FUSE_MAX_PAGES
    | abi.FUSE_CACHE_SYMLINKS
    | abi.FUSE_HANDLE_KILLPRIV_V2
    | abi.FUSE_INIT_EXT
    | abi.FUSE_PASSTHROUGH
    | abi.FUSE_HAS_RESEND
)
"""Never the writeback cache: a write(2) that returned would be in the kernel's memory only. Nor
FUSE_AUTO_INVAL_DATA: another version of a file is another inode, and its pages are dropped by notifications."""

_FOR_ACLS = abi.FUSE_POSIX_ACL | abi.FUSE_DONT_MASK | abi.FUSE_SETXATTR_EXT
"""The kernel asks for access control lists and judges by them; modes come as they were given, as a directory's default
list counts in place of the umask."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides speak."""

    minor: int
    max_readahead: int
    features: int

    @property
    def backs(self) -> bool:
        """Whether the kernel reads and writes files of the cache by itself."""
        return bool(self.features & abi.FUSE_PASSTHROUGH)

    @property
    def has_acls(self) -> bool:
        """Whether there are access control lists."""
        return bool(self.features & abi.FUSE_POSIX_ACL)

    def reply(self) -> bytes:
        """Return the body of INIT's answer (struct fuse_init_out)."""
        flags = self.features
        return abi.fuse_init_out.pack(
            abi.FUSE_KERNEL_VERSION,
            self.minor,
            self.max_readahead,
            flags & 0xFFFFFFFF,
            _BACKGROUND,
            _CONGESTED,
            MAX_WRITE,
            _TIME_GRAN_NS,
            MAX_WRITE // _PAGE,
            0,
            flags >> 32,
            _STACK_DEPTH if self.backs else 0,
        )


def agree(body: memoryview, *, may_back: bool, acls: bool = False) -> Agreement:
    """Answer an INIT with as much of what it offers as is used here. `may_back`: this process may register files;
    `acls`: there are to be access control lists.

    Raises:
        MountError: a kernel older than what is spoken here, or no INIT at all.
    """
    if len(body) < abi.fuse_init_in.size:
        raise MountError("the kernel began with something that is no INIT")
    major, minor, max_readahead, offered = abi.fuse_init_in.unpack_from(body)
    if major != abi.FUSE_KERNEL_VERSION or minor < abi.MIN_MINOR_VERSION:
        raise MountError(
            f"this kernel speaks FUSE {major}.{minor}, the direct transport 7.{abi.MIN_MINOR_VERSION} and later:"
            " use --transport pyfuse3"
        )
    if offered & abi.FUSE_INIT_EXT:
        offered |= abi.fuse_init_in_flags2.unpack_from(body, abi.fuse_init_in.size)[0] << 32
    wanted = (_WANTED if may_back else _WANTED & ~abi.FUSE_PASSTHROUGH) | (_FOR_ACLS if acls else 0)
    return Agreement(min(minor, abi.FUSE_KERNEL_MINOR_VERSION), max_readahead, offered & wanted)
