"""Unmounting one's own mount without stopping to serve it: the kernel writes back through us meanwhile."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import trio

from fusecache.control.detach import detach, unmount_command
from fusecache.control.mounts import MountEntry, mounted_at, mounts
from fusecache.control.protocol import ControlError
from fusecache.daemon.departure import StillBusy
from fusecache.errors import MountError

log = logging.getLogger(__name__)


def own_mount(mountpoint: Path, store: str) -> MountEntry | None:
    """Return our entry in the kernel's table; None if nothing, or something else, is mounted there now."""
    entry = mounted_at(mountpoint, mounts())
    return entry if entry is not None and entry.is_fusecache and entry.source == store else None


async def unmount(mountpoint: Path, store: str) -> None:
    """Unmount in order; a mount that is gone already is a success.

    Raises:
        StillBusy: files are open on it. ControlError: anything else keeps it mounted.
    """
    # A process of its own: umount(2) waits for requests that this loop answers.
    done = await trio.run_process(
        unmount_command(mountpoint, lazy=False), check=False, capture_stdout=True, stderr=subprocess.STDOUT
    )
    if own_mount(mountpoint, store) is None:
        return
    said = (done.stdout.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
    if "busy" in said:
        raise StillBusy(f"{mountpoint} is busy: files on it are open", kind="busy")
    raise ControlError(f"{mountpoint} stays mounted: {said}")


def sever(mountpoint: Path, store: str) -> None:
    """Take down one's own mount while requests wait in it that nobody will answer: they fail."""
    entry = own_mount(mountpoint, store)
    if entry is None:
        return
    try:
        detach(entry)
    except MountError as exc:
        log.error("%s", exc)  # noqa: TRY400  # it says it all; there is nothing left to try
