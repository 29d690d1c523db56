"""`fusecache sync`: look at the store now, whatever is believed of it."""

from __future__ import annotations

import json
from typing import Any

import click

from fusecache.cli.progress import ProgressLine
from fusecache.control import client
from fusecache.control.protocol import path_text


@click.command(short_help="See what others have changed in the store, now.")
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="What was looked at as one JSON object.")
def sync(path: str | None, as_json: bool) -> None:
    """Look at the store now, at PATH and at what is known below it, and tell how many names had changed.

    Without PATH: the mount of the working directory, else the only one. It takes a LIST a directory that somebody has
    looked into, and a thousand names; what nobody has seen is not asked for. Whatever the rules say of freshness, what
    is opened or listed afterwards is as the store has it. Only for root and the mount's owner.

    Exit status: 0 it was looked at; 1 there is nothing, or the store does not answer; 4 not a fusecache mount.
    """
    target = client.find(path) if path else client.find_default()
    with ProgressLine("sync", text=progress_text) as line:
        told = client.call(target.mount, {"command": "sync", "path": path_text(target.below)}, progress=line.show)
    click.echo(json.dumps(told) if as_json else f"{target.path}: {summary(told)}")


def progress_text(what: str, told: dict[str, Any]) -> str:
    """Return the line of a sync under way."""
    return f"{what}: {summary(told)}" if told else ""


def summary(told: dict[str, Any]) -> str:
    """Return what a person is told."""
    count = told["directories"]
    where = f"{count:,} director{'y' if count == 1 else 'ies'}"
    return f"{told['changed']:,} of {told['names']:,} names had changed, in {where}"
