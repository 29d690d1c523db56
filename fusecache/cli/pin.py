"""`fusecache pin` and `unpin`: what stays in the cache, whatever else needs room."""

from __future__ import annotations

from typing import Any

import click

from fusecache.cli.progress import ProgressLine
from fusecache.cli.units import files, size
from fusecache.control import client
from fusecache.control.protocol import ExitCode, path_text


@click.command(short_help="Keep paths in the cache.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
def pin(paths: tuple[str, ...]) -> None:
    """Never give up what is at or below PATH once it is in the cache, until `fusecache unpin`.

    A pin is of a path, as a rule is: what is created there, or renamed to it, is pinned; what is renamed elsewhere
    no longer. It outlives an unmount. It fetches nothing: `fusecache load --pin` does both. More than the cache can
    hold is refused. Only for root and the mount's owner.

    Exit status: 0 pinned; 1 refused; 4 not a fusecache mount.
    """
    code = ExitCode.OK
    for target in [client.find(path) for path in paths]:
        with ProgressLine("pin") as line:
            told = client.call(target.mount, {"command": "pin", "path": path_text(target.below)}, progress=line.show)
        if told["pinned"]:
            click.echo(pinned_line(told, target.path))
        else:
            click.echo(refused_line(told, target.path), err=True)
            code = ExitCode.FAILED
    raise SystemExit(code)


@click.command(short_help="Let paths go again when room is needed.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
def unpin(paths: tuple[str, ...]) -> None:
    """Take away the pins at and below PATH. What is cached stays until room is needed, or `fusecache free`.

    Exit status: 0 nothing there is pinned any more; 1 nothing was, or it is still pinned by a directory above.
    """
    code = ExitCode.OK
    for target in [client.find(path) for path in paths]:
        told: dict[str, Any] = client.call(target.mount, {"command": "unpin", "path": path_text(target.below)})
        for each in told["unpinned"]:
            click.echo(f"{target.mountpoint}{each.rstrip('/')} is not pinned any more")
        if told["still_by"]:
            click.echo(
                f"{target.path} is still pinned, by {target.mountpoint}{told['still_by'][0].rstrip('/')}", err=True
            )
        elif not told["unpinned"]:
            click.echo(f"nothing at or below {target.path} is pinned", err=True)
        if told["still_by"] or not told["unpinned"]:
            code = ExitCode.FAILED
    raise SystemExit(code)


def pinned_line(told: dict[str, Any], path: str) -> str:
    """Return what a person is told of a path that is pinned now."""
    return f"{path} is pinned: {files(told['files'])}, {size(told['bytes'])}; what of it is in the cache stays there"


def refused_line(told: dict[str, Any], path: str) -> str:
    """Return why a path was not pinned."""
    others = f", {size(told['others_bytes'])} are pinned elsewhere" if told.get("others_bytes") else ""
    return f"{path} is not pinned: it has {size(told['bytes'])}{others}, and the cache holds {size(told['limit'])}"
