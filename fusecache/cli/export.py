"""`fusecache export`: what no store has, to a directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from fusecache.cli import launch
from fusecache.cli.progress import ProgressLine
from fusecache.cli.units import files, size
from fusecache.cli.unmounted import state_options, unmounted
from fusecache.control import client
from fusecache.control.protocol import ControlError, ExitCode, path_text

_SHOWN = 20


@click.command(short_help="Copy what no store has yet to a directory.")
@click.argument("source", metavar="PATH|STORE")
@click.argument("directory", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@state_options
def export(source: str, directory: str, as_json: bool, config_file: str | None, **typed: object) -> None:
    """Copy what no store has yet to DIR: for when a store is gone for good.

    \b
    fusecache export PATH DIR                         from a mount: what is at or below PATH
    fusecache export --cache-dir DIR STORE DIR        from the state of a mount that cannot be mounted any more
    fusecache export --config FILE STORE DIR          the same, as FILE has it

    Files keep the paths that they have below the mount, their modes, times and symbolic links; root keeps their
    owners. What stays local (staging) comes along. Nothing in DIR is overwritten, and nothing changes on the mount.
    A file of which a part is only in the store becomes NAME.incomplete, with zeros there.

    Exit status: 0 all is saved; 1 something could not be, and is named; 4 not a fusecache mount.
    """
    to = Path(directory).absolute()
    with ProgressLine("export", text=progress_text) as line:
        if (config := unmounted(source, config_file, typed)) is not None:
            result = launch.export(config, to, progress=line.show)
        else:
            result = _export_mounted(source, to, line)
    click.echo(json.dumps(result) if as_json else "\n".join(export_lines(result, str(to))))
    raise SystemExit(ExitCode.FAILED if result.get("failures") else ExitCode.OK)


def _export_mounted(source: str, to: Path, line: ProgressLine) -> dict[str, Any]:
    if "://" in source:
        raise ControlError(f"name the --cache-dir that {source} was mounted with", exit_code=ExitCode.USAGE)
    target = client.find(source)
    request: dict[str, object] = {"command": "export", "path": path_text(target.below)}
    request["to"] = path_text(os.fsencode(to))
    return client.call(target.mount, request, progress=line.show)


def export_lines(result: dict[str, Any], to: str) -> list[str]:
    """Return what a person is told: what was saved, then what could not be had."""
    saved = [f"{files(result.get('files') or 0)}, {size(result.get('bytes') or 0)}"]
    saved += [f"{result[name]:,} {what}" for name, what in _OTHERS if result.get(name)]
    lines = [f"saved to {to}: {' · '.join(saved)}"]
    failed: list[dict[str, str]] = result.get("failed") or []
    if count := result.get("failures") or 0:
        lines += [f"{count:,} could not be had whole:"]
        lines += [f"  {each['path']}: {each['error']}" for each in failed[:_SHOWN]]
        lines += [f"  … and {count - _SHOWN:,} more"] if count > _SHOWN else []
    return lines


def progress_text(what: str, told: dict[str, Any]) -> str:
    """Return the line of an export: how much is saved."""
    return f"{what}: {files(told['files'])}, {size(told['bytes'])} saved" if told else ""


_OTHERS = (("symlinks", "symbolic links"), ("directories", "empty directories"))
