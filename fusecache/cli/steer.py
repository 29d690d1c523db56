"""`fusecache pause`, `resume`, `retry` and `tune`: what a person does to a drain."""

from __future__ import annotations

import json
from typing import Any

import click

from fusecache.cli.units import changes, size
from fusecache.config import values
from fusecache.control import client
from fusecache.control.client import Target
from fusecache.control.protocol import ControlError, path_text
from fusecache.errors import ConfigError

_NO_LIMIT = ("none", "unlimited")
_READERS = {"max_uploads": values.number, "upload_limit": values.size, "request_rate": values.decimal}


@click.command(short_help="Change nothing below a path in the store.")
@click.argument("path", required=False)
def pause(path: str | None) -> None:
    """Upload, copy and delete nothing below PATH in the store, until `fusecache resume`.

    Without PATH: the mount of the working directory, else the only one. What is under way there is stopped;
    everything is kept, and goes on being acknowledged while there is room for it on the cache disk: then writers
    wait, and are refused (ENOSPC) after `--space-patience`, as with a store that is away. A pause outlives an
    unmount, and a rename: it is of the path, whatever is there. Only for root and the mount's owner.
    """
    target = _target(path)
    _ask(target, "pause")
    facts: dict[str, Any] = client.call(target.mount, {"command": "stat"})
    click.echo(f"{target.path} is paused: nothing below it changes in the store until `fusecache resume`")
    if (room := (facts.get("pressure") or {}).get("room")) is not None:
        click.echo(f"what is written meanwhile is kept here, where there is room for {size(room)}")


@click.command(short_help="Go on with what was paused.")
@click.argument("path", required=False)
def resume(path: str | None) -> None:
    """Go on with what was paused at or below PATH.

    Exit status: 0 it goes on; 1 nothing was paused there, or it is still paused by a directory above.
    """
    target = _target(path)
    resumed = _ask(target, "resume")["resumed"]
    facts: dict[str, Any] = client.call(target.mount, {"command": "stat"})
    paused = [each for each in facts["paused"] if _covers(each, target)]
    for each in resumed:
        click.echo(f"{target.mountpoint}{each.rstrip('/')} goes on")
    if paused:
        raise ControlError(f"{target.path} is still paused, by {target.mountpoint}{paused[0].rstrip('/')}")
    if not resumed:
        raise ControlError(f"nothing at or below {target.path} is paused")


@click.command(short_help="Try what the store refused again, now.")
@click.argument("path", required=False)
def retry(path: str | None) -> None:
    """Try again now what the store refused, or did not answer, below PATH: stuck files above all.

    They are tried again anyway, every few minutes. `fusecache flush` does this, too, and tells how it went.
    """
    target = _target(path)
    count = _ask(target, "retry")["retried"]
    what = f"{changes(count)} below {target.path} tried again" if count else f"nothing below {target.path} was refused"
    click.echo(what)


@click.command(short_help="Show the limits of a drain, or change them.")
@click.argument("path", required=False)
@click.option("--max-uploads", metavar="N", help="How many uploads run at once.")
@click.option("--upload-limit", metavar="SIZE", help="How many bytes are uploaded in a second at most, or `none`.")
@click.option("--request-rate", metavar="N", help="How many requests a second the store gets at most, or `none`.")
@click.option("--json", "as_json", is_flag=True, help="The limits as one JSON object.")
def tune(path: str | None, as_json: bool, **typed: str | None) -> None:
    """Change how the mount of PATH drains, or show it, if no option is given.

    What is changed here lasts until it is unmounted.
    """
    limits = {name: _limit(name, value) for name, value in typed.items() if value is not None}
    told = client.call(_target(path).mount, {"command": "tune", "limits": limits})
    click.echo(json.dumps(told) if as_json else "\n".join(tune_lines(told)))


def tune_lines(told: dict[str, Any]) -> list[str]:
    """Return what a person is told about the limits."""
    shown = dict(told)
    if told.get("upload_limit") is not None:
        shown["upload_limit"] = f"{size(told['upload_limit'])}/s"
    if told.get("request_rate") is not None:
        shown["request_rate"] = f"{told['request_rate']:g}/s"
    return [f"{name.replace('_', '-'):<14}{'none' if value is None else value}" for name, value in shown.items()]


def _limit(name: str, value: str) -> float | int | None:
    if value.lower() in _NO_LIMIT and name != "max_uploads":
        return None
    try:
        return _READERS[name](value)
    except ConfigError as exc:
        raise click.UsageError(f"--{name.replace('_', '-')}: {exc}") from exc


def _target(path: str | None) -> Target:
    return client.find(path) if path else client.find_default()


def _ask(target: Target, command: str) -> dict[str, Any]:
    return client.call(target.mount, {"command": command, "path": path_text(target.below)})


def _covers(paused: str, target: Target) -> bool:
    below = f"/{path_text(target.below)}"
    return paused == "/" or below == paused or below.startswith(f"{paused}/")
