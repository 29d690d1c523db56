"""`fusecache load`: files into the cache before anybody reads them."""

from __future__ import annotations

import json
from typing import Any

import click

from fusecache.cli.pin import refused_line
from fusecache.cli.progress import ProgressLine
from fusecache.cli.units import files, size, span
from fusecache.config import values
from fusecache.control import client
from fusecache.control.protocol import ExitCode, path_text
from fusecache.errors import ConfigError

_SHOWN = 20
_PLAIN_S = 10.0


@click.command(short_help="Bring files whole into the cache.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--pin", is_flag=True, help="They stay there, as after `fusecache pin`.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only such names; with a slash: such paths below PATH.")
@click.option("--rate", metavar="SIZE", help="How many bytes are fetched in a second at most, 100M say.")
@click.option("--metadata", is_flag=True, help="Only names and attributes, no bytes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a path.")
def load(
    paths: tuple[str, ...], pin: bool, include: tuple[str, ...], rate: str | None, metadata: bool, as_json: bool
) -> None:
    """Bring what is at or below PATH whole into the cache, so that reading it asks no store.

    First all is counted, which costs listings, then many files are fetched at once. Of what is in the cache only what
    was read once, and not since, goes for it: if there is no more room, it stops and says so. Ctrl-C ends it; what
    has arrived stays. Only for root and the mount's owner.

    Exit status: 0 all is here; 1 something is not, and is named; 4 not a fusecache mount.
    """
    request = {"command": "load", "pin": pin, "include": list(include), "rate": _rate(rate), "metadata": metadata}
    code = ExitCode.OK
    for target in [client.find(path) for path in paths]:
        with ProgressLine("load", plain_s=_PLAIN_S) as line:
            result = client.call(target.mount, {**request, "path": path_text(target.below)}, progress=line.show)
        click.echo(
            json.dumps({"path": target.path, **result}) if as_json else "\n".join(load_lines(result, target.path))
        )
        if not is_complete(result):
            code = ExitCode.FAILED
    raise SystemExit(code)


def is_complete(result: dict[str, Any]) -> bool:
    """Whether all that was asked for is here."""
    is_pinned = (result.get("pin") or {}).get("pinned", True)
    return bool(is_pinned) and not result.get("failures") and not result.get("stopped")


def load_lines(result: dict[str, Any], path: str) -> list[str]:
    """Return what a person is told: what is here now, then what is not."""
    pin = result.get("pin") or {}
    if pin and not pin["pinned"]:
        return [f"{refused_line(pin, path)}; nothing was loaded"]
    done, fetched = f"{files(result.get('files_done') or 0)}, {size(result.get('bytes_done') or 0)}", ""
    if result.get("bytes_fetched"):
        fetched = f" · {size(result['bytes_fetched'])} fetched in {span(result.get('elapsed_s'))}"
    lines = [f"{path}: {done} in the cache{' and pinned' if pin else ''}{fetched}"]
    if result.get("stopped"):
        left = f"{files(result.get('files_left') or 0)}, {size(result.get('bytes_left') or 0)}"
        lines.append(f"the cache is full, and {left} are not in it: make room with `fusecache free`, or enlarge it")
    failed: list[dict[str, str]] = result.get("failed") or []
    if count := result.get("failures") or 0:
        lines += [f"{count:,} could not be loaded:"]
        lines += [f"  {each['path']}: {each['error']}" for each in failed[:_SHOWN]]
        lines += [f"  … and {count - _SHOWN:,} more"] if count > _SHOWN else []
    return lines


def _rate(value: str | None) -> int | None:
    try:
        rate = None if value is None else values.size(value)
    except ConfigError as exc:
        raise click.UsageError(f"--rate: {exc}") from exc
    if rate == 0:
        raise click.UsageError("--rate: that would take for ever")
    return rate
