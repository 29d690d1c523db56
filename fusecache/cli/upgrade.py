"""`fusecache upgrade`: another daemon for a mount that goes on."""

from __future__ import annotations

import time

import click

from fusecache.control import client
from fusecache.control.client import Target
from fusecache.control.protocol import ControlError, ExitCode

_WITHIN_S = 60.0
_LOOK_S = 0.05


@click.command(short_help="Have the installed version go on with a mount.")
@click.argument("mountpoint")
def upgrade(mountpoint: str) -> None:
    """End the daemon of MOUNTPOINT, and have one of the version that is installed now go on with the mount.

    Nobody who uses the mount sees more of it than a pause: what is open stays open, and what is being answered is
    answered by the one or the other. Needs the direct transport. Only for root and the mount's owner.

    Exit status: 0 the new daemon answers; 1 this mount cannot outlive its daemon; 6 no daemon answers.
    """
    target = client.find(mountpoint)
    if target.below:
        raise ControlError(
            f"{target.path} is not a mount point: the mount is {target.mountpoint}", exit_code=ExitCode.NOT_A_MOUNT
        )
    before = client.call(target.mount, {"command": "upgrade"})["pid"]
    until = time.monotonic() + _WITHIN_S
    while _daemon(target) in (before, None):
        if time.monotonic() > until:
            raise ControlError(f"no new daemon answers for {target.mountpoint}", exit_code=ExitCode.NO_ANSWER)
        time.sleep(_LOOK_S)


def _daemon(target: Target) -> object:
    """The process that answers; None while there is none."""
    try:
        return client.call(target.mount, {"command": "ping"})["pid"]
    except ControlError as exc:
        if exc.exit_code != ExitCode.NO_ANSWER:
            raise
        return None
