"""Builds the parts of a mount's process and ties them together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

from fusecache.config import Config
from fusecache.control import sockets
from fusecache.control.server import listening
from fusecache.daemon.reporting import Starter, Supervisor
from fusecache.daemon.service import Service
from fusecache.daemon.unmounting import own_mount, sever, unmount
from fusecache.errors import MountError
from fusecache.fs.transport import pyfuse
from fusecache.fs.transport.direct import transport as direct
from fusecache.fs.transport.invalidation import Invalidations
from fusecache.nurseries import unwrapped
from fusecache.volume import Volume, open_volume


async def run(config: Config, starter: Starter) -> None:
    """Open the volume, mount it and serve it until it is unmounted, or a signal asks for it.

    Raises:
        FusecacheError: it cannot be opened or mounted; nothing is left mounted.
    """
    serving: list[Service] = []  # at most one; none while the volume is opened
    invalidations = Invalidations()

    async def heed(signals: AsyncIterator[int], starting: trio.CancelScope) -> None:
        async for number in signals:
            if serving:
                serving[0].signalled(number)
            else:
                starting.cancel()

    with unwrapped(), trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heed, signals, nursery.cancel_scope)
            async with open_volume(config, stale=invalidations.tell) as volume:
                serving.append(_service(config, volume, starter, invalidations))
                await serving[0].run()
            nursery.cancel_scope.cancel()
    if not serving:
        raise MountError("interrupted before it was mounted")


def _service(config: Config, volume: Volume, starter: Starter, invalidations: Invalidations) -> Service:
    serve = direct.serve if config.transport == direct.NAME else pyfuse.serve

    async def transport(mounted: Callable[[], None]) -> None:
        await serve(
            volume.filesystem,
            os.fspath(config.mountpoint),
            kernel_options(config),
            entry_timeout_s=config.entry_timeout_s,
            attr_timeout_s=config.attr_timeout_s,
            invalidations=invalidations,
            sever=partial(sever, config.mountpoint, config.store),
            ready=mounted,
        )

    return Service(
        config,
        volume,
        transport=transport,
        unmount=partial(unmount, config.mountpoint, config.store),
        control_socket=partial(control_socket, config),
        starter=starter,
        supervisor=Supervisor(os.environ),
    )


def kernel_options(config: Config) -> set[str]:
    """Return the mount options; the permissions that `stat` shows are the kernel's to enforce."""
    # libfuse splits at commas, and a store's prefix may have some (fuse_opt.h).
    source = config.store.replace("\\", "\\\\").replace(",", "\\,")
    options = {f"fsname={source}", "subtype=fusecache", "default_permissions", *config.kernel_options}
    return options | ({"allow_other"} if config.allow_other else set()) | ({"ro"} if config.read_only else set())


@contextmanager
def control_socket(config: Config) -> Iterator[socket.socket]:
    """Listen where a client that knows the mount only will look; the file goes when the mount does."""
    uid = os.geteuid()
    entry = own_mount(config.mountpoint, config.store)
    if entry is None:
        raise MountError(f"{config.mountpoint} vanished while it was mounted")
    path = sockets.make_directory(uid, environ=os.environ) / sockets.socket_name(entry.device)
    # Root's: each request is checked by its sender.
    with listening(path, mode=0o666 if uid == 0 else 0o600) as listener:
        yield listener
