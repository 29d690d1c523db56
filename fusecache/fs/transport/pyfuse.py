"""The portable transport: pyfuse3 over libfuse, metadata and data by requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import pyfuse3

from fusecache.errors import MountError
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.operations import FuseOperations
from fusecache.fs.transport.invalidation import Invalidations, fuse_descriptor
from fusecache.fs.transport.turns import answer_requests

log = logging.getLogger(__name__)

NAME = "pyfuse3"


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
) -> None:
    """Mount, call `ready`, and answer requests until somebody unmounts; if cancelled, unmount.

    What becomes stale is delivered by a process of its own, see `invalidation`; `sever` aborts the connection, for
    when that process cannot end otherwise. pyfuse3 keeps its session in module globals: one mount a process.

    Raises:
        MountError: the kernel or libfuse refused; nothing is mounted.
    """
    operations = FuseOperations(filesystem, entry_timeout_s=entry_timeout_s, attr_timeout_s=attr_timeout_s)
    try:
        pyfuse3.init(operations, mountpoint, set(options))
    except RuntimeError as exc:
        raise MountError(f"cannot mount on {mountpoint}: {exc}; see what fusermount3 says above") from exc
    try:
        async with invalidations.delivered(fuse_descriptor(), sever):
            ready()
            await answer_requests(operations)
            log.info("unmounted from outside")
    finally:
        pyfuse3.close(unmount=True)
