"""The direct transport: the kernel's own protocol, without libfuse."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable

import trio

from fusecache.errors import MountError
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.transport.direct import device
from fusecache.fs.transport.direct.abi import Opcode, fuse_in_header, fuse_out_header
from fusecache.fs.transport.direct.answers import Answers
from fusecache.fs.transport.direct.calls import Calls, Header
from fusecache.fs.transport.direct.handshake import Agreement, agree
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.fs.transport.direct.passthrough import Backings
from fusecache.fs.transport.direct.replies import Replies
from fusecache.fs.transport.direct.server import BUFFER_BYTES, Server
from fusecache.fs.transport.direct.takeover import ALONE, Connection, Succession, kept
from fusecache.fs.transport.invalidation import Invalidations
from fusecache.namespace.requests import Requests

log = logging.getLogger(__name__)

NAME = "direct"


async def serve(
    filesystem: FileSystem,
    mountpoint: str,
    options: Iterable[str],
    *,
    entry_timeout_s: float | None,
    attr_timeout_s: float | None,
    invalidations: Invalidations,
    sever: Callable[[], None],
    ready: Callable[[], None],
    may_back: bool,
    acls: bool = False,
    succession: Succession = ALONE,
) -> None:
    """Mount, call `ready`, and answer requests until somebody unmounts.

    If cancelled, or if it fails, it unmounts, unless a next process can go on: see `succession`. What becomes stale is
    delivered by a process of its own, see `invalidation`; `sever` aborts the connection, for when that process cannot
    end otherwise. `may_back`: the kernel may read and write files of the cache by itself; of one that is gone on with
    that was said when it was mounted. `acls`: there are access control lists.

    Raises:
        MountError: the kernel or fusermount3 refused; nothing is mounted.
    """
    answers = Answers(entry_timeout_s=entry_timeout_s, attr_timeout_s=attr_timeout_s)
    server_fd = device.mount(mountpoint, options) if succession.before is None else succession.before.fd
    is_kept = succession.before is not None
    is_mounted = True
    try:
        connection = succession.before
        if connection is None:
            may_back = may_back and os.geteuid() == 0
            agreement = await _shake_hands(server_fd, filesystem.requests, may_back=may_back, acls=acls)
            connection = Connection(server_fd, Logbook.begin(agreement))
            is_kept = kept(connection, succession.keep)
        logbook = connection.logbook
        if logbook.agreement.backs:
            filesystem.back_files()
        if logbook.agreement.has_acls:
            filesystem.xattrs.keep_acls()
        async with invalidations.delivered(
            server_fd, sever, outlives=lambda: is_kept and is_mounted and not succession.ends()
        ):
            if succession.before is not None:
                connection.resend()
            ready()
            calls = Calls(filesystem, answers, Backings(server_fd, logbook.backing_ids()), logbook)
            if await Server(server_fd, calls, Replies(filesystem, calls)).serve(hand_over=succession.hand_over):
                is_mounted = False
                log.info("unmounted from outside")
    finally:
        if is_mounted and (not is_kept or succession.ends()):
            device.unmount(mountpoint)
        os.close(server_fd)


async def _shake_hands(fd: int, requests: Requests, *, may_back: bool, acls: bool) -> Agreement:
    """Answer INIT, which comes first; nobody gets any other answer before. Requests are counted from here on."""
    await trio.lowlevel.wait_readable(fd)
    message = memoryview(os.read(fd, BUFFER_BYTES))
    who = Header._make(fuse_in_header.unpack_from(message))
    if who.opcode != Opcode.INIT:
        raise MountError(f"the kernel began with a request of kind {who.opcode} and no INIT")
    try:
        agreement = agree(message[fuse_in_header.size :], may_back=may_back, acls=acls)
    except MountError:
        os.write(fd, fuse_out_header.pack(fuse_out_header.size, -errno.EPROTO, who.unique))
        raise
    requests.forget_all()
    reply = agreement.reply()
    os.write(fd, fuse_out_header.pack(fuse_out_header.size + len(reply), 0, who.unique) + reply)
    return agreement
