"""`fusecache ls`: names, with what is here of them."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from fusecache.cli.units import size
from fusecache.control import client
from fusecache.control.client import Target
from fusecache.control.protocol import ControlError, ExitCode, path_text


@click.command(short_help="List names, with how much of them is cached.")
@click.argument("path", required=False)
@click.option("-l", "is_long", is_flag=True, help="Size, time and pin, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a name.")
def ls(path: str | None, is_long: bool, as_json: bool) -> None:
    """List PATH: each name with its state on the way to the store, and how much of its bytes is cached.

    A directory's are those of all that is known below it, and its state the worst there. Without PATH: the working
    directory if it is on a mount, else the only mount.
    """
    for entry in entries(_target(path)):
        click.echo(json.dumps(entry) if as_json else entry_line(entry, is_long=is_long, width=_width()))


def entries(target: Target) -> Iterator[dict[str, Any]]:
    """Yield the names, page by page."""
    after = ""
    while True:
        request: dict[str, object] = {"command": "ls", "path": path_text(target.below), "after": after}
        page: dict[str, Any] = client.call(target.mount, request)
        yield from page["entries"]
        if not page["more"]:
            return
        after = page["last"]


def entry_line(entry: dict[str, Any], *, is_long: bool, width: int | None) -> str:
    """Return the line of a name, `width` columns at most: the name is cut."""
    columns = [f"{entry['state']:<9}", f"{_share(entry):>4}"]
    if is_long:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["mtime_ns"] // 10**9))
        columns += [f"{size(entry['size']):>9}", when, "pin" if entry["pinned"] else "   "]
    name = _printable(entry["name"]) + ("/" if entry["type"] == "dir" else "")
    line = "  ".join([*columns, name])
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def _share(entry: dict[str, Any]) -> str:
    """How much of the bytes is here; 100 % is all of them."""
    if entry["type"] not in ("file", "dir") or not entry["size"]:
        return "–"
    return f"{100 * entry['cached_bytes'] // entry['size']}%"


def _printable(name: str) -> str:
    """The name without what would do something to a terminal."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _target(path: str | None) -> Target:
    if path is not None:
        return client.find(path)
    try:
        return client.find(".")
    except ControlError as exc:
        if exc.exit_code != ExitCode.NOT_A_MOUNT:
            raise
        return client.find_default()
