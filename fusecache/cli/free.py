"""`fusecache free`: give up what is cached, now."""

from __future__ import annotations

import json
from typing import Any

import click

from fusecache.cli.progress import ProgressLine
from fusecache.cli.units import files, size
from fusecache.control import client
from fusecache.control.protocol import ExitCode, path_text

_SHOWN = 20


@click.command(short_help="Give up what is cached below a path.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a path.")
def free(paths: tuple[str, ...], as_json: bool) -> None:
    """Delete the local copies of what is at or below PATH; it is fetched again when it is read.

    What is not in the store yet is kept, and named. So are, and only counted, what is pinned (`fusecache unpin`
    first), and what somebody uses just now: the kernel has it, or it is being copied. Only for root and the mount's
    owner.

    Exit status: 0 done; 1 something is not in the store yet; 4 not a fusecache mount.
    """
    code = ExitCode.OK
    for target in [client.find(path) for path in paths]:
        request: dict[str, object] = {"command": "free", "path": path_text(target.below)}
        with ProgressLine("free", text=progress_text) as line:
            told = client.call(target.mount, request, progress=line.show)
        click.echo(json.dumps({"path": target.path, **told}) if as_json else "\n".join(free_lines(told, target.path)))
        if told["refused"]:
            code = ExitCode.FAILED
    raise SystemExit(code)


def free_lines(told: dict[str, Any], path: str) -> list[str]:
    """Return what a person is told: what has gone, then what was kept and why."""
    kept = [
        f"{files(told[name])}, {size(told[f'{name}_bytes'])} kept: {why}"
        for name, why in (("pinned", "pinned"), ("in_use", "in use"))
        if told[name]
    ]
    gone = f"{path}: {files(told['files'])} given up, {size(told['bytes'])} of the disk are free"
    lines = [" · ".join([gone, *kept])]
    if told["refused"]:
        lines.append(f"{files(told['refused'])}, {size(told['refused_bytes'])} are not in the store yet, and kept:")
        lines += [f"  {each['path']}: {each['state']}" for each in told["not_stored"][:_SHOWN]]
        lines += [f"  … and {told['refused'] - _SHOWN:,} more"] if told["refused"] > _SHOWN else []
    return lines


def progress_text(what: str, told: dict[str, Any]) -> str:
    """Return the line while it goes on."""
    return f"{what}: {files(told['files'])}, {size(told['bytes'])}" if told else ""
