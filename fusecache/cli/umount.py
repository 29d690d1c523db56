"""`fusecache umount`: drain, then unmount."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from fusecache.cli.flush import flush_exit, why_left
from fusecache.cli.kinds import deadline_option
from fusecache.cli.progress import ProgressLine
from fusecache.cli.report import stuck_lines
from fusecache.cli.units import files, size
from fusecache.control import client, detach
from fusecache.control.client import Target
from fusecache.control.detach import Health
from fusecache.control.protocol import ControlError, ExitCode

_PROBE_S = 5.0
_END_S = 30.0  # a daemon that has unmounted closes its database and its connections


@click.command(short_help="Drain into the store, then unmount.")
@click.argument("mountpoint")
@click.option("--no-flush", is_flag=True, help="Unmount at once; the next mount goes on with what is left.")
@deadline_option("How long to drain; for ever if not given.")
def umount(mountpoint: str, no_flush: bool, deadline_s: float | None) -> None:
    """Drain what is mounted on MOUNTPOINT into its store, then unmount it.

    Exit status: 0 unmounted; 1 files on it are open; 3 the deadline passed and 5 files are stuck or
    paused: it stays mounted then; 6 the daemon does not answer.
    """
    target = client.find(mountpoint)
    if target.below:
        raise ControlError(
            f"{target.path} is not a mount point: the mount is {target.mountpoint}", exit_code=ExitCode.NOT_A_MOUNT
        )
    try:
        connection = client.connect(target.mount)
    except ControlError as exc:
        if exc.exit_code != ExitCode.NO_ANSWER:
            raise
        _detach_if_dead(target)
        return
    with connection:
        daemon = client.peer_of(connection.getsockopt)[0]
        request: dict[str, object] = {"command": "umount", "flush": not no_flush, "deadline_s": deadline_s}
        with ProgressLine("drain") as line:
            result = _exchange(connection, request, target, line)
    _tell(result, target)
    if result.get("unmounted"):
        client.wait_gone(daemon, _END_S)  # its locks go with it: the next mount must not trip over them
        return
    raise SystemExit(flush_exit(result))


def _exchange(
    connection: client.Connection, request: dict[str, object], target: Target, line: ProgressLine
) -> dict[str, Any]:
    try:
        return client.exchange(connection, request, target.mount, progress=line.show)
    except ControlError as exc:
        if exc.kind != "busy":
            raise
        found = detach.holders(Path(target.mountpoint))
        who = f": {', '.join(found)}" if found else "; `fuser -vm` as root may tell which"
        raise ControlError(f"{exc}{who}; it stays mounted", kind="busy") from exc


def _tell(result: dict[str, Any], target: Target) -> None:
    """Say what is not in the store; silence means that all is."""
    count, left = result.get("files_left") or 0, size(result.get("bytes_left") or 0)
    if result.get("unmounted"):
        if count:
            click.echo(
                f"unmounted; {files(count)}, {left} are not in the store: the next mount goes on with them", err=True
            )
        return
    why = why_left(result)
    click.echo(
        f"fusecache: {target.mountpoint} stays mounted: {why}; {files(count)}, {left} are not in the store", err=True
    )
    for stuck in stuck_lines(result.get("stuck") or []):
        click.echo(f"  {stuck}", err=True)
    click.echo("`--no-flush` unmounts at once and keeps them for the next mount", err=True)


def _detach_if_dead(target: Target) -> None:
    """The daemon doesn't answer: take the mount down if it is dead, else leave it to a person."""
    if detach.examine(target.mount, timeout_s=_PROBE_S) is not Health.DEAD:
        client.call(target.mount, {"command": "ping"})  # raises what to do, unless it answers by now
        raise ControlError(f"{os.fspath(target.mountpoint)}: try again", exit_code=ExitCode.NO_ANSWER)
    detach.detach(target.mount)
    click.echo(
        f"{target.mountpoint} was dead and is detached; what is not in the store is kept for the next mount", err=True
    )
