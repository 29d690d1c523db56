"""`fusecache stat`: is everything in the store?"""

from __future__ import annotations

import json

import click

from fusecache.cli.report import mount_report, path_report
from fusecache.control import client
from fusecache.control.client import Target
from fusecache.control.protocol import path_text


@click.command(short_help="Tell what is in the store, and what isn't yet.")
@click.argument("paths", nargs=-1, metavar="[PATH]…")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a path.")
def stat(paths: tuple[str, ...], as_json: bool) -> None:
    """Tell what is in the store and what isn't yet: of files, or of a whole mount.

    Without PATH: the mount of the working directory, else the only one.
    """
    targets = [client.find(path) for path in paths] or [client.find_default()]
    for number, target in enumerate(targets):
        facts = _facts(target)
        if as_json:
            click.echo(json.dumps(facts))
            continue
        if number:
            click.echo()
        click.echo(path_report(facts) if target.below else mount_report(facts))


def _facts(target: Target) -> dict[str, object]:
    if not target.below:
        return client.call(target.mount, {"command": "stat"})
    facts = client.call(target.mount, {"command": "stat", "path": path_text(target.below)})
    return facts | {"path": target.path}
