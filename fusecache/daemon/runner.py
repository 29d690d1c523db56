"""Builds the parts of a mount's process and ties them together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

from fusecache.config import Config
from fusecache.control import sockets
from fusecache.control.server import listening
from fusecache.daemon.keeping import CONTROL, Keeper
from fusecache.daemon.reporting import Starter, Supervisor
from fusecache.daemon.service import Service
from fusecache.daemon.unmounting import own_mount, sever, unmount
from fusecache.errors import MountError
from fusecache.fs.transport.breadth import widen
from fusecache.fs.transport.direct import takeover
from fusecache.fs.transport.direct import transport as direct
from fusecache.fs.transport.invalidation import Invalidations
from fusecache.nurseries import unwrapped
from fusecache.volume import Volume, open_volume


async def run(config: Config, starter: Starter, keeper: Keeper) -> None:
    """Open the volume, mount it and serve it until it is unmounted, or a signal asks for it.

    What an earlier daemon has left with the `keeper` is gone on with; and if the keeper still has the mount when this
    returns, or fails, a next one is to go on.

    Raises:
        FusecacheError: it cannot be opened or mounted; nothing is left mounted that is not kept.
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
            before = takeover.found(keeper.held)
            left = None if before is None else before.logbook.left()
            async with open_volume(config, stale=invalidations.tell, left=left) as volume:
                serving.append(_service(config, volume, starter, keeper, invalidations, before))
                await serving[0].run()
            nursery.cancel_scope.cancel()
    if not serving:
        raise MountError("interrupted before it was mounted")


def _service(
    config: Config,
    volume: Volume,
    starter: Starter,
    keeper: Keeper,
    invalidations: Invalidations,
    before: takeover.Connection | None,
) -> Service:
    is_direct = config.transport == direct.NAME
    hand_over = trio.Event()
    keep = keeper.keep if keeper.is_there else None
    succession = takeover.Succession(before, keep, hand_over, lambda: service.leaves_at_once)
    direct_serve = partial(direct.serve, may_back=config.passthrough, acls=config.acl, succession=succession)

    async def transport(mounted: Callable[[], None]) -> None:
        serve = direct_serve if is_direct else _pyfuse_serve()
        try:
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
        finally:
            if service.leaves_at_once:
                keeper.release()
        if not hand_over.is_set():
            keeper.release()

    service = Service(
        config,
        volume,
        transport=transport,
        unmount=partial(unmount, config.mountpoint, config.store),
        control_socket=partial(control_socket, config, keeper),
        starter=starter,
        supervisor=Supervisor(os.environ),
        ready=keeper.ready,
        alive=keeper.alive,
        watched_s=keeper.watched_s,
        hand_over=hand_over.set if is_direct and keeper.is_there else None,
    )
    return service


def _pyfuse_serve() -> Callable[..., Awaitable[None]]:
    from fusecache.fs.transport import pyfuse  # 30 ms of imports, spared to a next daemon, which needs none of it

    return pyfuse.serve


def kernel_options(config: Config) -> set[str]:
    """Return the mount options; the permissions that `stat` shows are the kernel's to enforce."""
    # libfuse splits at commas, and a store's prefix may have some (fuse_opt.h).
    source = config.store.replace("\\", "\\\\").replace(",", "\\,")
    options = {f"fsname={source}", "subtype=fusecache", "default_permissions", *config.kernel_options}
    return options | ({"allow_other"} if config.allow_other else set()) | ({"ro"} if config.read_only else set())


@contextmanager
def control_socket(config: Config, keeper: Keeper) -> Iterator[socket.socket]:
    """Listen where a client that knows the mount only will look; the file goes when the mount does.

    Who connects while one daemon has ended and the next does not answer yet is answered by that.
    """
    uid = os.geteuid()
    entry = own_mount(config.mountpoint, config.store)
    if entry is None:
        raise MountError(f"{config.mountpoint} vanished while it was mounted")
    widen(entry.device)
    path = sockets.make_directory(uid, environ=os.environ) / sockets.socket_name(entry.device)
    # Root's: each request is checked by its sender.
    mode = 0o666 if uid == 0 else 0o600
    with listening(path, mode=mode, found=keeper.held.get(CONTROL), stays=lambda: keeper.keeps_mount) as listener:
        if keeper.keeps_mount:
            keeper.keep(CONTROL, listener.fileno())
        yield listener
