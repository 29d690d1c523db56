"""/dev/fuse: a descriptor of it, and the mount that it serves."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import subprocess
from collections.abc import Iterable

from fusecache.errors import MountError

_DEVICE = "/dev/fuse"
_HELPER = "fusermount3"
_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024}
"""MS_* of mount(2), which the kernel wants beside the text of the other options."""
_MNT_DETACH = 2
_ALWAYS = ("nosuid", "nodev")
"""As libfuse mounts: nobody gains rights by what lies in a store."""


def mount(mountpoint: str, options: Iterable[str]) -> int:
    """Mount, and return the descriptor at which the kernel asks, non-blocking. Nothing is answered yet.

    `options` are those of `mount -o`, with `fsname` and `subtype`. Root mounts by itself, others by the set-uid
    fusermount3.

    Raises:
        MountError: refused; nothing is mounted.
    """
    named = dict.fromkeys([*_ALWAYS, *options])
    try:
        fd = _mount_as_root(mountpoint, list(named)) if os.geteuid() == 0 else _mount_as_user(mountpoint, list(named))
    except OSError as exc:
        raise MountError(f"cannot mount on {mountpoint}: {exc.strerror}") from exc
    os.set_blocking(fd, False)
    return fd


def _mount_as_root(mountpoint: str, options: list[str]) -> int:
    values = dict(option.partition("=")[::2] for option in options)
    source = values.pop("fsname").replace("\\,", ",").replace("\\\\", "\\")
    kind = f"fuse.{values.pop('subtype')}"
    flags = sum(_FLAGS[name] for name in options if name in _FLAGS)
    fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        rootmode = stat.S_IFMT(os.stat(mountpoint).st_mode)
        data = [f"fd={fd}", f"rootmode={rootmode:o}", f"user_id={os.geteuid()}", f"group_id={os.getegid()}"]
        data += [name for name in values if name not in _FLAGS]
        libc = ctypes.CDLL(None, use_errno=True)
        words = (source.encode(), os.fsencode(mountpoint), kind.encode(), flags, ",".join(data).encode())
        if libc.mount(*words):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mount_as_user(mountpoint: str, options: list[str]) -> int:
    """Have fusermount3 mount; it sends the descriptor (fusermount3(1): _FUSE_COMMFD)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.run(
            [_HELPER, "-o", ",".join(options), "--", mountpoint],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MountError(f"cannot mount on {mountpoint}: {said}")
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise MountError(f"cannot mount on {mountpoint}: {_HELPER} sent no descriptor")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def unmount(mountpoint: str) -> None:
    """Take our mount away, whoever is on it; what is open there fails from then on."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).umount2(os.fsencode(mountpoint), _MNT_DETACH)
    else:
        subprocess.run([_HELPER, "-u", "-z", "--", mountpoint], stderr=subprocess.DEVNULL, check=False)
