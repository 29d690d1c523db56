"""The kernel's FUSE ABI: structures and constants under the names of include/uapi/linux/fuse.h.

Only what is used is here, and no code. Numbers are in the byte order of the machine, and nothing is padded but where
the header has fields for it.
"""

from __future__ import annotations

import enum
from struct import Struct

FUSE_KERNEL_VERSION = 7
FUSE_KERNEL_MINOR_VERSION = 45
"""The newest that is spoken here; the older of the two sides' counts."""

MIN_MINOR_VERSION = 31
"""The oldest: Linux 5.4. No structure here has changed since, but INIT's."""

FUSE_ROOT_ID = 1
FUSE_UNIQUE_RESEND = 1 << 63
"""In the number of a request that was sent before, to a daemon that did not answer it."""


class Opcode(enum.IntEnum):
    """What a request asks for (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52


# What both sides may agree on in INIT: `flags`, and from bit 32 on `flags2`.
FUSE_ASYNC_READ = 1 << 0
FUSE_ATOMIC_O_TRUNC = 1 << 3
FUSE_BIG_WRITES = 1 << 5
FUSE_DONT_MASK = 1 << 6
FUSE_DO_READDIRPLUS = 1 << 13
FUSE_READDIRPLUS_AUTO = 1 << 14
FUSE_ASYNC_DIO = 1 << 15
FUSE_PARALLEL_DIROPS = 1 << 18
FUSE_POSIX_ACL = 1 << 20
FUSE_MAX_PAGES = 1 << 22
FUSE_CACHE_SYMLINKS = 1 << 23
FUSE_HANDLE_KILLPRIV_V2 = 1 << 28
FUSE_SETXATTR_EXT = 1 << 29
FUSE_INIT_EXT = 1 << 30
FUSE_PASSTHROUGH = 1 << 37
FUSE_HAS_RESEND = 1 << 39

# Which fields of a SETATTR count.
FATTR_MODE = 1 << 0
FATTR_UID = 1 << 1
FATTR_GID = 1 << 2
FATTR_SIZE = 1 << 3
FATTR_ATIME = 1 << 4
FATTR_MTIME = 1 << 5
FATTR_ATIME_NOW = 1 << 7
FATTR_MTIME_NOW = 1 << 8
FATTR_KILL_SUIDGID = 1 << 11

FOPEN_KEEP_CACHE = 1 << 1
FOPEN_CACHE_DIR = 1 << 3
FOPEN_NOFLUSH = 1 << 5
FOPEN_PASSTHROUGH = 1 << 7
FUSE_OPEN_KILL_SUIDGID = 1 << 0
FUSE_WRITE_KILL_SUIDGID = 1 << 2

XATTR_CREATE = 1 << 0
XATTR_REPLACE = 1 << 1
FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0
RENAME_NOREPLACE = 1 << 0
RENAME_EXCHANGE = 1 << 1

FUSE_NOTIFY_INVAL_INODE = 2
FUSE_NOTIFY_INVAL_ENTRY = 3
FUSE_NOTIFY_RESEND = 7
FUSE_EXPIRE_ONLY = 1 << 0

fuse_in_header = Struct("=IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding
fuse_out_header = Struct("=IiQ")  # len, error, unique

fuse_init_in = Struct("=IIII")  # major, minor, max_readahead, flags
fuse_init_in_flags2 = Struct("=I")  # behind it since 7.36
fuse_init_out = Struct("=IIIIHHIIHHII24x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages,
map_alignment, flags2, max_stack_depth."""

fuse_attr = Struct("=QQQqqqIIIIIIIIII")
"""ino, size, blocks, atime, mtime, ctime, their nanoseconds, mode, nlink, uid, gid, rdev, blksize, flags."""
fuse_entry_out = Struct("=QQQQII")  # nodeid, generation, entry_valid, attr_valid, entry_valid_nsec, attr_valid_nsec
fuse_attr_out = Struct("=QII")  # attr_valid, attr_valid_nsec, dummy

fuse_forget_in = Struct("=Q")  # nlookup
fuse_batch_forget_in = Struct("=II")  # count, dummy
fuse_forget_one = Struct("=QQ")  # nodeid, nlookup
fuse_setattr_in = Struct("=IIQQQqqqIIIIIIII")
"""valid, padding, fh, size, lock_owner, atime, mtime, ctime, their nanoseconds, mode, unused, uid, gid, unused."""
fuse_mknod_in = Struct("=IIII")  # mode, rdev, umask, padding
fuse_mkdir_in = Struct("=II")  # mode, umask
fuse_rename_in = Struct("=Q")  # newdir
fuse_rename2_in = Struct("=QII")  # newdir, flags, padding
fuse_link_in = Struct("=Q")  # oldnodeid
fuse_create_in = Struct("=IIII")  # flags, mode, umask, open_flags
fuse_open_in = Struct("=II")  # flags, open_flags
fuse_open_out = Struct("=QIi")  # fh, open_flags, backing_id
fuse_read_in = Struct("=QQIIQII")  # fh, offset, size, read_flags, lock_owner, flags, padding
fuse_write_in = Struct("=QQIIQII")  # fh, offset, size, write_flags, lock_owner, flags, padding
fuse_write_out = Struct("=II")  # size, padding
fuse_release_in = Struct("=QIIQ")  # fh, flags, release_flags, lock_owner
fuse_flush_in = Struct("=QIIQ")  # fh, unused, padding, lock_owner
fuse_fsync_in = Struct("=QII")  # fh, fsync_flags, padding
fuse_setxattr_in = Struct("=II")  # size, flags
fuse_setxattr_in_ext = Struct("=IIII")  # the same, setxattr_flags, padding; with FUSE_SETXATTR_EXT
fuse_getxattr_in = Struct("=II")  # size, padding
fuse_getxattr_out = Struct("=II")  # size, padding
fuse_interrupt_in = Struct("=Q")  # unique
fuse_fallocate_in = Struct("=QQQII")  # fh, offset, length, mode, padding
fuse_lseek_in = Struct("=QQII")  # fh, offset, whence, padding
fuse_lseek_out = Struct("=Q")  # offset
fuse_copy_file_range_in = Struct("=QQQQQQQ")  # fh_in, off_in, nodeid_out, fh_out, off_out, len, flags
fuse_dirent = Struct("=QQII")  # ino, off, namelen, type
fuse_kstatfs = Struct("=QQQQQIII28x")  # blocks, bfree, bavail, files, ffree, bsize, namelen, frsize

fuse_backing_map = Struct("=iIQ")  # fd, flags, padding
fuse_backing_id = Struct("=I")
FUSE_DEV_IOC_BACKING_OPEN = 1 << 30 | fuse_backing_map.size << 16 | 229 << 8 | 1  # _IOW(FUSE_DEV_IOC_MAGIC, 1, …)
FUSE_DEV_IOC_BACKING_CLOSE = 1 << 30 | fuse_backing_id.size << 16 | 229 << 8 | 2

fuse_notify_inval_inode_out = Struct("=Qqq")  # ino, off, len
fuse_notify_inval_entry_out = Struct("=QII")  # parent, namelen, flags
