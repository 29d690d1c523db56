"""The portable transport: pyfuse3 over libfuse, metadata and data by requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import pyfuse3
import trio

from fusecache.errors import MountError
from fusecache.fs.filesystem import FileSystem
from fusecache.fs.operations import FuseOperations

log = logging.getLogger(__name__)

NAME = "pyfuse3"
_SUBTYPE = "subtype=fusecache"


async def serve(
    filesystem: FileSystem,
    mountpoint: str,
    options: Iterable[str],
    *,
    entry_timeout_s: float | None,
    attr_timeout_s: float | None,
    ready: Callable[[], None],
) -> None:
    """Mount, call `ready`, and answer requests until somebody unmounts; if cancelled, unmount.

    pyfuse3 keeps its session in module globals: one mount a process.

    Raises:
        MountError: the kernel or libfuse refused; nothing is mounted.
    """
    operations = FuseOperations(filesystem, entry_timeout_s=entry_timeout_s, attr_timeout_s=attr_timeout_s)
    try:
        pyfuse3.init(operations, mountpoint, {*options, _SUBTYPE})
    except RuntimeError as exc:
        raise MountError(f"cannot mount on {mountpoint}: {exc}; see what fusermount3 says above") from exc
    try:
        async with trio.open_nursery(strict_exception_groups=False) as nursery:
            nursery.start_soon(_answer, nursery.cancel_scope)
            ready()
    finally:
        pyfuse3.close(unmount=True)


async def _answer(scope: trio.CancelScope) -> None:
    """Carry the requests; the session ends when the file system is unmounted from outside."""
    await pyfuse3.main()
    log.info("unmounted from outside")
    scope.cancel()
